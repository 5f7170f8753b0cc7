"""Random changes of utterances, as lhotse cuts: rooms, noise, volume, codecs.

Only the description changes here, which costs little; lhotse applies it when the audio is read, in a worker.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from lhotse import Recording
from lhotse.audio.utils import AudioLoadingError
from lhotse.augmentation import Compress, Narrowband
from lhotse.cut import Cut, MixedCut, MonoCut
from lhotse.utils import fastcopy

from s4speech.config.augment import AugmentConfig, CodecConfig, CodecName, SoundsConfig
from s4speech.errors import InputError

SUFFIXES = (".wav", ".flac")


class CutAugmenter:
    """Applies an `AugmentConfig` to cuts of one sample rate.

    Raises InputError: a folder without sounds, or one that cannot be read.
    """

    def __init__(self, config: AugmentConfig, sample_rate_hz: int, seed: int = 0) -> None:
        self._config, self._rate_hz, self._seed = config, sample_rate_hz, seed
        rooms = config.room.rooms if config.room else None
        self._rooms = read_sounds(rooms, sample_rate_hz, "room.rooms") if rooms else []
        self._noises = read_sounds(config.noise, sample_rate_hz, "noise") if config.noise else []

    def __call__(self, cut: Cut, epoch: int) -> Cut:
        """The cut as it is heard in that epoch: a function of (seed, epoch, id) alone. Id and length stay."""
        config, rng = self._config, random.Random(f"{self._seed} {epoch} {cut.id}")
        if config.room and rng.random() < config.room.probability:
            cut = self._in_a_room(cut, rng)
        if config.noise and rng.random() < config.noise.probability:
            cut = add_noise(
                cut, draw_noise(self._noises, cut.duration, rng), rng.uniform(*config.noise.snr_db)
            )
        if config.volume and rng.random() < config.volume.probability:
            cut = cut.perturb_volume(10 ** (rng.uniform(*config.volume.gain_db) / 20), affix_id=False)
        if config.codec and rng.random() < config.codec.probability:
            cut = _coded(cut, rng.choice(config.codec.names), config.codec, self._rate_hz)
        return cut

    def _in_a_room(self, cut: Cut, rng: random.Random) -> Cut:
        if self._rooms:
            return cut.reverb_rir(rng.choice(self._rooms).recording, affix_id=False)
        seeds = {"room_rng_seed": rng.randrange(2**31), "source_rng_seed": rng.randrange(2**31)}
        return cut.reverb_rir(**seeds, affix_id=False)


def read_sounds(config: SoundsConfig, sample_rate_hz: int, key: str) -> list[MonoCut]:
    """The recordings of a folder, in the order of their paths. Raises InputError naming the config key."""
    root = Path(config.path)
    found = {p for glob in config.files for p in root.glob(glob) if p.suffix.lower() in SUFFIXES}
    if not found:
        told = ", ".join(config.files)
        raise InputError(f"{key}: no *.wav or *.flac in {root} matches {told}; correct {key}.path or files")
    cuts = []
    for path in sorted(found):
        try:
            recording = Recording.from_file(path, recording_id=path.relative_to(root).as_posix())
        except (AudioLoadingError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{key}: {path} cannot be read ({reason}); repair or remove it") from error
        if not recording.num_samples or recording.num_channels != 1:
            got = f"{recording.num_samples} samples, {recording.num_channels} channels"
            raise InputError(f"{key}: {path} has {got}; wanted sound of one channel; convert or remove it")
        cuts.append(recording.resample(sample_rate_hz).to_cut())
    return cuts


def draw_noise(noises: Sequence[MonoCut], duration_s: float, rng: random.Random) -> Cut:
    """Noise of that length: a random part of a recording, or several recordings one after another."""
    noise: Cut = rng.choice(noises)
    offset = rng.uniform(0, max(noise.duration - duration_s, 0.0))
    while noise.duration < duration_s:
        noise = noise.append(rng.choice(noises))
    return noise.truncate(offset=offset, duration=duration_s, preserve_id=True)


def add_noise(cut: Cut, noise: Cut, snr_db: float) -> Cut:
    """Speech with noise of its length.

    snr_db: ratio of the mean power of the whole cut to that of the noise, of each recording in it.
    """
    return cut.mix(noise, snr=snr_db, preserve_id="left")


def _coded(cut: Cut, codec: CodecName, config: CodecConfig, sample_rate_hz: int) -> Cut:
    """As it sounds after a codec: a mixed cut is coded after mixing."""
    if isinstance(cut, MixedCut):
        if codec == "mulaw":
            transform = Narrowband("mulaw", sample_rate_hz, restore_orig_sr=True)
        else:
            transform = Compress(codec, config.level)
        return fastcopy(cut, transforms=[*(cut.transforms or []), transform])
    if codec == "mulaw":
        return cut.narrowband("mulaw", affix_id=False)
    return cut.compress(codec, config.level)
