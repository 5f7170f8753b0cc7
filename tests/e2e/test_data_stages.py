"""From the corpus to what training reads: sample rates, channels, names of parts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from lhotse import CutSet

from s4speech.audio.features import LogMel
from s4speech.data.asr import ASRDataset
from s4speech.data.corpora import read_corpus
from s4speech.errors import InputError
from tests.conftest import Experiment, new_experiment
from tests.e2e.corpus import RATE, UTTERANCES, make_corpus

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mine(tmp_path: Path) -> Experiment:
    return new_experiment(tmp_path, make_corpus(tmp_path / "LibriSpeech"))


def cuts(experiment: Experiment, name: str) -> CutSet:
    return CutSet.from_jsonl(experiment.exp_dir / "prepare" / f"{name}.jsonl.gz").to_eager()


def resample(path: Path, rate: int) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, soxr.resample(samples, RATE, rate), rate)


def test_a_corpus_of_another_sample_rate(recipes_here: Run, mine: Experiment) -> None:
    corpus = mine.exp_dir.parent / "LibriSpeech"
    original = soundfile.read(corpus / "train-tiny" / "1" / "1" / "1-1-0000.flac")[0]
    for path in corpus.glob("*-tiny/*/*/*.flac"):
        resample(path, 32000 if "dev-tiny" in path.parts else 8000)
    code, output, error = recipes_here(mine.config, "--stop-stage", "stats")
    assert (code, error) == (0, "")
    assert "prepare: train has audio of 8000 Hz, resampled to 16000 Hz" in output
    assert "prepare: valid has audio of 32000 Hz" in output
    train = cuts(mine, "train")
    assert {cut.sampling_rate for name in ("train", "valid") for cut in cuts(mine, name)} == {RATE}
    features = LogMel()
    dataset = ASRDataset(features, lambda text: [])
    for cut in (train[0], train[0].perturb_speed(1.1), cuts(mine, "valid")[0]):
        assert len(dataset.cut_features(cut)) == pytest.approx(100 * cut.duration - 1.5, abs=1)
    # The bands that 8 kHz holds are those of the original, in the same places.
    got = dataset.cut_features(train["1-1-0000"])
    recording = train["1-1-0000"].recording
    assert recording.num_samples == pytest.approx(len(original), abs=1)
    wanted, _ = features(torch.from_numpy(original).float().unsqueeze(0), torch.tensor([len(original)]))
    frames = min(len(got), wanted.shape[1])
    low = torch.stack([got[:frames, :40].flatten(), wanted[0, :frames, :40].flatten()])
    assert torch.corrcoef(low)[0, 1] > 0.98


def test_several_channels_are_refused(recipes_here: Run, mine: Experiment) -> None:
    path = mine.exp_dir.parent / "LibriSpeech" / "train-tiny" / "2" / "1" / "2-1-0003.flac"
    samples, _ = soundfile.read(path)
    soundfile.write(path, np.stack([samples, samples], 1), RATE)
    code, _, error = recipes_here(mine.config)
    assert code == 2 and error.count("\n") == 1
    assert str(path) in error and "2 channels, wanted one" in error


def test_cuts_of_another_kind_are_refused(tiny_corpus: Path) -> None:
    cut = read_corpus("librispeech", tiny_corpus, ["dev-tiny"])["dev-tiny"][0]
    dataset = ASRDataset(LogMel(), lambda text: [])
    with pytest.raises(InputError, match=f"{cut.id}: got 8000 Hz"):
        dataset.cut_features(cut.resample(8000))


def test_features_stay_on_the_cpu_when_the_model_moves(tiny_corpus: Path) -> None:
    cut = read_corpus("librispeech", tiny_corpus, ["dev-tiny"])["dev-tiny"][0]
    features = LogMel()
    dataset = ASRDataset(features, lambda text: [])
    wanted = dataset.cut_features(cut)
    features.to("meta")
    assert dataset.cut_features(cut).equal(wanted)


def test_test_parts_named_like_the_other_sets(recipes_here: Run, mine: Experiment) -> None:
    corpus = mine.exp_dir.parent / "LibriSpeech"
    (corpus / "test-tiny").rename(corpus / "train")
    (corpus / "dev-tiny").rename(corpus / "valid")
    code, _, error = recipes_here(
        mine.config, "corpus.valid=[]", "corpus.valid_speakers=['4']", "corpus.test=[train,valid]",
        "--stop-stage", "doctor",
    )  # fmt: skip
    assert (code, error) == (0, "")
    n = UTTERANCES
    sizes = {name: len(cuts(mine, name)) for name in ("train", "valid", "test/train", "test/valid")}
    assert sizes == {
        "train": 3 * n["train-tiny"],
        "valid": n["train-tiny"],
        "test/train": 2 * n["test-tiny"],
        "test/valid": 2 * n["dev-tiny"],
    }
