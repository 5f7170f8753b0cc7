"""Random changes of utterances: what they do to the audio, and that they repeat."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut

from recipes.asr.config import CorpusConfig
from recipes.asr.data import noisy_copies
from s4speech.config.augment import AugmentConfig
from s4speech.data.cut_augment import CutAugmenter, add_noise, draw_noise, read_sounds
from s4speech.data.sampler import EpochSampler
from s4speech.errors import InputError

RATE = 16_000
SPEECH_S = 2.0


def _write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.float32), rate, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two noises, at 16 and 8 kHz, of 0.7 s and 5 s; an impulse response with one echo."""
    root, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    _write(root / "noise" / "short.wav", 0.1 * rng.standard_normal(int(0.7 * RATE)))
    _write(root / "noise" / "deep" / "long.wav", 0.3 * rng.standard_normal(5 * 8000), 8000)
    echo = np.zeros(RATE // 10)
    echo[0], echo[800] = 1.0, 0.5
    _write(root / "rooms" / "echo.wav", echo)
    return root


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    """Four utterances: a tone of 1 kHz and one of 6 kHz."""
    root, made = tmp_path_factory.mktemp("speech"), []
    t = np.arange(int(SPEECH_S * RATE)) / RATE
    for i in range(4):
        samples = 0.1 * np.sin(2 * np.pi * 1000 * t) + 0.05 * np.sin(2 * np.pi * 6000 * t + i)
        cut = Recording.from_file(_write(root / f"{i}.wav", samples)).to_cut().with_id(f"u{i}")
        cut.supervisions.append(SupervisionSegment(f"u{i}", f"{i}", 0, SPEECH_S, text="A", speaker="s"))
        made.append(cut)
    return made


def _config(folder: Path, **sections: object) -> AugmentConfig:
    where = {"noise": {"path": str(folder / "noise")}, "room": {"rooms": {"path": str(folder / "rooms")}}}
    given = {name: where.get(name, {}) | dict(section) for name, section in sections.items()}  # type: ignore[call-overload]
    return AugmentConfig.model_validate_json(json.dumps(given))


ALL = {"noise": {}, "room": {}, "volume": {}, "codec": {}}
ALWAYS = {name: {"probability": 1.0} for name in ALL}


@pytest.mark.parametrize("sections", [ALL, ALWAYS], ids=["sometimes", "always"])
def test_a_change_is_a_function_of_seed_epoch_and_id(folder: Path, cuts: list[Cut], sections: dict) -> None:
    config = _config(folder, **sections)
    first, again = CutAugmenter(config, RATE, seed=3), CutAugmenter(config, RATE, seed=3)
    for cut in cuts:
        heard = [first(cut, epoch) for epoch in range(3)]
        for epoch in (2, 0, 1):  # in another order
            np.testing.assert_array_equal(again(cut, epoch).load_audio(), heard[epoch].load_audio())
        for changed in heard:
            assert (changed.id, changed.duration, changed.num_samples) == (
                cut.id,
                cut.duration,
                cut.num_samples,
            )
            assert [s.text for s in changed.supervisions] == ["A"]
            assert changed.load_audio().shape == cut.load_audio().shape
    assert len({first(cut, epoch).load_audio().tobytes() for cut in cuts for epoch in range(3)}) > 8
    other = CutAugmenter(_config(folder, **ALWAYS), RATE, seed=4)
    assert not np.array_equal(other(cuts[0], 0).load_audio(), first(cuts[0], 0).load_audio())


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 0.0, -5.0])
@pytest.mark.parametrize("file", ["short.wav", "deep/long.wav"], ids=["repeated", "a part"])
def test_noise_has_the_ratio_asked_for(folder: Path, cuts: list[Cut], snr_db: float, file: str) -> None:
    config = _config(folder, noise={"files": [file]}).noise
    assert config is not None
    noises = read_sounds(config, RATE, "noise")
    noise = draw_noise(noises, SPEECH_S, random.Random(1))
    clean, noisy = cuts[0].load_audio(), add_noise(cuts[0], noise, snr_db).load_audio()
    got_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert got_db == pytest.approx(snr_db, abs=0.1)
    quarters = np.split((noisy - clean)[0], 4)
    assert all(np.mean(q**2) > 0 for q in quarters)  # all of the utterance, not its beginning


def test_a_part_of_a_long_noise_is_drawn_anew(folder: Path) -> None:
    config = _config(folder, noise={"files": ["deep/*"]}).noise
    assert config is not None
    noises = read_sounds(config, RATE, "noise")
    starts = {draw_noise(noises, SPEECH_S, random.Random(seed)).start for seed in range(5)}
    assert len(starts) == 5 and max(starts) <= 3.0


def test_volume_is_a_gain_in_db(folder: Path, cuts: list[Cut]) -> None:
    config = _config(folder, volume={"probability": 1.0, "gain_db": [-6.0, -6.0]})
    changed = CutAugmenter(config, RATE)(cuts[0], 0)
    np.testing.assert_allclose(changed.load_audio(), cuts[0].load_audio() * 10**-0.3, atol=1e-6)


