"""The language model recipe with n-grams, on a tiny text."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from s4speech.models.lm import load_scorer
from s4speech.text.arpa import read_arpa
from s4speech.text.tokenizer import SOS, Tokenizer
from tests.conftest import Experiment
from tests.e2e.test_lm_recipe import new_lm, results

Run = Callable[..., tuple[int, str, str]]


def new_ngram(folder: Path) -> Experiment:
    one = new_lm(folder)
    config = yaml.safe_load(one.config.read_text())
    config["model"] = {"type": "ngram", "order": 5, "prune": [0, 0, 0, 1], "arpa": True}
    del config["train"]
    one.config.write_text(yaml.safe_dump(config))
    return one


def test_it_counts_evaluates_and_packages(tmp_path: Path, recipes_here: Run) -> None:
    one = new_ngram(tmp_path)
    code, output, errors = recipes_here(one.config, recipe="lm")
    assert (code, errors) == (0, "")
    found = results(one)
    held_out, text = found["texts"].values()
    assert held_out["alone"] == held_out["in context"]  # it sees nothing before its sentence
    # Letters are said by chance, the first one after the space is not known to it: 4 in each of six of 9.
    assert 1.9 < held_out["alone"]["perplexity_token"] < 3
    assert text["alone"]["perplexity_token"] < held_out["alone"]["perplexity_token"] * 1.1
    training = found["training"]
    assert training["parameters"] == sum(training["ngrams"]) and len(training["ngrams"]) == 5
    # every token of the text without the held-out sentences, but for the end that fills no row
    assert 540 * 9 - 32 < training["tokens"] <= 540 * 9 + 1

    folder = one.exp_dir / "package" / "tiny"
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    scorer = load_scorer(folder, tokenizer)
    state, tokens = scorer.init_state(1), [SOS, *tokenizer.encode("ABD ABD"), SOS]
    nats = 0.0
    for token, following in pairwise(tokens):
        log_probs, state = scorer.score(torch.tensor([token]), state)
        nats -= float(log_probs[0, following])
    model = read_arpa(one.exp_dir / "train" / "lm.arpa.gz", tokenizer.pieces)
    assert nats == pytest.approx(-math.log(10) * model.log10(np.array(tokens)).sum(), rel=1e-4)
    card = (folder / "README.md").read_text()
    assert "N-gram language model" in card and f"{sum(training['ngrams'])} " in card
    assert json.loads((one.exp_dir / "train" / "training.json").read_text())["minutes"] < 1

    # another order counts again, and prepares nothing again
    code, output, _ = recipes_here(one.config, "model.order=4", "--dry-run", recipe="lm")
    assert code == 0 and (output.count(" run "), output.count(" skip ")) == (3, 1)


BAD = [
    ("model.prune=[1]", "model: prune: got [1], wanted at most 5 counts that never fall, the first 0"),
    ("model.order=11", "model.order: got 11"),
    ("model.d_model=8", "model.d_model: unknown key"),
]


@pytest.mark.parametrize(("override", "told"), BAD, ids=[override for override, _ in BAD])
def test_bad_input_is_one_line(tmp_path: Path, recipes_here: Run, override: str, told: str) -> None:
    code, _, errors = recipes_here(new_ngram(tmp_path).config, override, recipe="lm")
    assert (code, len(errors.splitlines())) == (2, 1) and told in errors, errors
