"""The n-gram language model against a file worked out by hand, and the files that it refuses."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from s4speech.config.streaming import SearchOptions
from s4speech.layers import cat_rows, select_rows
from s4speech.search import FrameSyncSearch, NgramLM, run
from s4speech.text.tokenizer import EOS, SOS, UNKNOWN, Tokenizer
from tests.conftest import message

# a, b and c follow the mark of a word; c is in no n-gram. Not sorted, with spaces, a comment, a blank line.
ARPA = """made by hand
\\data\\
ngram 1=6
ngram  2 = 5
ngram 3=4

\\1-grams:
-0.7 </s> -7
-99\t<s>\t-0.5
-2.0\t<unk>
-0.4\ta\t-0.3

-0.6\tb\t-0.2
-1.0\t\u2581\t-0.1

\\2-grams:
-0.3\tb </s>
-0.1\t<s> \u2581\t-0.6
-0.25\t\u2581 a\t-0.45
-0.5\t\u2581 b
-0.8\ta b\t0.15

\\3-grams:
-0.05\t\u2581 a b
-1.5\t\u2581 a </s>
-0.2\t<s> \u2581 b
-0.35\t\u2581 b a

\\end\\
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.train(["abc"], tmp_path_factory.mktemp("char") / "tokenizer.model", 7, "char")


def write(folder: Path, text: str) -> Path:
    path = folder / "lm.arpa"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def lm(tokenizer: Tokenizer, tmp_path: Path) -> NgramLM:
    return NgramLM(write(tmp_path, ARPA), tokenizer)


def log10_after(lm: NgramLM, tokens: list[int]) -> list[float]:
    """log10 p of every token after some, read one by one."""
    state = lm.init_state(1)
    for token in tokens:
        log_probs, state = lm.score(torch.tensor([token]), state)
    return (log_probs[0].double() / math.log(10)).tolist()


def test_probabilities_by_hand(lm: NgramLM, tokenizer: Tokenizer) -> None:
    word, a, b, c = tokenizer.encode("abc")
    assert lm.order == 3

    def expect(tokens: list[int], by_token: dict[int, float]) -> None:
        found = log10_after(lm, tokens)
        assert {token: found[token] for token in by_token} == pytest.approx(by_token, abs=1e-5)

    # <s>: one bigram, all else backs off. c is nowhere: as <unk>. The blank never follows.
    after_start = {word: -0.1, a: -0.5 - 0.4, b: -0.5 - 0.6, EOS: -0.5 - 0.7, c: -2.5, UNKNOWN: -2.5}
    expect([SOS], after_start | {0: -99.5})
    # <s> _: a trigram for b; a by the bigram; the rest by both weights.
    expect([SOS, word], {b: -0.2, a: -0.6 - 0.25, EOS: -0.6 - 0.1 - 0.7, c: -0.6 - 0.1 - 2.0})
    expect([SOS, word, a], {b: -0.05, EOS: -1.5, a: -0.45 - 0.3 - 0.4})
    # _ b: a trigram, but no weight.
    expect([word, b], {a: -0.35, EOS: -0.3, b: -0.2 - 0.6})
    # a b: a weight without trigrams, then </s> by the bigram b </s>.
    expect([a, b], {EOS: 0.15 - 0.3, a: 0.15 - 0.2 - 0.4})
    # Histories that the file does not have: only their end counts.
    expect([b, a], {b: -0.8, word: -0.3 - 1.0})
    expect([c], {a: -0.4, EOS: -0.7})
    # The next segment begins like a sentence.
    expect([a, EOS], {word: -0.1, a: -0.9})
    expect([a, EOS, word], {b: -0.2, a: -0.85})


def test_backed_off_rows_sum_to_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
    # p(b|a) = 0.6 where p(b) = 0.3: the others share 0.4 in the ratio of their unigrams, 0.5 to 0.2.
    weight = math.log10(0.4 / 0.7)
    entries = f"{math.log10(0.5)} a {weight}\n{math.log10(0.3)} b\n{math.log10(0.2)} </s>\n"
    text = (
        f"\\data\\\nngram 1=3\nngram 2=1\n\\1-grams:\n{entries}\\2-grams:\n{math.log10(0.6)} a b\n\\end\\\n"
    )
    _, a, b, _ = tokenizer.encode("abc")
    found = 10.0 ** np.array(log10_after(NgramLM(write(tmp_path, text), tokenizer), [a]))
    assert found.sum() == pytest.approx(1.0, abs=1e-5)
    assert found[[a, b, EOS]] == pytest.approx([0.4 * 5 / 7, 0.6, 0.4 * 2 / 7], abs=1e-5)


