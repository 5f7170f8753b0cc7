"""Our estimate of a text is the file that KenLM's lmplz wrote of it."""

from pathlib import Path

import numpy as np

from s4speech.text.arpa import read_arpa
from s4speech.text.kneser_ney import estimate
from s4speech.text.tokenizer import BLANK, EOS

FOLDER = Path(__file__).parent / "lmplz"
TOKENS = ["<blank>", "<unk>", "</s>", *"abcdef"]


def test_every_ngram_is_that_of_lmplz() -> None:
    sentences = (FOLDER / "text.txt").read_text().splitlines()
    ids = [EOS, *(TOKENS.index(word) for s in sentences for word in [*s.split(), "</s>"])]
    made = estimate(np.array(ids), 4, len(TOKENS), [0, 0, 1])
    wanted = read_arpa(FOLDER / "lm.arpa", TOKENS)
    assert made.fallback == [1, 2] and made.model.counts == wanted.counts == [9, 37, 58, 51]
    assert np.allclose(made.discounts[3], [0.624242, 1.39589, 2.25091], rtol=1e-5)
    for ours, theirs in zip(made.model.levels, wanted.levels, strict=True):
        assert np.array_equal(ours.words, theirs.words) and np.array_equal(ours.starts, theirs.starts)
        assert np.allclose(np.delete(ours.log10, BLANK), np.delete(theirs.log10, BLANK), atol=2e-6)
        assert np.allclose(ours.back_off, theirs.back_off, atol=2e-6)
