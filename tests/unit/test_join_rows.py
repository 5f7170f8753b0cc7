"""Rows of text put together again are the text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4speech.data import text
from s4speech.data.text import join_rows, pack_rows
from s4speech.text.tokenizer import EOS


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(2, 9), st.integers(1, 3))
@settings(deadline=None, max_examples=200)
def test_rows_joined_are_the_text_to_its_last_whole_sentence(
    sizes: list[int], length: int, chunk: int
) -> None:
    tokens = np.array([EOS, *(t for i, size in enumerate(sizes) for t in [*[3 + i] * size, EOS])], np.uint16)
    rows = pack_rows(tokens, length)
    if not len(rows):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK", chunk)
        joined = join_rows(rows)
    assert np.array_equal(joined, tokens[: len(joined)]) and joined[-1] == EOS
    # The rows end less than a row before the text does; what is left out else has no end in them.
    ends = np.flatnonzero(tokens[: len(tokens) - length] == EOS)
    assert len(joined) > (ends[-1] if len(ends) else 0)
