"""Batches for synthesis: frames, pitch without gaps, pieces of recordings."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut
from safetensors.torch import save_file
from torch import Tensor

from s4speech.audio.mel import MelFrames
from s4speech.config.tts import MelConfig
from s4speech.data.speech import SpeechDataset, TensorFile, continuous_pitch, mel_of, pitch_of, samples_of
from s4speech.data.vocoder import Pieces, SegmentDataset
from tests.conftest import message
from tests.oracles.compare import close

MEL = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=6)
LENGTHS = {"a": 1607, "b": 800, "c": 333}  # samples; no whole numbers of hops


def cut_of(folder: Path, name: str, samples: np.ndarray, speaker: str = "ann") -> Cut:
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, MEL.sample_rate, subtype="PCM_16")
    recording = Recording.from_file(path, recording_id=name)
    supervision = SupervisionSegment(name, name, 0.0, recording.duration, speaker=speaker, text=name)
    cut = recording.to_cut().with_id(name)
    cut.supervisions = [supervision]
    return cut


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> CutSet:
    folder, random = tmp_path_factory.mktemp("wavs"), np.random.default_rng(0)
    speakers = {"a": "ann", "b": "bob", "c": "ann"}
    sounds = {name: random.uniform(-0.5, 0.5, size) for name, size in LENGTHS.items()}
    return CutSet.from_cuts(cut_of(folder, name, sounds[name], speakers[name]) for name in sounds)


@pytest.fixture(scope="module")
def pitch() -> dict[str, Tensor]:
    """Made up; every third frame has none."""
    found = {}
    for name, size in LENGTHS.items():
        t = size // MEL.hop
        place = torch.arange(t)
        found[name] = torch.where(place % 3 == 2, 0.0, 100.0 + place)
    return found


def pieces(cuts: CutSet, pitch: dict[str, Tensor], **options: object) -> SegmentDataset:
    usual = {"frames": 18, "batch_size": 5, "batches": 7, "seed": 3}
    return SegmentDataset(MEL, cuts, pitch, **(usual | options))  # type: ignore[arg-type]


def place_of(piece: Tensor, cuts: CutSet) -> tuple[str, int]:
    """Where samples come from, by what they are."""
    for cut in cuts:
        whole = torch.from_numpy(samples_of(cut))
        for start in range(0, len(whole) - len(piece) + 1, MEL.hop):
            if torch.allclose(whole[start : start + len(piece)], piece, atol=1e-7):
                return cut.id, start // MEL.hop
    raise AssertionError("a piece of no recording")


def test_a_piece_has_the_frames_and_the_pitch_that_the_whole_recording_has_there(cuts, pitch):
    """Also at the edges of the piece and of the recording."""
    whole = {cut.id: mel_of(MelFrames(**MEL.model_dump()), cut) for cut in cuts}
    short = CutSet.from_cuts(cut for cut in cuts if cut.id == "c")
    seen = set()
    for batch in (pieces(cuts, pitch, batch_size=20)[0], pieces(short, pitch, batch_size=20)[0]):
        assert [tuple(part.shape) for part in batch] == [(20, 18, 6), (20, 18), (20, 288)]
        for mel, f0, samples in zip(*batch, strict=True):
            name, start = place_of(samples, cuts)
            seen.add((name, start))
            close(mel.exp(), whole[name][start : start + 18].exp(), 1e-5)
            assert torch.equal(f0, continuous_pitch(pitch[name])[start : start + 18])
    assert {("c", 0), ("c", 1), ("c", 2)} <= seen, "20 frames: the first, the last and the one between"


def test_frames_at_both_ends_of_a_recording(cuts, pitch):
    """A piece as long as its recording."""
    [cut] = [cut for cut in cuts if cut.id == "b"]
    batch = pieces(CutSet.from_cuts([cut]), pitch, frames=50, batch_size=1)[0]
    close(batch.mel[0].exp(), mel_of(MelFrames(**MEL.model_dump()), cut).exp(), 1e-5)


def test_an_item_is_always_the_same_and_no_two_are(cuts, pitch):
    data, again, other = pieces(cuts, pitch), pieces(cuts, pitch), pieces(cuts, pitch, seed=4)
    for item in (0, 6, 40):
        assert all(torch.equal(a, b) for a, b in zip(data[item], again[item], strict=True))
    different = (data[1].samples, data[7].samples, other[0].samples)
    assert not any(torch.equal(data[0].samples, samples) for samples in different)


def test_recordings_are_drawn_by_their_length_and_short_ones_never(cuts, pitch):
    data = pieces(cuts, pitch, frames=21, batch_size=100)
    names = [place_of(samples, cuts)[0] for samples in data[0].samples]
    assert "c" not in names  # 20 frames
    assert 55 <= names.count("a") <= 88  # 80 places of 110
    told = message(lambda: pieces(cuts, pitch, frames=101))
    assert told.startswith("frames: ") and "101" in told


def test_each_epoch_has_items_of_its_own(cuts, pitch):
    sampler = Pieces(7)
    assert len(sampler) == len(pieces(cuts, pitch)) == 7 and list(sampler) == list(range(7))
    sampler.set_epoch(2)
    assert list(sampler) == list(range(14, 21)) == list(sampler)


def test_frames_of_an_acoustic_model_in_place_of_its_own(cuts, pitch):
    predicted = {name: torch.full((LENGTHS[name] // 16, 6), float(i)).half() for i, name in enumerate("abc")}
    for mel in predicted.values():
        mel += torch.arange(len(mel)).unsqueeze(1) / 128
    data = pieces(cuts, pitch, batch_size=9, mels=predicted)
    for mel, _, samples in zip(*data[0], strict=True):
        name, start = place_of(samples, cuts)
        assert mel.dtype == torch.float32
        assert torch.equal(mel, predicted[name][start : start + 18].float())


def test_what_resampling_lifts_above_full_scale_does_not_turn_around(tmp_path, monkeypatch):
    cut = cut_of(tmp_path, "loud", np.zeros(800))
    loud = np.linspace(-1.2, 1.2, 800, dtype=np.float32)
    monkeypatch.setattr("s4speech.data.vocoder.samples_of", lambda cut: loud)
    samples = pieces(CutSet.from_cuts([cut]), {"loud": torch.full((50,), 99.0)}, frames=50, batch_size=1)[
        0
    ].samples
    np.testing.assert_allclose(samples[0].numpy(), loud.clip(-1, 1), atol=1e-4)


def test_pitch_has_no_gaps():
    f0 = torch.tensor([0.0, 0.0, 100.0, 0.0, 0.0, 0.0, 400.0, 200.0, 0.0])
    wanted = torch.tensor([100.0, 100.0, 100.0, 2**0.5 * 100, 200.0, 2**1.5 * 100, 400.0, 200.0, 200.0])
    close(continuous_pitch(f0), wanted, 1e-6)
    assert continuous_pitch(f0).dtype == f0.dtype
    assert continuous_pitch(torch.zeros(3)).tolist() == [100.0] * 3
    close(continuous_pitch(wanted), wanted, 1e-6)


def test_frames_and_pitch_are_equally_many(tmp_path):
    for size in (1600, 1607, 1615, 1616):
        times = np.arange(size) / 8000
        cut = cut_of(
            tmp_path, f"tone{size}", 0.3 * np.sin(2 * np.pi * 200 * times) * (1 + np.cos(400 * times))
        )
        mel, f0 = mel_of(MelFrames(**MEL.model_dump()), cut), pitch_of(MEL, cut)
        assert len(mel) == len(f0) == size // 16


def dataset(pitch: dict[str, Tensor], durations: dict[str, Tensor] | None = None) -> SpeechDataset:
    tokens = {"a": [1, 5, 2], "b": [3, 4, 5, 6, 2], "c": [7]}
    return SpeechDataset(MEL, tokens, pitch, {"ann": 0, "bob": 1}, durations)


def test_a_batch_is_the_utterances_padded(cuts, pitch):
    durations = {"a": torch.tensor([40, 50, 10]), "b": torch.tensor([10] * 5), "c": torch.tensor([20])}
    batch = dataset(pitch, durations)[cuts]
    assert batch.ids == ["a", "b", "c"]
    assert batch.tokens.tolist() == [[1, 5, 2, 0, 0], [3, 4, 5, 6, 2], [7, 0, 0, 0, 0]]
    assert batch.token_lengths.tolist() == [3, 5, 1] and batch.speaker.tolist() == [0, 1, 0]
    assert batch.lengths.tolist() == [100, 50, 20] == batch.durations.sum(1).tolist()
    assert batch.mel.shape == (3, 100, 6) and batch.mel.dtype == torch.float32
    for row, cut in enumerate(cuts):
        t = int(batch.lengths[row])
        own = mel_of(MelFrames(**MEL.model_dump()), cut)
        assert float((batch.mel[row, :t] - own).abs().max()) < 0.02  # of float16
        assert torch.equal(batch.f0[row, :t], continuous_pitch(pitch[cut.id]))
        assert torch.equal(batch.voiced[row, :t], (pitch[cut.id] > 0).float())
        assert bool((batch.f0[row, t:] == 100.0).all()), "its logarithm is taken"
        assert not batch.mel[row, t:].any() and not batch.voiced[row, t:].any()
    assert not dataset(pitch)[cuts].durations.any(), "before there is an alignment"


def test_frames_are_computed_once(cuts, pitch, monkeypatch):
    data = dataset(pitch)
    first = data[cuts]
    monkeypatch.setattr("s4speech.data.speech.mel_of", None)
    assert torch.equal(data[cuts].mel, first.mel)


def test_a_tensor_file_is_read_where_it_is_asked_and_survives_the_way_to_a_worker(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    save_file(tensors, tmp_path / "x.safetensors")
    for found in (
        TensorFile(tmp_path / "x.safetensors"),
        pickle.loads(pickle.dumps(TensorFile(tmp_path / "x.safetensors"))),
    ):
        assert sorted(found) == ["a", "b"] and len(found) == 2
        assert torch.equal(found["a"], tensors["a"]) and torch.equal(found["b"], tensors["b"])
