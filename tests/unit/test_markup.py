"""Plain text with phonemes, and SSML, as spans; what is wrong is named with its place."""

import itertools
import math
import re
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4speech.errors import InputError
from s4speech.text.english import normalize_english
from s4speech.text.markup import Prosody, Sentence, Span, read_ssml, read_text


def spans(sentences):
    return [span for sentence in sentences for span in sentence.spans]


def squeeze(text):
    return re.sub(r"\s+", "", text)


def ssml(inner):
    return spans(read_ssml(f"<speak>{inner}</speak>"))


# --- plain text


def test_plain_text_with_phonemes():
    assert list(read_text("Say [[hɛlˈO]] now. Then stop.\n\nEnd")) == [
        Sentence((Span(text="Say "), Span(phonemes="hɛlˈO"), Span(text=" now. ")), False),
        Sentence((Span(text="Then stop.\n\n"),), True),
        Sentence((Span(text="End"),), True),
    ]


@pytest.mark.parametrize("text", ["a [[b", "a ]] b", "[[]]", "[[ ]] x", "[b] c", "[[a[b]c", "[" * 9])
def test_brackets_that_hold_no_phonemes_are_text(text):
    assert [span.text for span in spans(read_text(text))] == [text]


def test_phonemes_may_begin_or_be_a_sentence():
    assert [s.spans[0].phonemes for s in read_text("One. [[tˈu]]. [[θɹˈi]]")] == [None, "tˈu", "θɹˈi"]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab. !?,\n[]Dr\ue000é", max_size=60))
def test_plain_text_is_all_there(text):
    said = "".join(
        span.text if span.text is not None else f"[[{span.phonemes}]]" for span in spans(read_text(text))
    )
    assert squeeze(said).replace("\ue000", "") == squeeze(text).replace("\ue000", "")


def test_the_first_sentence_of_a_long_text_comes_alone():
    first = next(read_text("A sentence [[hɛlˈO]] here. " * 4_000))
    assert [span.text for span in first.spans] == ["A sentence ", None, " here. "]


def test_nothing_to_say():
    assert list(read_text("")) == list(read_text(" \n\n ")) == list(read_ssml("<speak> <p/> </speak>")) == []


@pytest.mark.parametrize("content", [{}, {"text": "a", "spoken": "a"}, {"phonemes": "a", "pause_s": 1.0}])
def test_a_span_has_one_content(content):
    with pytest.raises(ValueError, match="a span has one of"):
        Span(**content)


# --- SSML


def test_structure_of_a_document():
    document = """<?xml version="1.0"?>
    <speak version="1.1" xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="en-US">
      <p><s>Hello <break time="500ms"/> you.</s><break strength="strong"/><s>Dr. No. Again.</s></p>
      One more. And &amp; another<!-- not
      said --> one.
    </speak>"""
    sentences = list(read_ssml(document))
    assert [[span.text or span.pause_s for span in sentence.spans] for sentence in sentences] == [
        ["Hello ", 0.5, " you.", 0.8],
        ["Dr. No. Again."],
        [" One more. "],
        ["And & another one. "],
    ]
    assert [sentence.paragraph_end for sentence in sentences] == [False, True, False, True]


def test_said_as_told():
    assert ssml(
        '<say-as interpret-as="characters">AB1</say-as>'
        '<say-as interpret-as="date" format="dmy">1/2/2003</say-as>'
        '<sub alias="Dr. 5">x</sub><phoneme alphabet="ipa" ph="hɛlˈO">hello</phoneme>[[bˈI]]'
    ) == [
        Span(spoken="ay b one"),
        Span(spoken="february first, two thousand three"),
        Span(spoken="doctor five"),
        Span(phonemes="hɛlˈO"),
        Span(phonemes="bˈI"),
    ]


