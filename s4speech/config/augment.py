"""Configuration of the random changes of training utterances; see `s4speech.data.cut_augment`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from s4speech.config.base import StrictModel

CodecName = Literal["opus", "vorbis", "mulaw"]
Chance = Annotated[float, Field(gt=0, le=1)]
Range = tuple[float, float]


class SoundsConfig(StrictModel):
    """Recordings of a folder. files: globs below `path`, of which only *.wav and *.flac are taken."""

    path: str
    files: Annotated[list[str], Field(min_length=1)] = ["**/*"]


class NoiseConfig(SoundsConfig):
    """Noise that is added, at a ratio of speech to noise drawn from snr_db (low, high). path: MUSAN's
    noise folder, for instance."""

    probability: Chance = 0.5
    snr_db: Range = (5.0, 25.0)

    @model_validator(mode="after")
    def _low_is_first(self) -> "NoiseConfig":
        _ordered("snr_db", self.snr_db)
        return self


class RoomsConfig(StrictModel):
    """Reverberation. rooms: recorded impulse responses; null: lhotse's random ones."""

    rooms: SoundsConfig | None = None
    probability: Chance = 0.2


class VolumeConfig(StrictModel):
    """A gain drawn from gain_db (low, high)."""

    probability: Chance = 1.0
    gain_db: Range = (-12.0, 6.0)

    @model_validator(mode="after")
    def _low_is_first(self) -> "VolumeConfig":
        _ordered("gain_db", self.gain_db)
        return self


class CodecConfig(StrictModel):
    """A codec drawn from `names`: mulaw is the telephone's, at 8 kHz. level: of opus and vorbis, 1 is the
    smallest size and the worst sound."""

    probability: Chance = 0.2
    names: Annotated[list[CodecName], Field(min_length=1)] = ["opus", "vorbis", "mulaw"]
    level: Annotated[float, Field(ge=0, le=1)] = 0.9


class AugmentConfig(StrictModel):
    """In the order in which they are applied: a room, noise, volume, a codec. null: not."""

    room: RoomsConfig | None = None
    noise: NoiseConfig | None = None
    volume: VolumeConfig | None = None
    codec: CodecConfig | None = None


def _ordered(key: str, bounds: Range) -> None:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"{key}: got {list(bounds)}, wanted the lower bound first")
