"""N-gram models written and read again, the same scores through KenLM, and files that are refused."""

import gzip
import importlib.util
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from s4speech.config.base import dump_config
from s4speech.config.lm import NgramLMConfig
from s4speech.models.lm import LMPackageConfig, load_lm, load_scorer
from s4speech.search.ngram import KenLM, NgramLM, load_ngram_scorer
from s4speech.text.arpa import read_arpa, write_arpa
from s4speech.text.kneser_ney import estimate
from s4speech.text.ngram import NgramModel
from s4speech.text.ngram_file import NAME, load_ngram, save_ngram
from s4speech.text.tokenizer import EOS, SOS, Tokenizer
from tests.conftest import message

SENTENCES = ["AB BA", "ABBA", "A B", "BAB ABA", "B BA AB", "C AB"] * 3 + ["ACCA", "BC AB", "A CAB"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.train(SENTENCES, tmp_path_factory.mktemp("char") / "tokenizer.model", 7, "char")


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> NgramModel:
    ids = [EOS, *(token for s in SENTENCES for token in [*tokenizer.encode(s), EOS])]
    return estimate(np.array(ids), 4, tokenizer.vocab_size, [0, 0, 1]).model


@pytest.fixture(scope="module")
def arpa(model: NgramModel, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arpa") / "lm.arpa"
    write_arpa(path, model, tokenizer.pieces)
    return path


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_arpa_and_back(model: NgramModel, tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    write_arpa(tmp_path / name, model, tokenizer.pieces)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.endswith("gz")
    again = read_arpa(tmp_path / name, tokenizer.pieces)
    assert again.counts == model.counts
    for one, other in zip(model.levels, again.levels, strict=True):
        assert (one.words == other.words).all() and (one.starts == other.starts).all()
        assert np.allclose(one.log10, other.log10, rtol=1e-6)
        assert np.allclose(one.back_off, other.back_off, rtol=1e-6, atol=1e-12)


def test_arpa_as_others_write_it(arpa: Path, model: NgramModel) -> None:
    lines = arpa.read_text("utf-8").splitlines()
    # the blank is not there, <s> is
    assert lines[:5] == ["\\data\\", *(f"ngram {n}={count}" for n, count in enumerate(model.counts, start=1))]
    assert lines[-1] == "\\end\\" and not any("<blank>" in line for line in lines)
    entries = {tuple(line.split("\t")[1].split(" ")): line.split("\t") for line in lines if "\t" in line}
    assert len(entries) == sum(model.counts)
    assert entries[("<s>",)][0] == "-99" and len(entries[("<s>",)]) == 3
    assert len(entries[("</s>",)]) == 2 and ("<s>", "\u2581", "A", "B") in entries
    assert all(
        len(entry) == (2 if len(gram) == 4 or gram[-1] == "</s>" else 3) for gram, entry in entries.items()
    )


def test_tokens_that_arpa_cannot_hold(model: NgramModel, tmp_path: Path) -> None:
    names = ["<blank>", "<unk>", "</s>", "a b", "c", "d", "e"]
    assert "token 'a b' cannot stand" in message(lambda: write_arpa(tmp_path / "lm", model, names))
    assert not list(tmp_path.iterdir())


def test_binary_and_back(model: NgramModel, tmp_path: Path) -> None:
    save_ngram(tmp_path / NAME, model)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    again = load_ngram(tmp_path / NAME)
    for one, other in zip(model.levels, again.levels, strict=True):
        for name, array in one._asdict().items():
            assert np.array_equal(array, getattr(other, name)), name
            assert array.dtype == getattr(other, name).dtype


def arpa_scorer(path: Path) -> Callable[[list[str], str], float]:
    """log10 p(word | words read) straight from an ARPA file, with dictionaries."""
    grams: dict[tuple[str, ...], tuple[float, float]] = {}
    for line in path.read_text("utf-8").splitlines():
        if "\t" in line:
            p, gram, *back_off = line.split("\t")
            grams[tuple(gram.split(" "))] = float(p), float(back_off[0]) if back_off else 0.0
    order = max(map(len, grams))

    def score(context: list[str], word: str) -> float:
        context = context[-(order - 1) :]
        if (*context, word) in grams:
            return grams[(*context, word)][0]
        return score(context[1:], word) + grams.get(tuple(context), (0, 0.0))[1] if context else math.nan

    return score


def fake_kenlm() -> Any:
    """The part of KenLM's Python module that is used here, on dictionaries."""

    class State(list[str]):
        pass

    class Model:
        def __init__(self, path: str, config: object) -> None:
            if not Path(path).read_text("utf-8").startswith("\\data\\"):
                raise OSError("no ARPA file\nat all")
            self.score, self.order = arpa_scorer(Path(path)), 4

        def __contains__(self, word: str) -> bool:
            return not math.isnan(self.score([], word))

        def BeginSentenceWrite(self, state: State) -> None:
            state[:] = ["<s>"]

        def NullContextWrite(self, state: State) -> None:
            state.clear()

        def BaseScore(self, before: State, word: str, after: State) -> float:
            word = word if word in self else "<unk>"
            after[:] = [*before, word]
            return self.score(before, word)

    return SimpleNamespace(Config=SimpleNamespace, State=State, Model=Model)


# The real one is optional, so it is tested where it is installed.
KENLMS = ["dictionaries", *(["kenlm"] if importlib.util.find_spec("kenlm") else [])]


@pytest.mark.parametrize("kind", KENLMS)
def test_kenlm_scores_alike(
    arpa: Path, tokenizer: Tokenizer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "dictionaries":
        monkeypatch.setitem(sys.modules, "kenlm", fake_kenlm())
    ours, theirs = NgramLM(arpa, tokenizer), KenLM(arpa, tokenizer)
    assert ours.order == theirs.order == 4
    rng = np.random.default_rng(0)
    states = ours.init_state(6), theirs.init_state(6)
    tokens = torch.full((6,), SOS)
    for _ in range(8):
        (ours_p, first), (theirs_p, second) = ours.score(tokens, states[0]), theirs.score(tokens, states[1])
        assert torch.equal(first, second) and ours_p.shape == (6, tokenizer.vocab_size)
        assert torch.allclose(ours_p[:, 1:], theirs_p[:, 1:], atol=1e-4)
        states = first, second
        tokens = torch.from_numpy(rng.integers(1, tokenizer.vocab_size, size=6))


def test_what_kenlm_cannot_do_is_one_line(
    arpa: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "lm.binary"
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0 and no more")
    monkeypatch.setitem(sys.modules, "kenlm", None)  # not installed
    assert "pip install 's4speech[lm]'" in message(lambda: load_ngram_scorer(binary, tokenizer))
    monkeypatch.setitem(sys.modules, "kenlm", fake_kenlm())
    assert "KenLM cannot read it (no ARPA file at all)" in message(
        lambda: load_ngram_scorer(binary, tokenizer)
    )
    other = tmp_path / "other.arpa"
    other.write_text("\\data\\\nngram 1=1\n\n\\1-grams:\n-1\tDOG\n\n\\end\\\n")
    assert "none of the 7 tokens is in it" in message(lambda: KenLM(other, tokenizer))
    assert isinstance(load_ngram_scorer(arpa, tokenizer), NgramLM)


@pytest.fixture
def folder(model: NgramModel, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A model directory."""
    path = tmp_path / "package"
    path.mkdir()
    config = LMPackageConfig(model=NgramLMConfig(type="ngram", order=4, prune=[0, 0, 1], vocab_size=7))
    (path / "config.yaml").write_text(dump_config(config))
    save_ngram(path / NAME, model)
    Tokenizer.train(SENTENCES, path / "tokenizer.model", 7, "char")
    return path


def test_a_model_directory_is_a_scorer(folder: Path, arpa: Path, tokenizer: Tokenizer) -> None:
    wanted = NgramLM(arpa, tokenizer)
    token = torch.tensor([SOS])
    expected, _ = wanted.score(token, wanted.init_state(1))
    for path in (folder, folder / NAME):
        scorer = load_scorer(path, tokenizer)
        assert torch.allclose(scorer.score(token, scorer.init_state(1))[0], expected, atol=1e-5)
    assert "an n-gram model" in message(lambda: load_lm(folder))
    other = Tokenizer.train(["DEF"], folder.parent / "other.model", None, "char")
    assert "another tokenizer" in message(
        lambda: NgramLM(folder, Tokenizer.train(["ABCDEFGH"], folder.parent / "more.model", None, "char"))
    )
    assert "its 7 tokens are not the 7" in message(lambda: load_scorer(folder, other))


def damage(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Write it again with other arrays."""
    from safetensors.numpy import load_file, save_file

    arrays = {name: array.copy() for name, array in load_file(path).items()}
    change(arrays)
    save_file(arrays, path, metadata={"format": "s4speech n-gram 1", "order": "4"})


def put(name: str, where: int, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][where] = value

    return change


DAMAGES: dict[str, tuple[Callable[[dict[str, np.ndarray]], object], str]] = {
    "an array is missing": (lambda a: a.pop("words.3"), "words.3"),
    "lengths differ": (lambda a: a.update({"log10.2": a["log10.2"][1:]}), "not as many probabilities"),
    "a token too large": (put("words.4", -1, 7), "token 7, wanted less than 7"),
    "above 1": (put("log10.3", 2, 0.5), "a log-probability above 0"),
    "infinite": (put("back_off.2", 1, math.inf), "not finite"),
    "nothing for a token": (put("log10.1", 3, math.nan), "without a probability"),
    "out of bounds": (put("starts.2", -1, 10**6), "out of order"),
    "falling": (put("starts.1", 4, 10**6), "out of order"),
    "not sorted": (lambda a: a.update({"words.2": a["words.2"][::-1].copy()}), "not sorted"),
    "other numbers": (lambda a: a.update({"log10.1": a["log10.1"].astype(np.int32)}), "kinds"),
    "a table": (lambda a: a.update({"words.4": a["words.4"][None]}), "kinds"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_binary_is_one_line(folder: Path, tokenizer: Tokenizer, kind: str) -> None:
    change, told = DAMAGES[kind]
    damage(folder / NAME, change)
    said = message(lambda: load_scorer(folder, tokenizer))
    assert said.startswith(f"{folder / NAME}: cannot read (") and told in said


def test_other_files_are_one_line(folder: Path, tokenizer: Tokenizer) -> None:
    path = folder / NAME
    whole = path.read_bytes()
    for data in (whole[:-10], whole[:100], b"", b"no"):
        path.write_bytes(data)
        assert message(lambda: NgramLM(folder, tokenizer)).startswith(f"{path}: cannot read (")
    header = json.dumps({"__metadata__": {"format": "another"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "its format is 'another'" in message(lambda: NgramLM(folder, tokenizer))
    shutil.copy(folder / "tokenizer.model", path)
    assert "cannot read" in message(lambda: NgramLM(path, tokenizer))
    path.unlink()
    assert "cannot read" in message(lambda: NgramLM(folder, tokenizer))


def test_an_ngram_that_stands_twice_is_refused(
    arpa: Path, model: NgramModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    text, count = arpa.read_text("utf-8"), model.counts[3]
    line = text.splitlines()[-3]  # the last 4-gram
    text = text.replace(f"ngram 4={count}", f"ngram 4={count + 1}").replace(line, f"{line}\n{line}")
    path = tmp_path / "twice.arpa.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert message(lambda: NgramLM(path, tokenizer)).startswith(f"{path}: a 4-gram stands twice")
