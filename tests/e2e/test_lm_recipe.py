"""The language model recipe on a tiny text: it learns, continues after a kill, and says what is wrong."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from s4speech.models.lm import load_lm
from s4speech.text.tokenizer import SOS, Tokenizer
from tests.conftest import Experiment, snapshot
from tests.e2e.test_kill import run_killed

Run = Callable[..., tuple[int, str, str]]


def new_lm(folder: Path) -> Experiment:
    """Sentences that say a word and then the same one again."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(0)
    sentences = [f"{word} {word}" for word in ("".join(rng.choices("ABCD", k=3)) for _ in range(600))]
    (folder / "text.txt").write_text("\n".join(sentences) + "\n")
    Tokenizer.train(sentences, folder / "tokenizer.model", 8, "char")
    config: dict[str, Any] = {
        "exp_dir": str(folder / "exp"),
        "tokenizer": str(folder / "tokenizer.model"),
        "text": {"path": str(folder / "text.txt"), "length": 32, "block": 3, "hold_out": 10},
        "model": {"type": "s4", "d_model": 32, "n_layers": 2, "d_ff": 48, "d_state": 16, "dt_min": 0.1},
        "train": {"batch_size": 8, "epoch_tokens": 32 * 8 * 30, "epochs": 5, "warmup_steps": 10},
        "evaluate": {"texts": [str(folder / "text.txt")], "context": 3, "batch_tokens": 500},
        "package": {"name": "tiny", "data": "words", "licence": "Apache-2.0", "half": True},
    }
    config["train"] |= {"precision": "32-true", "accelerator": "cpu", "lr": 1e-2, "muon_lr": 2e-2}
    one = Experiment(folder / "tiny.yaml", folder / "exp", "lm")
    one.config.write_text(yaml.safe_dump(config))
    return one


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run; read only."""
    one = new_lm(tmp_path_factory.mktemp("learnt"))
    done = one.run()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (one.exp_dir / "terminal.txt").write_text(done.stdout)
    return one


def results(one: Experiment) -> dict[str, Any]:
    return json.loads((one.exp_dir / "evaluate" / "results.json").read_text())


def test_it_learns_that_the_word_comes_again(learnt: Experiment) -> None:
    found, output = results(learnt), (learnt.exp_dir / "terminal.txt").read_text()
    held_out, text = found["texts"].values()
    assert held_out["alone"]["sentences"] == 60 and text["alone"]["sentences"] == 600
    # three letters of four and the rest for nothing: 4 to the power of 3 in 9 tokens is 1.59
    for how in ("alone", "in context"):
        one = held_out[how]
        assert 1.5 < one["perplexity_token"] < 2.1
        assert one["tokens"] == 60 * 9 and one["words"] == 120 and one["characters"] == 60 * 7
        assert np.isclose(one["perplexity_token"] ** one["tokens"], one["perplexity_word"] ** 180, rtol=1e-6)
        assert np.isclose(2 ** (one["bits_character"] * 480), np.exp(one["nats"]), rtol=1e-6)
        assert f"{one['perplexity_token']:.2f}" in output
    assert found["training"]["steps"] == 150 and found["training"]["tokens"] == 150 * 8 * 32


def test_the_packaged_model_is_the_evaluated_one(learnt: Experiment) -> None:
    folder = learnt.exp_dir / "package" / "tiny"
    model, config = load_lm(folder)
    assert config.model.vocab_size == 8 and config.language == "en"
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    frozen = model.freeze()
    row = torch.tensor([SOS, *tokenizer.encode("ABD ABD")])
    log_probs, _ = frozen.scan(row[None], frozen.init_state(1))
    best = log_probs[0, 4:].argmax(-1).tolist()  # after the first word
    assert best[1:] == [*row[6:].tolist(), SOS]
    card = (folder / "README.md").read_text()
    alone = results(learnt)["texts"]["held out"]["alone"]
    assert f"| held out, alone | {alone['perplexity_token']:.2f} |" in card and "Licence: Apache-2.0" in card


def test_only_what_changed_runs_again(learnt: Experiment, recipes_here: Run) -> None:
    before = snapshot(learnt.exp_dir)
    for override, rerun in (
        ("train.workers=2", 0),
        ("package.half=false", 1),
        ("evaluate.context=2", 2),
        ("model.dropout=0.1", 3),
        ("text.max_tokens=999", 4),
    ):
        code, output, errors = recipes_here(learnt.config, override, "--dry-run", recipe="lm")
        assert (code, errors) == (0, "")
        assert (output.count(" run "), output.count(" skip ")) == (rerun, 4 - rerun), override
    assert snapshot(learnt.exp_dir) == before


def losses(one: Experiment) -> list[tuple[int, float]]:
    with (one.exp_dir / "train" / "metrics" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["valid/loss"]]
    return [(int(row["epoch"]), float(row["valid/loss"])) for row in rows]


def test_killed_and_continued_it_is_the_same_training(tmp_path: Path, learnt: Experiment) -> None:
    killed = new_lm(tmp_path / "killed")
    run_killed(killed, "s4speech.train.lm:LMTask.training_step", 70)  # in epoch 3
    done = killed.run("--stop-stage", "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert "train: run, interrupted, continues" in done.stdout
    assert "continued with epoch 3 of 5" in (killed.exp_dir / "train" / "log.txt").read_text()
    assert np.allclose(losses(killed), losses(learnt), rtol=1e-3)


BAD = [
    (["text.path=/nowhere"], "stage 'prepare': /nowhere does not exist"),
    (["tokenizer=/nowhere"], "stage 'prepare': /nowhere does not exist"),
    (["evaluate.texts=[/nowhere]"], "stage 'evaluate': /nowhere does not exist"),
    (["text.length=100000", "train.epoch_tokens=null"], "do not make one row of 100000 tokens to train on"),
    (["text.lenght=100"], "text.lenght: unknown key; did you mean 'length'?"),
    (["model.type=lstm"], "model.type: got 'lstm', wanted one of: 's4', 'transformer', 'ngram'"),
    (["model.d_state=7"], "model: "),
    (["model.dt_min=2.0"], "model: dt_min, dt_max: got 2.0, 1.0, wanted"),
    (["model.vocab_size=8"], "model.vocab_size: got 8, wanted null"),
    (["train.epoch_tokens=100"], "train.epoch_tokens: got 100, wanted at least a batch, 256 tokens"),
    (["--stage", "train"], "--stage train: needs the result of stage 'prepare'"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line(tmp_path: Path, recipes_here: Run, arguments: list[str], told: str) -> None:
    one = new_lm(tmp_path)
    code, _, errors = recipes_here(one.config, *arguments, recipe="lm")
    assert (code, len(errors.splitlines())) == (2, 1), errors
    assert told in errors
    assert not list(one.exp_dir.glob("*/done.json"))