def test_rows_are_independent_and_states_are_values(lm: NgramLM, tokenizer: Tokenizer) -> None:
    word, a, b, c = tokenizer.encode("abc")
    state = lm.init_state(3)
    assert (state.shape, state.dtype) == ((3, 2), torch.int64)
    _, state = lm.score(torch.tensor([SOS, a, c]), state)
    before = state.clone()
    state = cat_rows([select_rows(state, torch.tensor([1, 0])), lm.init_state(1)])
    log_probs, after = lm.score(torch.tensor([b, word, SOS]), state)
    assert (log_probs.shape, log_probs.dtype) == ((3, tokenizer.vocab_size), torch.float32)
    for row, tokens in enumerate([[a, b], [SOS, word], [SOS]]):
        assert (log_probs[row] / math.log(10)).tolist() == pytest.approx(log10_after(lm, tokens), abs=1e-5)
    assert after.tolist()[:2] == [[a, b], [SOS, word]]
    assert torch.equal(state[1], before[0])
    # What the caller does to its answer stays with the caller.
    log_probs.zero_()
    assert log10_after(lm, [SOS])[a] == pytest.approx(-0.9)


def test_gzip_and_unigrams(tokenizer: Tokenizer, lm: NgramLM, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(ARPA.encode()))
    packed = NgramLM(path, tokenizer)
    assert log10_after(packed, [SOS, 3]) == log10_after(lm, [SOS, 3])

    one = NgramLM(write(tmp_path, "\\data\\\nngram 1=2\n\\1-grams:\n-0.5 a\n-0.3 b\n\\end\\\n"), tokenizer)
    _, a, b, c = tokenizer.encode("abc")
    found = log10_after(one, [SOS, a, b])
    assert one.init_state(4).shape == (4, 0)
    # No <unk> and no </s>: next to impossible, but a number.
    assert [found[i] for i in (a, b, c, EOS)] == pytest.approx([-0.5, -0.3, -99.0, -99.0])


def test_in_a_search_it_decides(lm: NgramLM, tokenizer: Tokenizer) -> None:
    word, a, b, _ = tokenizer.encode("abc")

    def best(weight: float) -> list[int]:
        search = FrameSyncSearch(SearchOptions(decoder_weight=0, lm_weight=weight), lm=lm)
        for choice in ({word: 0.95}, {a: 0.5, b: 0.45}):
            probs = np.full(tokenizer.vocab_size, 1e-5)
            probs[list(choice)] = list(choice.values())
            run(search.advance(np.log(probs / probs.sum())), None)  # type: ignore[arg-type]
        found = search.hypotheses()
        for h in found:
            by_hand = [log10_after(lm, [SOS, *h.tokens[:i]])[token] for i, token in enumerate(h.tokens)]
            assert h.scores["lm"] == pytest.approx(weight and math.log(10) * sum(by_hand), abs=1e-5)
        return found[0].tokens

    assert best(0.0) == [word, a]
    assert best(1.0) == [word, b]


def change(old: str, new: str) -> str:
    assert ARPA.count(old) == 1
    return ARPA.replace(old, new)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", r": ends where \data\ is wanted; is the file whole?"),
        (change("ngram 3=4", "ngram 4=3"), ":5: got 'ngram 4=3'; wanted the count of order 3"),
        ("\\data\\\n\\end\\\n", r":2: got '\end\'; wanted 'ngram 1=COUNT'"),
        (change("ngram 1=6", f"ngram 1={10**17}"), r":16: got '\2-grams:'"),
        (change("ngram 3=4", "ngram 3=0"), r":24: got '-0.05"),
        (change("ngram 1=6", "ngram 1=5"), r":14: got '-1.0"),
        (change("ngram 1=6", "ngram 1=7"), r":16: got '\2-grams:'; wanted LOG10, 1 tokens"),
        (change("-0.8\ta b\t", "-0.8\ta b c\t"), ":21: got '-0.8"),
        (change("-0.8\ta b\t", "-0,8\ta b\t"), ":21: got '-0,8"),
        (change("-0.8\ta b\t", "0.8\ta b\t"), ":21: got '0.8"),
        (change("-0.8\ta b\t", "nan\ta b\t"), ":21: got 'nan"),
        (change("0.15", "inf"), ":21: got '-0.8"),
        (change("-0.8\ta b\t", "-0.8\ta dog\t"), ":21: 'dog' is no token of this model"),
        (change("\\3-grams:", "\\4-grams:"), r":23: got '\4-grams:'; wanted '\3-grams:'"),
        (change("\\end\\", "-1 a b c"), ":29: got '-1 a b c'; wanted '\\end\\'"),
        (ARPA[: ARPA.index("-1.5")], ": ends where 3-gram 2 of 4 is wanted; is the file whole?"),
        (ARPA[: ARPA.index("\\end")], r": ends where \end\ is wanted; is the file whole?"),
    ],
)
def test_a_malformed_file_is_refused(tokenizer: Tokenizer, tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    assert message(lambda: NgramLM(path, tokenizer)).startswith(f"{path}{said}")


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", gzip.compress(ARPA.encode())[:60], b"\x1f\x8b\x08 no"],
    ids=["not text", "gzip cut off", "not gzip"],
)
def test_an_unreadable_file_is_refused(tokenizer: Tokenizer, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lm"
    path.write_bytes(data)
    assert message(lambda: NgramLM(path, tokenizer)).startswith(f"{path}: cannot read (")
    assert "No such" in message(lambda: NgramLM(tmp_path / "none", tokenizer))
