"""The page of samples: what it holds, that it can be played, and that no text can break it."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from recipes.tts.page import Page, SpokenText, Take, write_page
from s4speech.errors import InputError

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collects elements and texts, and says whether every element is closed in order."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.rows, self.texts = [], [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif "style" not in self.open and data.strip():
            self.texts.append(data.strip())

    def attributes(self, tag, name):
        return [found[name] for kind, found in self.elements if kind == tag and name in found]


@pytest.fixture
def page(tmp_path):
    wave = (0.3 * np.sin(np.arange(2205) / 7)).astype(np.float32)
    takes = {}
    for number, system in enumerate(("real", "S4")):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, wave * (number + 1), 22050)
        takes[system] = Take(path, {"WER": f"{number}.0 %", "DNSMOS": "3.1"})
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG not really")
    return Page(
        title="Voices <of> kathleen & co",
        notes=["Command: a && b", "CPU"],
        systems=["real", "S4"],
        sentences=[
            SpokenText("arctic_a0007", 'He said <b>"no"</b> & left.', takes),
            SpokenText("x/../y", "</table>", {"S4": Take(takes["S4"].audio, heard="<script>")}),
        ],
        summary=[{"system": "real", "WER %": "4.9"}, {"system": "S4", "WER %": "5.2", "RTF": "0.03"}],
        pictures={"Alignment, first sentence": picture},
    )


def read(path):
    return Reader(path.read_text("utf-8"))


def test_tables_hold_every_system_sentence_and_score_as_text(page, tmp_path):
    write_page(page, tmp_path / "out.html")
    found = read(tmp_path / "out.html")
    summary, sentences = found.rows[:3], found.rows[3:]
    assert summary == [["system", "WER %", "RTF"], ["real", "4.9", ""], ["S4", "5.2", "0.03"]]
    assert sentences[0] == ["text", "real", "S4"]
    text, real, s4 = sentences[1]
    assert text == 'He said <b>"no"</b> & left.arctic_a0007'
    assert real == "WER 0.0 % · DNSMOS 3.1" and s4 == "WER 1.0 % · DNSMOS 3.1"
    assert sentences[2] == ["</table>x/../y", "", "heard: <script>"]
    assert page.title in found.texts and "Command: a && b" in found.texts
    assert not [tag for tag, _ in found.elements if tag in ("script", "b")]


def test_audio_lies_beside_the_page_and_is_the_same_sound(page, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    write_page(page, folder / "index.html")
    addresses = read(folder / "index.html").attributes("audio", "src")
    assert len(addresses) == 3 == len(set(addresses))
    assert all(address.startswith("samples/") and ".." not in address for address in addresses)
    for address, take in zip(addresses[:2], page.sentences[0].takes.values(), strict=True):
        np.testing.assert_array_equal(soundfile.read(folder / address)[0], soundfile.read(take.audio)[0])
    assert read(folder / "index.html").attributes("img", "src") == ["samples/Alignment-first-sentence.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "samples"]


def test_an_embedded_page_is_one_file_with_the_same_sound(page, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    write_page(page, folder / "index.html", embed=True)
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    addresses = read(folder / "index.html").attributes("audio", "src")
    kind, data = addresses[1].split(",")
    assert kind == "data:audio/flac;base64" and len(addresses) == 3
    np.testing.assert_array_equal(
        soundfile.read(io.BytesIO(base64.b64decode(data)))[0],
        soundfile.read(page.sentences[0].takes["S4"].audio)[0],
    )
    assert read(folder / "index.html").attributes("img", "src")[0].startswith("data:image/png;base64,")


def test_a_page_without_summary_and_pictures_has_only_sentences(page, tmp_path):
    write_page(Page("t", [], page.systems, page.sentences), tmp_path / "out.html")
    found = read(tmp_path / "out.html")
    assert found.texts == ["t", "t", "Sentences"] and len(found.rows) == 3


def test_what_does_not_fit_is_named_and_no_page_is_written(page, tmp_path):
    one = page.sentences[0]
    lost = Take(tmp_path / "lost.wav")
    (tmp_path / "text.wav").write_text("no audio")
    for wrong, said in (
        (Page("t", [], ["real"], [one]), "take by 'S4'; wanted one of real"),
        (Page("t", [], page.systems, [one, one]), "sentence 'arctic_a0007' is there twice"),
        (Page("t", [], ["a b", "a  b"], []), "system 'a-b' is there twice"),
        (Page("t", [], ["S4"], [SpokenText("k", "t", {"S4": lost})]), r"lost\.wav: cannot be read"),
        (Page("t", [], ["S4"], [SpokenText("k", "t", {"S4": Take(tmp_path / "text.wav")})]), r"text\.wav"),
        (Page("t", [], [], [], pictures={"p": tmp_path / "lost.png"}), r"lost\.png: cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            write_page(wrong, tmp_path / "out.html")
        assert not (tmp_path / "out.html").exists()
