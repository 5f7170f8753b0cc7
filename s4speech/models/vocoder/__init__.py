"""From log-mel frames and pitch to a waveform."""