def test_a_room_is_its_impulse_response(folder: Path, cuts: list[Cut]) -> None:
    changed = CutAugmenter(_config(folder, room={"probability": 1.0}), RATE)(cuts[0], 0).load_audio()[0]
    clean = cuts[0].load_audio()[0]
    wanted = clean + 0.5 * np.concatenate([np.zeros(800), clean[:-800]])
    correlation = np.corrcoef(changed, wanted)[0, 1]
    assert correlation > 0.999 > np.corrcoef(changed, clean)[0, 1]


@pytest.mark.parametrize("with_noise", [False, True], ids=["alone", "after noise"])
def test_the_telephone_has_nothing_above_4_khz(folder: Path, cuts: list[Cut], with_noise: bool) -> None:
    noise = {"noise": {"probability": 1.0}} if with_noise else {}
    config = _config(folder, codec={"probability": 1.0, "names": ["mulaw"]}, **noise)
    changed = CutAugmenter(config, RATE)(cuts[0], 0).load_audio()[0]
    power = np.abs(np.fft.rfft(changed)) ** 2
    hz = np.fft.rfftfreq(len(changed), 1 / RATE)
    assert power[hz > 4200].sum() < 1e-3 * power[hz < 3800].sum()
    clean = np.abs(np.fft.rfft(cuts[0].load_audio()[0])) ** 2
    assert clean[hz > 4200].sum() > 0.1 * clean[hz < 3800].sum()


@pytest.mark.parametrize("codec", ["opus", "vorbis"])
def test_a_codec_changes_little_but_something(folder: Path, cuts: list[Cut], codec: str) -> None:
    config = _config(folder, codec={"probability": 1.0, "names": [codec]})
    changed, clean = CutAugmenter(config, RATE)(cuts[0], 0).load_audio()[0], cuts[0].load_audio()[0]
    assert 0.8 < np.corrcoef(changed, clean)[0, 1] < 0.999999


def test_each_change_comes_as_often_as_it_should(folder: Path, cuts: list[Cut]) -> None:
    augment = CutAugmenter(_config(folder, volume={"probability": 0.25}), RATE)
    changed = sum(augment(cut, epoch) is not cut for cut in cuts for epoch in range(250))
    assert 190 < changed < 310


def test_the_sampler_changes_what_it_yields(cuts: list[Cut]) -> None:
    def change(cut: Cut, epoch: int) -> Cut:
        return cut.with_id(f"{cut.id} in {epoch}")

    sampler = EpochSampler(
        lambda epoch: CutSet.from_cuts(cuts), max_duration_s=5, shuffle=True, change=change
    )
    assert sorted(c.id for batch in sampler for c in batch) == [f"u{i} in 0" for i in range(4)]
    sampler.set_epoch(7)
    assert sorted(c.id for batch in sampler for c in batch) == [f"u{i} in 7" for i in range(4)]


def test_noisy_copies_of_the_test_parts(folder: Path, cuts: list[Cut]) -> None:
    noisy = {"path": str(folder / "noise"), "snr_db": [10, 2.5]}
    corpus = CorpusConfig.model_validate(
        {"name": "librispeech", "root": "x", "train": ["a"], "test": ["b", "c"], "noisy_tests": noisy}
    )
    assert corpus.all_tests == ["b", "b-10dB", "b-2.5dB", "c", "c-10dB", "c-2.5dB"]
    parts = {"b": CutSet.from_cuts(cuts[:2]), "c": CutSet.from_cuts(cuts[2:])}
    copies = noisy_copies(corpus, parts, RATE)
    assert list(copies) == ["test/b-10dB", "test/b-2.5dB", "test/c-10dB", "test/c-2.5dB"]
    clean = cuts[2].load_audio()
    loud, soft = (copies[f"test/c-{name}"]["u2"].load_audio() - clean for name in ("2.5dB", "10dB"))
    np.testing.assert_allclose(loud, soft * 10 ** (7.5 / 20), atol=1e-5)  # the same noise
    assert noisy_copies(corpus.model_copy(update={"noisy_tests": None}), parts, RATE) == {}


def _nothing(path: Path) -> None:
    path.mkdir()


def _not_audio(path: Path) -> None:
    path.mkdir()
    (path / "a.wav").write_bytes(b"no audio at all")


def _empty(path: Path) -> None:
    _write(path / "a.wav", np.zeros(0))


def _stereo(path: Path) -> None:
    _write(path / "a.wav", np.zeros((100, 2)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_nothing, r"noise: no \*\.wav or \*\.flac in .* matches \*\*/\*"),
        (_not_audio, r"noise: .*a\.wav cannot be read \("),
        (_empty, r"noise: .*a\.wav has 0 samples, 1 channels; wanted"),
        (_stereo, r"noise: .*a\.wav has 100 samples, 2 channels; wanted"),
    ],
    ids=["nothing", "not audio", "empty", "stereo"],
)
def test_sounds_that_cannot_be_used_are_one_line(tmp_path: Path, make, told: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "sounds")
    with pytest.raises(InputError, match=told) as caught:
        CutAugmenter(AugmentConfig.model_validate({"noise": {"path": str(tmp_path / "sounds")}}), RATE)
    assert "\n" not in str(caught.value)


def test_a_range_begins_with_its_lower_bound() -> None:
    with pytest.raises(ValueError, match=r"snr_db: got \[20\.0, 5\.0\], wanted the lower bound first"):
        AugmentConfig.model_validate_json(json.dumps({"noise": {"path": "x", "snr_db": [20, 5]}}))
