"""The Corpus of Spontaneous Japanese in its published layout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, SupervisionSegment
from lhotse.recipes import csj as lhotse_csj

from s4speech.data import csj
from s4speech.data.corpora import find_corpus, read_corpus
from s4speech.data.csj import LISTED, TRAINING, join_segments
from s4speech.text.japanese import normalize_japanese
from tests.conftest import message
from tests.csj_fixture import CORE, NONCORE, TAGGED, TEXTS, make_csj

PARTS = [*TRAINING, *LISTED]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_csj(tmp_path_factory.mktemp("csj"))


@pytest.fixture(scope="module")
def parts(tree: Path) -> dict[str, CutSet]:
    return read_corpus("csj", tree, PARTS)


def talks(cuts: CutSet) -> set[str]:
    return {cut.recording_id.split("-")[0] for cut in cuts}


def texts(cuts: CutSet, talk: str) -> list[str]:
    return [cut.supervisions[0].text for cut in cuts if cut.recording_id == talk]


def test_the_lists_are_kaldis_and_lhotses() -> None:
    assert [set(LISTED[f"eval{n}"]) for n in (1, 2, 3)] == [set(talks) for talks in lhotse_csj._EVAL]
    assert set(LISTED["excluded"]) == set(lhotse_csj._A01M0056)
    assert set(LISTED["valid"]) == set(lhotse_csj._VALID)
    assert [len(talks) for talks in LISTED.values()] == [10, 10, 10, 6, 39]
    assert len({talk for talks in LISTED.values() for talk in talks}) == 75


def test_counts(parts: dict[str, CutSet]) -> None:
    # 8 talks of 3 utterances; the same and the 9 of the tagged talk; a dialogue has two voices of 3. Listed
    # talks have one utterance, and are 10, 10, 10, 2 and 4 dialogues, 38 and a dialogue.
    counted = {part: len(cuts) for part, cuts in parts.items()}
    assert counted == {
        "core": 33, "noncore": 24, "dialogue": 6,
        "eval1": 10, "eval2": 10, "eval3": 10, "excluded": 10, "valid": 40,
    }  # fmt: skip
    assert {part: len(talks(cuts)) for part, cuts in parts.items()} == {
        "core": 9, "noncore": 8, "dialogue": 1,
        "eval1": 10, "eval2": 10, "eval3": 10, "excluded": 6, "valid": 39,
    }  # fmt: skip


def test_evaluation_talks_and_their_speaker_are_not_trained_on(parts: dict[str, CutSet], tree: Path) -> None:
    listed = {talk for talks in LISTED.values() for talk in talks}
    there = {path.stem for path in (tree / "MORPH/SDB").rglob("*.sdb")}
    assert listed < there
    assert talks(parts["core"]) == set(CORE) and talks(parts["noncore"]) == set(NONCORE)
    for part in TRAINING:
        assert not talks(parts[part]) & listed
    for part, names in LISTED.items():
        assert talks(parts[part]) == set(names)


@pytest.mark.parametrize(("name", "form"), [("csj", 0), ("csj-fluent", 1)])
def test_every_tag(tree: Path, name: str, form: int) -> None:
    cuts = read_corpus(name, tree, ["core"])["core"]
    assert texts(cuts, TAGGED) == [one[form] for one in TEXTS if one[form]]


def test_a_cut_is_its_segment_of_the_recording(parts: dict[str, CutSet], tree: Path) -> None:
    (talk,) = {cut.recording_id for cut in parts["eval1"]} & {"A01M0097"}
    (cut,) = (cut for cut in parts["eval1"] if cut.recording_id == talk)
    (path,) = (tree / "WAV").rglob(f"{talk}.wav")
    samples, rate = soundfile.read(path, dtype="float32")
    start, end = (int(n) for n in cut.id.split("_")[1:])
    assert (cut.start, cut.duration) == (start / 1000, (end - start) / 1000)
    assert cut.duration < 0.8 * cut.recording.duration
    heard = cut.load_audio()[0]
    np.testing.assert_array_equal(heard, samples[round(cut.start * rate) :][: len(heard)])
    assert len(heard) == round(cut.duration * rate)
    # the units fill the cut: it begins and ends with sound
    assert all(np.abs(edge).max() > 0.05 for edge in (heard[: rate // 8], heard[-rate // 8 :]))
    supervision = cut.supervisions[0]
    assert (supervision.speaker, supervision.gender, supervision.language) == (talk, "Male", "ja")
    assert (supervision.start, supervision.duration) == (0, cut.duration)


def test_a_short_utterance_is_heard_with_what_is_around_it(
    tree: Path, parts: dict[str, CutSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csj, "SHORTEST_S", 0.6)
    before = {cut.id: cut for cut in parts["core"]}
    after = {cut.id: cut for cut in read_corpus("csj", tree, ["core"])["core"]}
    assert list(before) == list(after)
    short = [name for name, cut in before.items() if cut.duration < 0.6]
    assert len(short) >= 3
    for name, cut in after.items():
        if name in short:
            assert cut.duration == pytest.approx(0.6, abs=0.002)
            middle = before[name].start + before[name].duration / 2
            assert cut.start + cut.duration / 2 == pytest.approx(middle, abs=0.001)
            assert cut.load_audio().shape == (1, round(cut.duration * 16000))
        else:
            assert (cut.start, cut.duration) == (before[name].start, before[name].duration)


def test_a_dialogue_is_two_voices(parts: dict[str, CutSet], tree: Path) -> None:
    cuts = list(parts["dialogue"])
    assert {cut.supervisions[0].speaker for cut in cuts} == {"D01F0002-L", "D01F0002-R"}
    for cut in cuts:
        assert Path(cut.recording.sources[0].source).stem == cut.recording_id


def test_the_order_is_that_of_the_names(parts: dict[str, CutSet]) -> None:
    for cuts in parts.values():
        names = [cut.id for cut in cuts]
        assert names == sorted(set(names))


def test_nothing_is_printed(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read_corpus("csj", tree, ["eval1"])
    assert capfd.readouterr() == ("", "")


def test_only_what_is_read_counts_as_input(tree: Path) -> None:
    assert find_corpus("csj").paths(tree, ["core"]) == [tree / "MORPH/SDB", tree / "WAV"]


@pytest.mark.parametrize(
    ("spans", "groups"),
    [
        ([(0, 1), (1.5, 2), (2.501, 3)], [2, 1]),  # half a second joins, a millisecond more does not
        ([(0, 4), (4.2, 10), (10.2, 14), (14.2, 15)], [3, 1]),  # 10 s and less grow on, 14 s do not
        ([(0, 10.001), (10.2, 11)], [1, 1]),
        ([(280.998, 284.221), (284.721, 285)], [2]),  # as the decimal numbers are written
        ([], []),
    ],
    ids=["pause", "length", "long", "decimal", "none"],
)
def test_joining_is_kaldis(spans: list[tuple[float, float]], groups: list[int]) -> None:
    segments = [SupervisionSegment(str(n), "a", a, b - a) for n, (a, b) in enumerate(spans)]
    joined = join_segments(segments)
    assert [len(group) for group in joined] == groups
    assert [one for group in joined for one in group] == segments


def test_repeated_training_texts_are_limited(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csj, "MOST_REPEATS", 1)
    found = read_corpus("csj", tree, ["core", "noncore", "eval1", "valid"])
    trained = [cut.supervisions[0].text for part in ("core", "noncore") for cut in found[part]]
    assert len(trained) == len(set(trained))
    assert (len(found["eval1"]), len(found["valid"])) == (10, 40)


def test_which_repeats_stay(tree: Path, parts: dict[str, CutSet], monkeypatch: pytest.MonkeyPatch) -> None:
    cut = next(iter(parts["core"]))
    lists = [[cut.with_id(f"a{n}") for n in range(6)], [cut.with_id(f"b{n}") for n in range(4)]]
    monkeypatch.setattr(csj, "MOST_REPEATS", 5)
    csj._limit_repeats(lists)
    assert [[cut.id for cut in cuts] for cuts in lists] == [["a1", "a3", "a5"], ["b1", "b3"]]
    csj._limit_repeats(lists)
    assert sum(map(len, lists)) == 5


def _remove(*names: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for name in names:
            target = root / name
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    return damage


def _rewrite(old: str, new: str, encoding: str = "shift_jis") -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = root / f"MORPH/SDB/core/{TAGGED}.sdb"
        text = path.read_bytes().decode("shift_jis")
        assert old in text
        path.write_bytes(text.replace(old, new, 1).encode(encoding))

    return damage


def _stereo(root: Path) -> None:
    soundfile.write(root / f"WAV/core/{TAGGED}.wav", np.zeros((16000 * 20, 2)), 16000)


def _short(root: Path) -> None:
    soundfile.write(root / f"WAV/core/{TAGGED}.wav", np.zeros(16000), 16000)


def _no_audio(root: Path) -> None:
    (root / f"WAV/core/{TAGGED}.wav").write_bytes(b"RIFF" + bytes(60))


def _empty(root: Path) -> None:
    (root / f"MORPH/SDB/core/{TAGGED}.sdb").write_bytes(b"")


def _dialogue_in_one_file(root: Path) -> None:
    folder = root / "WAV/noncore"
    (folder / "D01F0002-L.wav").rename(folder / "D01F0002.wav")
    (folder / "D01F0002-R.wav").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_remove("MORPH"), ["corpus.root", "MORPH/SDB", "published tree"]),
        (_remove("WAV"), ["corpus.root", "WAV", "published tree"]),
        (_remove("MORPH/SDB/core", "MORPH/SDB/noncore"), ["no core/*.sdb or noncore/*.sdb"]),
        (_remove(f"WAV/core/{TAGGED}.wav", f"WAV/core/{CORE[1]}.wav"), ["no audio file", "(and 1 more)"]),
        (_rewrite("山", "山", "utf-8"), [f"{TAGGED}.sdb: not Shift_JIS at byte"]),
        (_rewrite("\t山\t山\tヤマ\t山\t山\t山\tヤマ\t名詞\t\t\t\t\t", ""), [f"{TAGGED}.sdb:2: ", "columns"]),
        (_rewrite(" L:-001-001", ""), [f"{TAGGED}.sdb:1: column 4 is"]),
        (_rewrite("00000.400-", "00009.400-"), [":1: an utterance from 00009.400 to"]),
        (_rewrite("(F えー)\t(F エー)", "えー)\t(F エー)"), ["closing", "text"]),
        (_rewrite("\t(F えー)\t(F えー)", "\t(F えー)\t(F えー"), ["opening and", "text"]),
        (_rewrite("(F エー)\t感動詞", "(F エー\t感動詞"), ["pronunciation"]),
        (_rewrite("\t(M は)\t(M は)", "\t(Z は)\t(Z は)"), [f"{TAGGED}.sdb: lhotse cannot read", "tag Z"]),
        (_empty, [f"{TAGGED}.sdb: empty"]),
        (_stereo, [f"{TAGGED}.wav: 2 channels"]),
        (_short, [f"{TAGGED}.wav: 1.0 s, the transcript goes on to"]),
        (_no_audio, [f"{TAGGED}.wav: not audio"]),
        (_dialogue_in_one_file, ["no audio file", "D01F0002-L.wav", "(and 1 more)"]),
        (_remove("MORPH/SDB/noncore/A01M0097.sdb"), ["'eval1': 1 of its 10 talks", "A01M0097"]),
    ],
    ids=[
        "no-transcripts", "no-audio", "no-talks", "wav-missing", "utf-8", "columns", "time", "backwards",
        "brackets", "brackets-2", "brackets-3", "tag", "empty", "stereo", "short", "not-audio", "dialogue",
        "talk-missing",
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    tree: Path, tmp_path: Path, damage: Callable[[Path], None], said: list[str]
) -> None:
    root = tmp_path / "CSJ"
    shutil.copytree(tree, root)
    damage(root)
    told = message(lambda: read_corpus("csj", root, ["core", "dialogue", "eval1"]))
    for words in said:
        assert words in told, told


def test_a_part_that_does_not_exist(tree: Path, tmp_path: Path) -> None:
    assert "wanted one of core, noncore, dialogue, eval1" in message(
        lambda: read_corpus("csj", tree, ["dev"])
    )
    root = tmp_path / "CSJ"
    shutil.copytree(tree, root)
    (root / "MORPH/SDB/noncore/D01F0002.sdb").unlink()
    assert "'dialogue': no transcripts" in message(lambda: read_corpus("csj", root, ["dialogue"]))


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("ゼロ+名詞+ゼロ です+助動詞+デス", "０です"),
        ("零+名詞+レー", "０"),
        ("(A_ゼロ;０)+名詞+ゼロ", "０"),
        ("ゼロックス+名詞+ゼロックス", "ゼロックス"),
        ("(A_一+名詞+イチ ゼロ;１０)+名詞+ゼロ", "一ゼロ"),
    ],
    ids=["kana", "kanji", "digit", "word", "number"],
)
def test_a_lone_zero_is_a_digit(raw: str, wanted: str) -> None:
    assert lhotse_csj.CSJSDBParser(preprocess=csj._surfaces).parse(raw) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("えー と　山\n", "えーと山"),
        ("んーー", "ん"),
        ("ンーあー", "ンあー"),
        ("クヮくゎ", "クワくわ"),
        ("ＣＤ２", "ＣＤ２"),
        ("", ""),
    ],
    ids=["spaces", "n", "katakana", "small", "wide", "empty"],
)
def test_normalize_japanese(text: str, wanted: str) -> None:
    assert normalize_japanese(text) == wanted
