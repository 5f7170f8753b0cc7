"""Limits that are known before any audio library is imported."""

MAX_DURATION_S = 4 * 3600.0  # of one recording: 0.9 GB of float32 at 16 kHz
