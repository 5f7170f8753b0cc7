"""What the stages after training compute: Griffin-Lim, the search for lost words, tables, judges."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from recipes.tts import scoring
from recipes.tts.card import markdown
from recipes.tts.griffin_lim import bins_of, griffin_lim
from recipes.tts.hard import by_judge, by_timings
from recipes.tts.judge import read_texts
from recipes.tts.report import COLUMNS, notes, table_rows
from recipes.tts.speed import longer
from s4speech.audio.mel import MelFrames
from s4speech.config.tts import MelConfig
from s4speech.errors import InputError
from s4speech.metrics.alignment import align
from s4speech.metrics.error_rate import score as error_report
from s4speech.text.english import normalize_english
from tests.conftest import REPOSITORY

MEL = MelConfig(sample_rate=16000, n_fft=512, hop=128, n_mels=40)


def chirp() -> torch.Tensor:
    time = torch.arange(8000) / 16000
    return sum(0.1 * torch.cos(2 * torch.pi * k * (150 * time + 40 * time**2)) for k in range(1, 20))


def test_griffin_lim_gives_back_the_frames_and_more_iterations_are_closer() -> None:
    frames = MelFrames(**MEL.model_dump())
    mel = frames.frames(chirp().unsqueeze(0))[0]
    apart = []
    for iterations in (1, 10, 60):
        samples = griffin_lim(mel, MEL, iterations)
        assert samples.shape == (len(mel) * MEL.hop,) and torch.isfinite(samples).all()
        apart.append(float((frames.frames(samples.unsqueeze(0))[0] - mel).abs()[4:-4].mean()))
    assert apart[0] > apart[1] > apart[2] and apart[2] < 0.5
    assert torch.equal(samples, griffin_lim(mel, MEL, 60))


def test_bins_have_the_bands_that_they_were_made_of() -> None:
    bank = MelFrames(**MEL.model_dump()).filterbank
    power = torch.rand(5, len(bank)) + 0.1
    mel = (power @ bank).log()
    found = bins_of(mel, bank)
    assert (found >= 0).all() and torch.allclose((found @ bank).log(), mel, atol=1e-2)


BANDS = {1: (0.0, 9.0), 2: (0.03, 0.3), 3: (0.03, 0.3), 6: (0.03, 0.2)}
FINE = [("one", 0.3), ("two", 0.2)]


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        (FINE, []),
        ([("one", 0.3)], ["lost"]),
        ([("one", 0.3), ("one", 0.3), ("two", 0.2)], ["added"]),
        ([("one", 0.3), ("to", 0.2)], ["lost"]),
        ([("one", 0.05), ("two", 0.2)], ["duration"]),
        ([("one", 0.3), ("two", 0.9)], ["duration"]),
        ([], ["lost", "lost"]),
    ],
)
def test_words_that_the_timings_lack_or_hurry_are_found(said: Any, kinds: list[str]) -> None:
    assert [one.kind for one in by_timings("k-1", [("one", 3), ("two", 2)], said, BANDS)] == kinds


def test_long_words_have_a_band_of_their_own() -> None:
    long = [("international", 11)]
    assert [one.kind for one in by_timings("k-1", long, [("international", 2.5)], BANDS)] == ["duration"]
    assert not list(by_timings("k-1", long, [("international", 2.0)], BANDS))


@pytest.mark.parametrize(
    ("written", "heard", "kinds"),
    [
        ("we walked and walked and walked home", "we walked and walked and walked home", []),
        ("we walked and walked and walked home", "we walked and walked home", ["skipped"]),
        ("we walked and walked home", "we walked and walked and walked and walked home", ["repeated"]),
        ("siobhan nguyen met xavier", "shiv on win met zavier", []),  # spelled as it sounds
        ("it was the last day", "it was last day", []),  # one word is the judge's own
        ("nineteen hundred and ten", "", ["skipped"]),
        ("a b c d e", "a x e", ["skipped"]),
    ],
)
def test_places_that_the_judge_did_not_hear_are_found(written: str, heard: str, kinds: list[str]) -> None:
    assert [one.kind for one in by_judge("k-1", align(written, heard))] == kinds


def test_the_hard_sentences_are_two_hundred_of_four_kinds() -> None:
    texts = read_texts(REPOSITORY / "egs/kathleen/tts/hard.txt")
    kinds = [key.rsplit("-", 1)[0] for key in texts]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ("number", "name", "repeat", "long"), 50
    )
    assert len(set(texts.values())) == 200
    assert all(len(text.split()) >= 60 for key, text in texts.items() if key.startswith("long"))
    assert all(any(c.isdigit() for c in text) for key, text in texts.items() if key.startswith("number"))
    for key, text in texts.items():
        if key.startswith("repeat"):
            words = "".join(c for c in normalize_english(text) if c not in ",.;:!?").split()
            assert max(words.count(word) for word in words) >= 3, key


def test_longer_texts_are_whole_sentences() -> None:
    found = longer(["One two three", "Four?"], [1, 4, 9])
    assert found == [
        "One two three.",
        "One two three. Four?",
        "One two three. Four? One two three. Four? One two three.",
    ]


def summary(wer: bool, mos: bool) -> dict[str, Any]:
    mean = {"mean": 3.0, "low": 2.9, "high": 3.1, "values": 2}
    words = {"wer": 0.074, "wer_interval_95": [0.05, 0.1], "cer": 0.021}
    keys = ("mcd_db", "f0_rmse_cents", "voicing_error", "duration_error_percent", "duration_bias_percent")
    return {
        "texts": 2,
        "intelligibility": words if wer else None,
        "dnsmos": {"overall": mean} if mos else None,
        "distance": {key: {"mean": 0.1234 if key == "voicing_error" else 5.678} for key in keys},
        "problems": [],
    }


def test_what_is_not_known_is_empty_in_the_table() -> None:
    whole, bare = table_rows({"a": summary(True, True), "b": summary(False, False)}, {"a": "A", "b": "B"})
    assert list(whole) == list(bare) == list(COLUMNS)
    assert list(whole.values()) == [
        "A", "7.4 (5.0-10.0)", "2.1", "3.00 (2.90-3.10)", "5.68", "6", "12.3", "5.7",
    ]  # fmt: skip
    assert list(bare.values())[:4] == ["B", "", "", ""]
    nothing = summary(False, False) | {"texts": 0}
    assert table_rows({"a": nothing}, {"a": "A"}) == []
    assert markdown([whole, {"system": "x|y"}]).splitlines()[-1].startswith("| x\\|y |")


def test_the_lines_tell_how_far_the_speech_is_from_the_recordings() -> None:
    refs = {"a": "one two three", "b": "four five six", "c": "seven eight"}
    reports = {
        "real": error_report(refs, refs),
        "synthesised": error_report(refs, refs | {"a": "one two", "c": "seven nine"}),
    }
    systems = {name: summary(True, True) for name in reports}
    systems["synthesised"]["problems"] = ["a: silence"]
    speed = {"runs": [], "cpu": "x", "load": 0.0}
    found = {"judge": "Parrot", "systems": systems, "speed": speed, "hard": {"told": "hard ones"}}
    told = "\n".join(notes(found, reports, 3))
    assert "+25.0 points" in told and "recordings: +0.00" in told and "heard by Parrot" in told
    assert "synthesised: 1 texts could not be compared; a: silence" in told and "hard ones" in told
    assert "no judge listened" in notes(found | {"judge": None}, {}, 3)[0]


def context(judge: str | None) -> tuple[Any, io.StringIO]:
    told = io.StringIO()
    console = Console(file=told)
    config = SimpleNamespace(score=SimpleNamespace(judge=judge))
    return SimpleNamespace(config=config, say=lambda text: console.print(text, soft_wrap=True)), told


def test_a_judge_that_is_not_installed_is_told_and_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    one, told = context("tiny.en")
    assert scoring.find_judge(one) is None
    assert told.getvalue().count("\n") == 1 and "without word error rates" in told.getvalue()
    assert "pip install" in told.getvalue()
    assert not scoring.judge_packages("tiny.en")


def test_a_judge_that_does_not_exist_is_an_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "find_spec", lambda name: SimpleNamespace())
    one, _ = context(str(tmp_path / "none"))
    with pytest.raises(InputError, match="none"):
        scoring.find_judge(one)
    one, told = context(None)
    assert scoring.find_judge(one) is None and told.getvalue() == ""


def test_silence_is_a_problem_of_its_text_and_no_end_of_the_stage(tmp_path: Any) -> None:
    import soundfile

    from recipes.tts.synthesis import HeldOut

    texts = [HeldOut(name, "s", "one two", None) for name in "ab"]
    for system in ("real", "other"):
        (tmp_path / "synthesize" / system).mkdir(parents=True)
        for one in texts:
            silent = system == "other" and one.id == "a"
            wave = np.zeros(8000) if silent else chirp().numpy() / 4
            soundfile.write(tmp_path / "synthesize" / system / f"{one.id}.wav", wave, 16000)
    console = Console(file=io.StringIO())
    listener = scoring._Listener(SimpleNamespace(exp_dir=tmp_path, console=console), texts, None, False)
    rows = listener.listen("other", tmp_path / "other.json")
    assert "without sound" in rows["a"]["problem"] and rows["a"]["distance"] is None
    assert rows["b"]["problem"] is None and rows["b"]["distance"]["mcd_db"] == pytest.approx(0, abs=1e-9)
    found = scoring._summary(rows, None)
    assert found["texts"] == 2 and len(found["problems"]) == 1
    assert listener.listen("other", tmp_path / "other.json") == rows  # read, not made again
