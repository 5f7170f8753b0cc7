"""Pipelines from a corpus to a model directory, in named and resumable stages: ``python -m recipes``."""