def test_nested_prosody_multiplies_and_adds():
    outer, inner, last = ssml(
        '<prosody rate="80%" pitch="+2st" volume="-6dB">a'
        '<prosody rate="1.5" pitch="-5st" volume="+2dB">b</prosody></prosody>c'
    )
    assert outer == Span(text="a", prosody=Prosody(0.8, 2.0, -6.0))
    assert inner.text == "b"
    assert (inner.prosody.rate, inner.prosody.pitch, inner.prosody.volume) == pytest.approx((1.2, -3.0, -4.0))
    assert last == Span(text="c")


def test_nested_prosody_stays_in_its_limits():
    deep = '<prosody rate="3" pitch="+20st" volume="+20dB">' * 3 + "x" + "</prosody>" * 3
    assert ssml(deep) == [Span(text="x", prosody=Prosody(5.0, 24.0, 24.0))]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ('rate="0.8"', 0.8),
        ('rate="80%"', 0.8),
        ('rate="+20%"', 1.2),
        ('rate="-50%"', 0.5),
        ('rate="slow"', 0.8),
        ('rate="x-fast"', 1.6),
        ('rate="default"', 1.0),
        ('pitch="+2st"', 2.0),
        ('pitch="-1.5st"', -1.5),
        ('pitch="+100%"', 12.0),
        ('pitch="-50%"', -12.0),
        ('pitch="low"', -3.0),
        ('pitch="medium"', 0.0),
        ('volume="-6dB"', -6.0),
        ('volume="+3.5dB"', 3.5),
        ('volume="100"', 0.0),
        ('volume="10"', -20.0),
        ('volume="0"', -96.0),
        ('volume="silent"', -96.0),
        ('volume="+100%"', 20 * math.log10(2)),
        ('volume="soft"', -6.0),
    ],
)
def test_values_of_prosody(attribute, value):
    (span,) = ssml(f"<prosody {attribute}>x</prosody>")
    assert getattr(span.prosody, attribute.split("=")[0]) == pytest.approx(value)


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ("", 0.4),
        ('time="1.5s"', 1.5),
        ('time="0ms"', 0.0),
        ('strength="none"', 0.0),
        ('strength="x-strong"', 1.2),
    ],
)
def test_lengths_of_breaks(attributes, seconds):
    assert ssml(f"a<break {attributes}/>b")[1] == Span(pause_s=seconds)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", r"line 1, column 1: no element found; wanted <speak>"),
        ("hello", r"line 1, column 1: syntax error"),
        ("<speak>\n a & b</speak>", r"line 2, column 5: not well-formed.*&amp;"),
        ("<speak><p>x</speak>", r"line 1, column 14: mismatched tag"),
        ("<speak>", r"line 1, column 8: no element found"),
        ("<p>x</p>", r"line 1, column 1: <p> is out of place; the document begins with <speak>"),
        ("<speak><speak/></speak>", r"column 8: <speak> is out of place; there is one"),
        (
            "<speak>\n  é <voice name='x'/></speak>",
            r"line 2, column 5: unknown element <voice>; supported: speak, p,",
        ),
        ("<speak><p dir='x'/></speak>", r"<p> has an unknown attribute 'dir'; supported: none but xml:lang"),
        ("<speak><prosody contour='x'/></speak>", r"attribute 'contour'; supported: pitch, rate, volume"),
        ("<speak><s><p/></s></speak>", r"<p> is inside <s>; close that first"),
        ("<speak><sub alias='x'><break/></sub></speak>", r"<break> is inside <sub>, which takes no elements"),
        ("<speak><break>x</break></speak>", r"<break> has text in it"),
        ("<speak><say-as>1</say-as></speak>", r"<say-as> needs the attribute interpret-as"),
        ("<speak><say-as interpret-as='x'>1</say-as></speak>", r"interpret-as='x'; supported: characters,"),
        ("<speak><phoneme ph=' '/></speak>", r"<phoneme> needs the attribute ph"),
        ("<speak><phoneme alphabet='x-sampa' ph='a'/></speak>", r"alphabet='x-sampa'; supported: ipa"),
        ("<speak><sub>x</sub></speak>", r"<sub> needs the attribute alias"),
        ("<speak><prosody rate='fat'/></speak>", r"rate='fat'; wanted 0.2 to 5, .*x-fast"),
        ("<speak><prosody rate='9'/></speak>", r"rate='9'; wanted 0.2 to 5"),
        ("<speak><prosody rate='-200%'/></speak>", r"rate='-200%'; wanted"),
        ("<speak><prosody pitch='+20Hz'/></speak>", r"pitch='\+20Hz'; wanted -24st"),
        ("<speak><prosody pitch='-100%'/></speak>", r"pitch='-100%'; wanted"),
        ("<speak><prosody volume='101'/></speak>", r"volume='101'; wanted -96dB"),
        ("<speak><prosody volume='nan'/></speak>", r"volume='nan'; wanted"),
        ("<speak><break time='31s'/></speak>", r"time='31s'; wanted 0s to 30s"),
        ("<speak><break time='-1s'/></speak>", r"time='-1s'; wanted"),
        ("<speak><break strength='big'/></speak>", r"strength='big'; wanted none,"),
        ("<speak xml:lang='ja'/>", r"<speak> has xml:lang='ja'; this voice reads en only"),
        ("<speak>&nbsp;</speak>", r"undefined entity; write the character itself"),
        ("<!DOCTYPE speak [<!ENTITY a 'b'>]><speak>&a;</speak>", r"got a document type declaration"),
        ("<!DOCTYPE speak SYSTEM 'file:///etc/passwd'><speak/>", r"got a document type declaration"),
        ("<speak>\x00</speak>", r"line 1, column 8: not well-formed"),
        ("<speak>" + "<prosody>" * 200, r"nested more than 100 deep"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document, message):
    with pytest.raises(InputError, match="^SSML .*" + message) as caught:
        read_ssml(document)  # at once, not at the first sentence
    assert "\n" not in str(caught.value)


