"""Training from shards: the utterances, batches and features of an epoch are those of the files."""

import torch

from s4speech.audio.features import LogMel
from s4speech.data.asr import ASRDataset, make_loader
from s4speech.data.convert import convert
from s4speech.data.corpora import read_corpus
from s4speech.data.sampler import EpochSampler, training_epochs
from s4speech.data.source import read_source
from tests.conftest import new_experiment


def epochs(cuts, workers=0):
    """What two epochs of a training hear, batch by batch."""
    choose = training_epochs(cuts, [0.9, 1.0, 1.1], lambda epoch: 10.0)
    sampler = EpochSampler(choose, max_duration_s=6.0, shuffle=True)
    loader = make_loader(ASRDataset(LogMel(), lambda text: list(text.encode())), sampler, workers)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        yield from loader


def test_an_epoch_from_shards_is_one_from_files(tiny_corpus, tmp_path):
    parts = read_source(tiny_corpus, ["dev-tiny"])
    convert(parts, tmp_path / "shards", "shar", shard_size=4)
    files = read_corpus("librispeech", tiny_corpus, ["dev-tiny"])["dev-tiny"]
    shards = read_corpus("shar", tmp_path / "shards", ["dev-tiny"])["dev-tiny"]
    pairs = list(zip(epochs(files), epochs(shards, workers=1), strict=True))
    assert sum(len(batch.ids) for batch, _ in pairs) == 2 * len(files)
    for one, two in pairs:
        assert one.ids == two.ids
        assert torch.equal(one.features, two.features) and torch.equal(one.tokens, two.tokens)


def test_a_recipe_prepares_and_examines_shards(recipes_here, tiny_corpus, tmp_path):
    convert(read_source(tiny_corpus), tmp_path / "shards", "shar", shard_size=10)
    experiment = new_experiment(tmp_path, tmp_path / "shards")
    code, output, error = recipes_here(experiment.config, "--stop-stage", "doctor", "corpus.name=shar")
    assert (code, error) == (0, "")
    assert "doctor: no fatal finding" in output


def test_the_doctor_stage_counts_what_leaks(recipes_here, tiny_corpus, tmp_path):
    """The first test speaker's recordings, under other names, are trained on, too."""
    parts = {part.name: part for part in read_source(tiny_corpus)}
    train, test = parts["train-tiny"], parts["test-tiny"]
    for cut in test.cuts[:3]:
        again = cut.with_id(f"again-{cut.id}")
        train.cuts.append(again)
    convert(list(parts.values()), tmp_path / "data", "lhotse")
    experiment = new_experiment(tmp_path, tmp_path / "data")
    code, output, error = recipes_here(experiment.config, "--stop-stage", "doctor", "corpus.name=lhotse")
    assert (code, error) == (0, "")
    told = (experiment.exp_dir / "doctor" / "findings.csv").read_text()
    assert told.count("leaked_audio") == 3 and told.count("leaked_speaker") == 1
    said = " ".join(output.split())
    assert "doctor: 3 recordings of test-tiny are also in training" in said
    assert "doctor: 1 speakers of test-tiny are also in training" in said
    assert "texts of test-tiny are also in training" in said
