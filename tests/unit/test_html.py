"""The page of scores: whole, self-contained, safe against any text, and quick with many utterances."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from s4speech.errors import InputError
from s4speech.metrics.error_rate import score
from s4speech.metrics.html import write_report
from s4speech.metrics.html_plots import Dot, dots

PNG = b"\x89PNG\r\n\x1a\nnot really"
VOID = {"meta", "img", "input", "br"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><b>'&amp;&lt;",
    "<!-- --> ]]> \u2028 \\u003c {{x}} ${y} `z`",
]


class Page(HTMLParser):
    """Elements with their attributes and text; fails on a tag that is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def tags(self, name):
        return [attrs for tag, attrs in self.elements if tag == name]

    @property
    def data(self):
        return json.loads(self.texts["script"][0])


def page(tmp_path, systems, **options):
    write_report(tmp_path / "page.html", systems, **options)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".png"] == ["page.html"]
    return Page((tmp_path / "page.html").read_text("utf-8"))


def two_systems():
    refs = {"s1-1": "THE CAT SAT", "s1-2": "A DOG", "s2-1": "YES", "s2-2": ""}
    first = {"s1-1": "THE CAT SAT", "s1-2": "A LOG", "s2-1": "", "s2-2": "OH"}
    speakers = {u: u[:2] for u in refs}
    return {"CTC": score(refs, first, speakers), "joint": score(refs, refs, speakers)}


def test_everything_is_on_the_page(tmp_path):
    (tmp_path / "curves.png").write_bytes(PNG)
    found = page(
        tmp_path,
        two_systems(),
        title="Scores of a model",
        notes=["made by hand"],
        plots={"Learning curves": tmp_path / "curves.png"},
    )
    assert found.texts["h1"] == ["Scores of a model"]
    headings = ["Summary", "Comparisons", "By speaker", "By length of the reference in words"]
    assert found.texts["h2"] == [*headings, "Most frequent errors", "Learning curves", "Utterances"]
    cells = found.texts["td"]
    assert "50.00" in cells  # WER of CTC: 1 S, 1 D, 1 I of 6
    assert {"-50.00", "-100.0"} <= set(cells)  # joint against CTC
    assert "DOG → LOG" in cells
    assert found.tags("img")[0]["src"].startswith("data:image/png;base64,iVBOR")
    data = found.data
    assert data["systems"] == ["CTC", "joint"]
    assert [u["id"] for u in data["utterances"]] == ["s1-1", "s1-2", "s2-1", "s2-2"]
    assert [u["length"] for u in data["utterances"]] == [3, 2, 1, 0]
    assert [u["pairs"][0] for u in data["utterances"]] == [
        ["THE", "CAT", "SAT"],
        ["A", ["DOG", "LOG"]],
        [["YES", None]],
        [[None, "OH"]],
    ]


def test_nothing_comes_from_the_network(tmp_path):
    found = page(tmp_path, two_systems())
    assert any("default-src 'none'" in attrs.get("content", "") for attrs in found.tags("meta"))
    for _, attrs in found.elements:
        assert not {"href", "srcset", "action", "onclick", "onload"} & set(attrs)
        assert attrs.get("src", "data:").startswith("data:")
    assert "http" not in (tmp_path / "page.html").read_text("utf-8").lower().replace("http-equiv", "")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("unit", ["word", "char"])
def test_hostile_texts_stay_texts(tmp_path, text, unit):
    ids = {f"{text}-1": text, "plain": "A B"}
    other = {f"{text}-1": text[::-1], "plain": text}
    reports = [
        score(ids, hyps, dict.fromkeys(ids, text) | {"plain": "s"}, unit=unit) for hyps in (other, ids)
    ]
    plain = page(tmp_path, two_systems())
    found = page(tmp_path, {text: reports[0], "b": reports[1]}, title=text, notes=[text])
    assert len(found.tags("script")) == len(plain.tags("script")) == 2
    for tag in ("img", "b", "style"):
        assert len(found.tags(tag)) == len(plain.tags(tag))
    assert all(not name.startswith("on") for _, attrs in found.elements for name in attrs)
    assert found.data["utterances"][0]["id"] == f"{text}-1"
    assert found.data["systems"][0] == text
    joined = (" " if unit == "word" else "").join
    assert joined(found.data["utterances"][0]["pairs"][1]) == " ".join(text.split())


def test_many_utterances_are_data_not_elements(tmp_path):
    refs = {f"s-{i}": "A B C D E F G H I J" for i in range(3000)}
    found = page(tmp_path, {"one": score(refs, refs, resamples=2)})
    assert len(found.data["utterances"]) == 3000
    assert len(found.elements) < 200
    assert (tmp_path / "page.html").stat().st_size < 500_000


def test_a_forgiven_word_is_no_error_on_the_page(tmp_path):
    report = score({"u": "a (b) c"}, {"u": "a c"}, marked=True)
    assert page(tmp_path, {"x": report}).data["utterances"][0]["pairs"][0] == ["a", ["(b)"], "c"]


def test_a_plot_that_is_not_there_is_named_and_no_page_is_left(tmp_path):
    with pytest.raises(InputError, match=r"no\.png: cannot be read .*; wanted a PNG"):
        write_report(tmp_path / "page.html", two_systems(), plots={"x": tmp_path / "no.png"})
    with pytest.raises(InputError, match="no systems"):
        write_report(tmp_path / "page.html", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "rates",
    [[(0.1, 0.05, 0.2)], [(0.0, float("nan"), float("nan"))], [(float("inf"), 0, 0)], [(1.3, 1, 5)], []],
    ids=["one", "zero", "infinite", "large", "none"],
)
def test_dots_stay_in_the_picture(rates):
    rows = {f"row <{i}>": {"a": Dot(*one), "b": Dot(0.03, 0.02, 0.04)} for i, one in enumerate(rates)}
    drawn = dots(rows, 'a "title" <x>')
    root = ElementTree.fromstring(f"<div>{drawn}</div>")
    width = float(root[0].attrib["viewBox"].split()[2])
    places = [float(x) for x in re.findall(r'(?:d="M|H|x1=")([\d.]+)', drawn)]
    assert all(0 <= place <= width for place in places)
    titles = [title.text for title in root.iter("title")]
    assert len(titles) == sum(one[0] < 10 for one in rates) + len(rates)
