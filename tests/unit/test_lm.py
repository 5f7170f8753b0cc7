"""The language model: two forms of one function, its text, its directory, its perplexity."""

import gzip
import lzma
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from recipes.lm.evaluation import _batches, row_nats
from s4speech.config.lm import LMConfig, S4LMConfig, TransformerLMConfig
from s4speech.data.text import RowSampler, TextRows, pack_rows, read_sentences, read_text, train_loader
from s4speech.layers import cat_rows, select_rows
from s4speech.models.lm import LanguageModel, LMPackageConfig, load_lm, save_lm
from s4speech.text.tokenizer import EOS, SOS, Tokenizer
from tests.conftest import message

CONFIG = S4LMConfig(d_model=16, n_layers=2, d_ff=24, d_state=8, vocab_size=11)
WORDS = ("ab", "ba", "abba")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(CONFIG).eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.train(
        ["AB BA ABBA C'"], tmp_path_factory.mktemp("tokenizer") / "tokenizer.model", 8, "char"
    )


TRANSFORMER = TransformerLMConfig(
    type="transformer", d_model=16, n_layers=2, n_heads=2, d_ff=24, vocab_size=11, dropout=0.2
)
FORMS = {
    "legs": CONFIG.model_copy(update={"init": "legs", "dropout": 0.2}),
    "real": CONFIG.model_copy(update={"init": "real", "dropout": 0.2}),
    "transformer": TRANSFORMER,
    "transformer-window": TRANSFORMER.model_copy(update={"window": 9}),
    "transformer-all": TRANSFORMER.model_copy(update={"window": None}),
}


@pytest.mark.parametrize("config", FORMS.values(), ids=FORMS.keys())
def test_forward_is_steps_is_scan(config: LMConfig) -> None:
    torch.manual_seed(1)
    model = LanguageModel(config).eval()
    tokens = torch.randint(0, 11, (3, 70))
    wanted = model(tokens).log_softmax(-1)
    frozen = model.freeze()
    state, steps = frozen.init_state(3), []
    for column in tokens.T:
        log_probs, state = frozen.score(column, state)
        steps.append(log_probs)
    torch.testing.assert_close(torch.stack(steps, 1), wanted, rtol=1e-4, atol=1e-4)
    again, parts = frozen.init_state(3), []
    for part in tokens.split([1, 0, 40, 29], 1):
        log_probs, again = frozen.scan(part, again)
        parts.append(log_probs)
    torch.testing.assert_close(torch.cat(parts, 1), wanted, rtol=1e-4, atol=1e-4)
    for one, other in zip(_leaves(state), _leaves(again), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def _leaves(state: object) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    return [leaf for part in state for leaf in _leaves(part)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("config", FORMS.values(), ids=FORMS.keys())
def test_rows_are_reordered_and_joined_as_a_search_does(config: LMConfig) -> None:
    torch.manual_seed(0)
    frozen = LanguageModel(config).eval().freeze()
    tokens = torch.tensor([[SOS, 3, 4], [SOS, 5, 6]])
    log_probs, state = frozen.scan(tokens, frozen.init_state(2))
    swapped, _ = frozen.score(torch.tensor([7, 7, 7]), select_rows(state, torch.tensor([1, 0, 1])))
    straight, _ = frozen.score(torch.tensor([7, 7]), state)
    torch.testing.assert_close(swapped, straight[[1, 0, 1]])
    joined = cat_rows([select_rows(state, torch.tensor([0])), frozen.init_state(1)])
    after, _ = frozen.score(torch.tensor([7, SOS]), joined)
    torch.testing.assert_close(after[0], straight[0])
    torch.testing.assert_close(after[1], log_probs[0, 0])


def test_a_frozen_model_does_not_hear_of_later_training(model: LanguageModel) -> None:
    other = LanguageModel(CONFIG)
    frozen = other.freeze()
    before, _ = frozen.score(torch.tensor([SOS]), frozen.init_state(1))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    with torch.autocast("cpu", torch.bfloat16):  # is for training
        log_probs, _ = frozen.score(torch.tensor([SOS]), frozen.init_state(1))
    assert log_probs.dtype == torch.float32 and not log_probs.requires_grad
    torch.testing.assert_close(log_probs, before, rtol=0.05, atol=0.05)
    assert math.isclose(float(before.exp().sum()), 1, rel_tol=1e-5)


def test_the_vocabulary_has_to_be_known() -> None:
    with pytest.raises(ValueError, match="vocab_size: got null"):
        LanguageModel(S4LMConfig())


@pytest.mark.parametrize("suffix", ["txt", "xz", "gz"])
def test_text_is_read_packed_or_not(tmp_path: Path, suffix: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {"txt": bytes, "xz": lzma.compress, "gz": gzip.compress}
    path = tmp_path / f"text.{suffix}"
    path.write_bytes(pack[suffix]("Hello, café!\n\n ...\nit's a-b \n".encode()))
    assert list(read_sentences(path, normalize=True)) == ["HELLO CAFE", "IT'S A B"]
    assert list(read_sentences(path, normalize=False)) == ["Hello, café!", "...", "it's a-b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", b"\xff\xfe"), ("a.xz", b"text"), ("a.gz", gzip.compress(b"x" * 99)[:-9])],
    ids=["txt", "xz", "gz"],
)
def test_damaged_text_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    assert f"{path}: cannot be read" in message(lambda: list(read_sentences(path, normalize=True)))  # missing
    path.write_bytes(content)
    assert f"{path}: cannot be read" in message(lambda: list(read_sentences(path, normalize=True)))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(2, 9))
