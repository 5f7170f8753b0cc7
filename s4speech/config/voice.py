"""Configuration of a voice: config.yaml of its directory."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from s4speech.config.base import StrictModel
from s4speech.config.tts import MelConfig, ParallelConfig, VocoderConfig

Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class VoiceConfig(StrictModel):
    """unit: what a token is. symbols: the tokens, in the order of their numbers. speakers: likewise.
    noise_scale: see `Vocoder`. half: the weights are stored as float16."""

    task: Literal["tts"] = "tts"
    language: Literal["en"] = "en"
    unit: Literal["phonemes", "characters"] = "phonemes"
    symbols: Names
    speakers: Names
    mel: MelConfig = MelConfig()
    model: ParallelConfig = ParallelConfig()
    vocoder: VocoderConfig = VocoderConfig()
    noise_scale: Annotated[float, Field(ge=0, le=1)] = 1.0
    half: bool = False

    @field_validator("symbols", "speakers")
    @classmethod
    def _different(cls, names: list[str]) -> list[str]:
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r} is there twice, wanted each once")
        return names
