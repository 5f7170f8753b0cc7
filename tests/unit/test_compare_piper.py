"""The comparison with piper: the texts, the turns and the medians, with a piper that only sleeps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "compare_piper.py"

PIPER = """
import time
import numpy as np
class Chunk:
    sample_rate = 1000
    def __init__(self, count):
        self.audio_float_array = np.zeros(count)
class PiperVoice:
    def __init__(self, session, config):
        assert session == ("voice.onnx", config["threads"])
    def synthesize(self, text):
        yield Chunk(0)  # nothing that could be played
        time.sleep(0.02)
        yield Chunk(100 * len(text.split()))
        time.sleep(0.02)
        yield Chunk(0)
"""
ONNXRUNTIME = """
class SessionOptions:
    pass
def InferenceSession(path, options, providers):
    return path.rsplit("/", 1)[1], options.intra_op_num_threads
"""
CONFIG = "class PiperConfig:\n    from_dict = staticmethod(lambda values: values)\n"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Where the worker finds a piper; returns the voice."""
    (tmp_path / "piper").mkdir()
    (tmp_path / "piper" / "__init__.py").write_text(PIPER)
    (tmp_path / "piper" / "config.py").write_text(CONFIG)
    (tmp_path / "onnxruntime.py").write_text(ONNXRUNTIME)
    (tmp_path / "voice.onnx.json").write_text(json.dumps({"threads": 1}))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "voice.onnx"


def run(*arguments):
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, timeout=60)


def test_figures_of_every_text_are_printed_and_written(stand_in, tmp_path):
    target = tmp_path / "out.json"
    done = run(
        "--piper-python", sys.executable, "--piper-voice", stand_in, "--threads", "1",
        "--words", "5", "12", "--runs", "2", "--json", target,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(target.read_text())["rows"]
    assert [row["text"] for row in rows] == ["5 words", "12 words", "89 in one sentence"]
    assert [row["audio_s"] for row in rows] == pytest.approx([0.5, 1.2, 8.9])
    for row in rows:
        total_s = row["rtf"] * row["audio_s"]
        assert 0.02 <= row["first_s"] <= row["first_worst_s"] and row["first_s"] + 0.02 <= total_s
        assert row["runs"] == 2 and row["cpu"] < row["rtf"]
    assert len(done.stdout.splitlines()) == 4


def test_what_cannot_be_measured_is_said_in_one_line(stand_in):
    assert "give --voice or --piper-python" in run().stderr
    too_long = run("--piper-python", sys.executable, "--piper-voice", stand_in, "--words", "9999")
    assert too_long.returncode and "--words 9999: wanted 1 to" in too_long.stderr.splitlines()[-1]
    no_voice = run("--piper-python", sys.executable, "--piper-voice", "none.onnx", "--threads", "1")
    assert no_voice.returncode and "the piper worker ended (1)" in no_voice.stderr.splitlines()[-1]