NAMES = st.sampled_from(
    ["p", "s", "prosody rate='2'", "prosody", "sub alias='a b'", "break", "say-as interpret-as='time'", "b"]
)
TREES = st.recursive(
    st.text(max_size=10).map(escape),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name.split(' ')[0]}>",
        NAMES,
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(TREES.map(lambda tree: f"<speak>{tree}</speak>"), TREES, st.text(max_size=30)))
def test_any_document_gives_sentences_or_one_clear_line(document):
    try:
        sentences = list(read_ssml(document))
    except InputError as error:
        assert re.fullmatch(r"SSML line \d+, column \d+: .+", str(error))
        return
    assert all(isinstance(span, Span) for span in spans(sentences))


WORDS = st.text(alphabet="ab .!D\ncé&<", max_size=20)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "p", "s", "prosody", "sub", "phoneme"]), WORDS), max_size=10))
def test_the_text_of_all_spans_is_the_text_of_the_document(parts):
    document, wanted = "", ""
    for name, text in parts:
        if name == "phoneme" or (name == "sub" and text.strip()):
            attribute = f"ph={quoteattr(text + 'x')}" if name == "phoneme" else f"alias={quoteattr(text)}"
            document += f"<{name} {attribute}>no</{name}>"
            wanted += text + "x" if name == "phoneme" else normalize_english(text)
        elif name != "sub":
            document += f"<{name}>{escape(text)}</{name}>" if name else escape(text)
            wanted += text
    said = "".join(
        s.text or s.spoken or s.phonemes or "" for s in spans(read_ssml(f"<speak>{document}</speak>"))
    )
    assert squeeze(said) == squeeze(wanted)


def test_a_long_document_begins_at_once():
    sentences = read_ssml("<speak>" + "<p>One. Two.</p>" * 2_000 + "</speak>")
    assert [s.spans[0].text.strip() for s in itertools.islice(sentences, 3)] == ["One.", "Two.", "One."]
