"""Typed configuration: YAML files, presets and ``key=value`` overrides, checked before anything runs."""

from s4speech.config.base import StrictModel, dump_config, load_config

__all__ = ["StrictModel", "dump_config", "load_config"]