def test_every_token_is_asked_for_with_its_sentence_before_it(sizes: list[int], length: int) -> None:
    sentences = [[*range(100 * n + 10, 100 * n + 10 + size), EOS] for n, size in enumerate(sizes)]
    tokens = np.array([SOS, *(token for sentence in sentences for token in sentence)], dtype=np.uint16)
    rows = pack_rows(tokens, length)
    assert rows.dtype == np.uint16 and rows.shape[1] == length + 1
    asked = {int(token) for row in rows for token in row[1:]}
    wanted = {int(token) for token in tokens[1 : max(1, len(tokens) - length)]}  # but for what fills no row
    assert wanted <= asked
    text = ",".join(map(str, tokens)) + ","
    for row in rows:
        assert ",".join(map(str, row)) + "," in text
        assert row[0] == EOS or max(sizes) >= length  # a sentence that no row holds


def test_held_out_sentences_are_nowhere_in_training(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "text.txt"
    lines = ["C C C C" if number // 2 % 5 == 2 else "AB BA" for number in range(200)]
    path.write_text("\n".join(lines))
    parts = read_text(path, tokenizer, normalize=True, length=16, block=2, hold_out=5)
    seldom = tokenizer.encode("C")[-1]
    assert parts.sentences == 200 and parts.unknown == 0 and parts.held_out == ["C C C C"] * 40
    assert (parts.train != seldom).all() and len(parts.train) >= 160 * 6 // 17
    others = {*tokenizer.encode("C"), EOS}
    assert set(parts.valid.flatten().tolist()) == others
    assert (parts.valid[:, 0] == EOS).all() and (parts.train[:, 0] == EOS).all()
    few = read_text(path, tokenizer, normalize=True, length=16, block=2, hold_out=5, max_tokens=200)
    assert 25 <= few.sentences < 40


def test_too_little_text_is_one_line(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "text.txt"
    path.write_text("AB BA\n" * 9)
    told = message(lambda: read_text(path, tokenizer, normalize=True, length=16, block=2, hold_out=1000))
    assert f"{path}: 9 sentences, " in told and "do not make one row of 16 tokens to hold out" in told


def test_epochs_go_through_the_text_and_a_continued_one_is_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(24, dtype=np.uint16).reshape(12, 2))
    rows = TextRows(tmp_path / "rows.npy")
    loader = train_loader(rows, 2, epoch_tokens=5, seed=0)  # rows of one token: two batches of two

    def epoch(number: int) -> list[int]:
        loader.sampler.set_epoch(number)  # type: ignore[attr-defined]
        batches = list(loader)
        assert len(batches) == len(loader) == 2
        assert all(batch.shape == (2, 2) and batch.dtype == torch.int64 for batch in batches)
        return [int(row[0]) // 2 for batch in batches for row in batch]

    passes = [[*epoch(3 * n), *epoch(3 * n + 1), *epoch(3 * n + 2)] for n in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(12)) and passes[0] != passes[1]
    assert epoch(1) == passes[0][4:8]
    across = RowSampler(5, 2, epoch_rows=4, seed=0)  # the second epoch ends a pass and begins another
    across.set_epoch(1)
    assert [len(batch) for batch in across] == [2, 2]


def test_padding_and_batches_change_no_perplexity(model: LanguageModel) -> None:
    rows = [torch.tensor([SOS, *range(3, 3 + size), EOS]) for size in (1, 7, 3, 5, 5)]
    frozen, wanted = model.freeze(), 0.0
    for row in rows:
        log_probs, _ = frozen.scan(row[None, :-1], frozen.init_state(1))
        wanted -= float(log_probs[0].gather(-1, row[1:, None]).sum())
    batches = list(_batches(rows, 12))
    assert sorted(map(len, batches)) == [1, 1, 1, 2] and sum(map(len, batches)) == 5
    cpu = torch.device("cpu")
    assert math.isclose(sum(row_nats(model, batch, cpu) for batch in batches), wanted, rel_tol=1e-5)
    assert math.isclose(row_nats(model, rows, cpu), wanted, rel_tol=1e-5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model directory to spoil."""
    folder = tmp_path / "lm"
    folder.mkdir()
    tokenizer = Tokenizer.train(WORDS, tmp_path / "tokenizer.model", 6, "char")
    config = LMPackageConfig(model=CONFIG.model_copy(update={"vocab_size": tokenizer.vocab_size}))
    torch.manual_seed(2)
    save_lm(
        folder, config, LanguageModel(config.model), tmp_path / "tokenizer.model", "# A card\n", half=True
    )
    return folder


def test_what_is_saved_is_loaded(folder: Path) -> None:
    files = {"config.yaml", "model.safetensors", "tokenizer.model", "README.md"}
    assert {path.name for path in folder.iterdir()} == files
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    model, config = load_lm(str(folder))
    assert (config.task, config.language, config.model.vocab_size) == ("lm", "en", 6)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    torch.manual_seed(2)
    original = LanguageModel(config.model).eval()
    tokens = torch.tensor([[SOS, 3, 4, 5]])
    assert model(tokens).dtype == torch.float32
    torch.testing.assert_close(model(tokens), original(tokens), rtol=0.02, atol=0.02)


def _other_tokenizer(folder: Path) -> None:
    Tokenizer.train(["abcdef"], folder / "tokenizer.model", 10, "char")


def _spoilt_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return spoil


def _config(old: str, new: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        text = (folder / "config.yaml").read_text()
        assert old in text
        (folder / "config.yaml").write_text(text.replace(old, new))

    return spoil


SPOILT: list[tuple[str, Callable[[Path], object], str]] = [
    ("gone", shutil.rmtree, "config.yaml: no such file"),
    ("tokenizer gone", lambda f: (f / "tokenizer.model").unlink(), "tokenizer.model: cannot read"),
    ("weights gone", lambda f: (f / "model.safetensors").unlink(), "model.safetensors: no such file"),
    ("another tokenizer", _other_tokenizer, "tokenizer.model: 10 pieces, config.yaml says 6"),
    ("a recogniser", _config("task: lm", "task: asr"), "config.yaml: task: got 'asr' (str), wanted"),
    ("another kind", _config("type: s4", "type: lstm"), "config.yaml: model.type: got 'lstm', wanted"),
    ("state size", _config("d_state: 8", "d_state: 7"), "config.yaml: "),
    ("width", _config("d_model: 16", "d_model: 18"), "config.yaml makes it"),
    ("missing", _spoilt_weights(lambda w: w.pop("norm.bias")), "tensor norm.bias is missing"),
    ("nan", _spoilt_weights(lambda w: w["norm.bias"].fill_(math.nan)), "tensor norm.bias has NaN"),
]


@pytest.mark.parametrize(("spoil", "told"), [one[1:] for one in SPOILT], ids=[one[0] for one in SPOILT])
def test_a_spoilt_directory_is_one_line(folder: Path, spoil: Callable[[Path], object], told: str) -> None:
    spoil(folder)
    assert told in message(lambda: load_lm(folder))
