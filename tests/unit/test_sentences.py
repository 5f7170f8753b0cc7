"""Where sentences end; nothing is dropped; the first comes at once."""

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s4speech.text.sentences import LONGEST, find_sentences, split_sentences

# The sentences of each text, parted by " | ".
CASES = """
Hello there. How are you? | Hello there. | How are you?
Stop! Who goes there? | Stop! | Who goes there?
Dr. Smith met Mr. Jones. They talked. | Dr. Smith met Mr. Jones. | They talked.
J. R. R. Tolkien wrote it. I read it. | J. R. R. Tolkien wrote it. | I read it.
It cost 3.50 dollars. Cheap. | It cost 3.50 dollars. | Cheap.
We left at 3 p.m. It rained. | We left at 3 p.m. | It rained.
We left at 3 p.m. Monday. | We left at 3 p.m. Monday.
He lives in the U.S. The weather is fine. | He lives in the U.S. | The weather is fine.
The U.S. Army came. | The U.S. Army came.
Well... maybe. Wait... No. | Well... maybe. | Wait... | No.
"What?" he said. "No!" | "What?" he said. | "No!"
“Come in.” She came. | “Come in.” | She came.
(He left.) Then she left. | (He left.) | Then she left.
See No. 5 and Fig. 3 on p. 12. Done. | See No. 5 and Fig. 3 on p. 12. | Done.
1. The male side. 2. The female side. | 1. The male side. | 2. The female side.
In 1818. Then came more. | In 1818. | Then came more.
On Jan. 5 we met. In May. Then June. | On Jan. 5 we met. | In May. | Then June.
Printed by Messrs. Longman, etc. The end. | Printed by Messrs. Longman, etc. | The end.
Smith & Co. of London. | Smith & Co. of London.
It was you and I. But no more. | It was you and I. | But no more.
See example.com. Then write to a.b@c.org. | See example.com. | Then write to a.b@c.org.
St. Paul's is near Main St. It is old. | St. Paul's is near Main St. It is old.
Black letter, i.e. the letter which. And e.g. that. | Black letter, i.e. the letter which. | And e.g. that.
Really?! Yes. | Really?! | Yes.
A heading\\n\\nThe text. | A heading | The text.
One line\\nand the next. | One line\\nand the next.
v2.0.1 is out. | v2.0.1 is out.
終わり。はい。 | 終わり。 | はい。
no stop at all | no stop at all
... | ...
""".strip().splitlines()


@pytest.mark.parametrize("case", CASES, ids=[case.partition(" | ")[0][:30] for case in CASES])
def test_sentences(case):
    text, *sentences = case.replace("\\n", "\n").split(" | ")
    assert list(split_sentences(text)) == sentences


_FRAGMENTS = "Dr. A. 1. 3.5 the The I p.m. U.S. ... . ! ? , \" ' ) ( \n \n\n 。 etc. No. 5 Jan. é [[x]]"
PIECES = [*_FRAGMENTS.split(" "), "\n"]
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from([*PIECES, " "]), max_size=30).map("".join))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("x" * (3 * LONGEST))
@example("many words, " * LONGEST)
def test_nothing_is_dropped(text):
    parts = list(find_sentences(text))
    assert "".join(text[part.start : part.stop] for part in parts) == text
    assert all(len(text[part.start : part.stop].rstrip()) <= LONGEST for part in parts)
    squeeze = re.compile(r"\s+")
    assert squeeze.sub("", "".join(split_sentences(text))) == squeeze.sub("", text)
    assert not parts or parts[-1].paragraph_end


def test_a_very_long_sentence_is_parted_at_commas_then_spaces():
    clauses = list(split_sentences("and so they went on, " * 100))
    assert len(clauses) > 2 and all(clause.endswith(",") for clause in clauses)
    words = list(split_sentences("word " * 1000))
    assert len(words) > 2 and all(re.fullmatch(r"word( word)*", part) for part in words)


def test_paragraph_ends():
    parts = list(find_sentences("One. Two.\n\nThree.\n \nFour. "))
    assert [part.paragraph_end for part in parts] == [False, True, True, True]


class Counted(str):
    """Counts the characters that are cut out of it."""

    cut = 0

    def __getitem__(self, key):
        piece = super().__getitem__(key)
        Counted.cut += len(piece)
        return piece


def test_the_first_sentence_of_a_long_text_needs_a_short_look():
    text = Counted("This is a sentence. " * 50_000)
    assert list(itertools.islice(split_sentences(text), 2)) == ["This is a sentence."] * 2
    assert Counted.cut < 500


@pytest.mark.parametrize(
    "text", [".", "!", ". ", "\n", "\n ", " ", "1. ", "Dr. ", "A.", "“", "a", "(", "。", "?\n\n", '."']
)
def test_long_repetitions_are_parted(text):
    """A pattern of quadratic time would not come back."""
    whole = (text * 100_000)[:100_000]
    assert sum(part.stop - part.start for part in find_sentences(whole)) == len(whole)
