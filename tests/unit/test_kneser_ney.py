"""Kneser-Ney against slow dictionaries written from the formulas, and against sums by hand."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from s4speech.text.kneser_ney import FALLBACK, check_memory, estimate
from s4speech.text.tokenizer import EOS
from tests.conftest import message

Gram = tuple[int, ...]
VOCABULARY = 9  # 0 is the blank, 1 <unk>, 2 the ends; 8 is never said


def text(seed: int, sentences: int = 120) -> list[list[int]]:
    """Some tokens are far more likely than others, and depend on the one before."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet([0.4] * 5, size=9)
    out = []
    for _ in range(sentences):
        tokens = [int(rng.integers(3, 8))]
        while rng.random() < 0.75:
            tokens.append(3 + int(rng.choice(5, p=table[tokens[-1]])))
        out.append(tokens)
    return out


def stream(sentences: list[list[int]]) -> np.ndarray:
    return np.array([EOS, *(token for s in sentences for token in [*s, EOS])])


class Oracle:
    """Probabilities by recursion. <s> is "s" and </s> is EOS here."""

    def __init__(self, sentences: list[list[int]], order: int, prune: list[int]) -> None:
        self.order = order
        self.raw: list[Counter[tuple]] = [Counter() for _ in range(order + 1)]
        for s in sentences:
            padded = ["s", *s, EOS]
            for n in range(1, order + 1):
                for i in range(len(padded) - n + 1):
                    self.raw[n][tuple(padded[i : i + n])] += 1
        del self.raw[1][("s",)]
        self.adjusted = [Counter[tuple]() for _ in range(order + 1)]
        self.adjusted[order] = self.raw[order]
        for n in range(1, order):
            left: dict[tuple, set] = defaultdict(set)
            for gram in self.raw[n + 1]:
                left[gram[1:]].add(gram[0])
            for gram, count in self.raw[n].items():
                self.adjusted[n][gram] = count if gram[0] == "s" else len(left[gram])
        self.discounts, self.fell_back = [(0.0,) * 4], []
        for n in range(1, order + 1):
            n1, n2, n3, n4 = (sum(c == i for c in self.adjusted[n].values()) for i in (1, 2, 3, 4))
            found = None
            if n1 and n2 and n3:
                y = n1 / (n1 + 2 * n2)
                found = (0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
            if found is None or not all(0 <= d <= i for i, d in enumerate(found)):
                self.fell_back.append(n)
                found = (0.0, *FALLBACK)
            self.discounts.append(found)
        self.kept = [{g for g in self.raw[n] if self.raw[n][g] > prune[n - 1]} for n in range(1, order + 1)]

    def p(self, context: tuple, word: int) -> float:
        n = len(context) + 1
        if n > self.order:
            return self.p(context[1:], word)
        lower = self.p(context[1:], word) if context else 1 / (VOCABULARY - 1)
        followers = {g: c for g, c in self.adjusted[n].items() if g[:-1] == context}
        whole = sum(followers.values())
        if not whole:
            return lower
        kept = {g: c for g, c in followers.items() if g in self.kept[n - 1]}
        gamma = sum(self.discounts[n][min(c, 3)] for c in kept.values()) + sum(
            c for g, c in followers.items() if g not in kept
        )
        count = kept.get((*context, word), 0)
        return (count - self.discounts[n][min(count, 3)]) / whole + gamma / whole * lower


CASES = [(1, []), (2, []), (3, []), (4, []), (3, [0, 0, 1]), (4, [0, 1, 1, 2]), (5, [0, 0, 2])]


@pytest.mark.parametrize(
    ("order", "prune"),
    CASES,
    ids=lambda x: "-".join(map(str, x)) if x != [] and isinstance(x, list) else str(x),
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_probability_is_the_formula(order: int, prune: list[int], seed: int) -> None:
    sentences = text(seed)
    made = estimate(stream(sentences), order, VOCABULARY, prune)
    full = [*prune, *[prune[-1] if prune else 0] * order][:order]
    oracle = Oracle(sentences, order, full)
    assert made.fallback == oracle.fell_back
    assert np.allclose(made.discounts, [d[1:] for d in oracle.discounts[1:]])
    assert made.model.counts[1:] == [len(kept) for kept in oracle.kept[1:]]
    # contexts of every length that were seen, and some that were not
    contexts = sorted({g[:-1] for kept in oracle.raw[1:] for g in kept if g[:-1]}, key=str)
    rng = np.random.default_rng(9)
    contexts += [tuple(rng.integers(3, 9, size=max(order - 1, 0)).tolist()) for _ in range(30)]
    contexts = [c for c in contexts if len(c) < order] or [()]
    history = np.full((len(contexts), order - 1), -1)
    for row, context in enumerate(contexts):
        ids = [EOS if token == "s" else token for token in context]
        history[row, order - 1 - len(ids) :] = ids
    rows = 10.0 ** made.model.rows(history).astype(np.float64)
    wanted = [[oracle.p(context, word) for word in range(1, VOCABULARY)] for context in contexts]
    assert np.allclose(rows[:, 1:], wanted, rtol=1e-5)
    assert np.allclose(rows[:, 1:].sum(axis=1), 1, atol=1e-6) and (rows[:, 0] < 1e-50).all()


def test_a_bigram_model_by_hand() -> None:
    """Two sentences, a a and a b (3, 4). Discounts: the fallback, for so little text."""
    made = estimate(np.array([EOS, 3, 3, EOS, 3, 4, EOS]), 2, 6, fallback=(0.5, 1.0, 1.5))
    # Tokens before: a has <s> and a, </s> has a and b, b has a: 5 bigrams in all. <blank> and 5 have none.
    assert made.fallback == [1, 2]
    # 1.0, 1.0 and 0.5 are taken from them, and go to all 5 tokens alike: 2.5 / 5 / 5 = 0.1
    unigrams = {1: 0.1, EOS: 1 / 5 + 0.1, 3: 1 / 5 + 0.1, 4: 0.5 / 5 + 0.1, 5: 0.1}
    # After <s>: a, twice; 1.0 of 2 is taken. After a: a, b and </s>, once each; 1.5 of 3.
    after = {
        EOS: {token: 0.5 * p + (0.5 if token == 3 else 0) for token, p in unigrams.items()},
        3: {token: 0.5 * p + (0.5 / 3 if token in (EOS, 3, 4) else 0) for token, p in unigrams.items()},
        5: unigrams,
    }
    for context, wanted in after.items():
        row = 10.0 ** made.model.rows(np.array([[context]]))[0]
        assert {token: row[token] for token in wanted} == pytest.approx(wanted, rel=1e-5)
        assert sum(wanted.values()) == pytest.approx(1)


def test_a_large_vocabulary_is_counted_in_parts() -> None:
    """Tokens that do not fit into one number together: the same model as under small names."""
    sentences = text(3)
    small = estimate(stream(sentences), 5, VOCABULARY).model
    size = 200_000  # 17.6 bits: three tokens a number
    names = np.array([0, 1, 2, 40_000, 90_000, 120_000, 160_000, 199_998, 199_999])
    large = estimate(names[stream(sentences)], 5, size).model
    assert large.counts[1:] == small.counts[1:]
    for one, other in zip(small.levels[1:], large.levels[1:], strict=True):
        assert (names[one.words] == other.words).all() and np.allclose(one.back_off, other.back_off)
        assert (one.starts == other.starts).all() or one is small.levels[0]


def test_the_probability_of_a_text_is_that_of_its_steps() -> None:
    sentences = text(4)
    model = estimate(stream(sentences), 4, VOCABULARY, [0, 0, 1]).model
    tokens = stream(text(5, 20))
    padded = np.concatenate([np.full(model.order - 2, -1), tokens])
    history = np.lib.stride_tricks.sliding_window_view(padded, model.order - 1)[:-1]
    steps = model.rows(history)[np.arange(len(tokens) - 1), tokens[1:]]
    assert np.allclose(model.log10(tokens), steps, atol=1e-5)


def test_what_cannot_be_estimated_is_said() -> None:
    words = stream(text(0))
    assert "wanted sentences" in message(lambda: estimate(np.array([EOS]), 3, VOCABULARY))
    assert "prune: got [0, 2, 1]" in message(lambda: estimate(words, 3, VOCABULARY, [0, 2, 1]))
    assert "prune: got [1]" in message(lambda: estimate(words, 3, VOCABULARY, [1]))
    told = message(lambda: estimate(stream([[3, 4]]), 3, VOCABULARY, fallback=None))
    assert "counts of counts of order 3 give no discounts" in told
    assert "need about 1000000.0 GB" in message(lambda: check_memory(10**15, "9 tokens"))


def test_sentences_shorter_than_the_order() -> None:
    model = estimate(stream([[3], [4, 3], [3]]), 5, VOCABULARY).model
    assert model.counts == [VOCABULARY, 4, 3, 1, 0]
    assert np.isclose((10.0 ** model.rows(np.array([[-1, -1, EOS, 3]]))[0, 1:]).sum(), 1)
