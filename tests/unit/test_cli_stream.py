"""`transcribe --stream`: what is said when, on terminals, in pipes and in files; signals.

The recogniser is a fake that says a word for every 0.25 s of audio, and no torch is loaded.
"""

import errno
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile

from s4speech.cli.live import LiveLine, shown_partial
from s4speech.streaming.events import Partial
from tests.conftest import REPOSITORY, one_line
from tests.fake_recognizer import WORDS, run_here

RATE = 16000
COMMAND = [sys.executable, "-m", "tests.fake_recognizer", "transcribe"]
SEGMENT = " ".join(WORDS)
TIMEOUT_S = 60  # the machine may be busy
# As a user's: nothing that flushes for the program, or gives the terminal another width.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("PYTHONUNBUFFERED", "COLUMNS")}
ENVIRONMENT["TERM"] = "xterm"


@pytest.fixture
def run(capfd, monkeypatch):
    """Run `transcribe` here: returns (exit code, standard output, standard error)."""
    return run_here(capfd, monkeypatch)


def write(path, seconds, rate=RATE, **kwargs):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    soundfile.write(path, samples, rate, **kwargs)
    return path


@pytest.fixture
def talk(tmp_path):
    """5.1 s: two whole segments and one of four words."""
    return write(tmp_path / "talk.wav", 5.1)


def start(*arguments, **options):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"cwd": REPOSITORY, "env": ENVIRONMENT} | pipes | options
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **options)


def end(process):
    """Wait for the end while standard input is open: returns what was written."""
    process.wait(TIMEOUT_S)
    return process.communicate()


def texts(out):
    return [json.loads(line)["text"] for line in out.splitlines() if json.loads(line)["type"] == "final"]


# What is written


def test_json_lines(run, talk):
    code, out, error = run(talk, "--stream")
    assert (code, error) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert events[:2] == [
        {"type": "partial", "text": "ALPHA", "stable": "", "start": 0.0, "heard": 0.3},
        {"type": "partial", "text": "ALPHA BRAVO", "stable": "ALPHA", "start": 0.0, "heard": 0.5},
    ]
    finals = [event for event in events if event["type"] == "final"]
    assert [final["text"] for final in finals] == [SEGMENT, SEGMENT, "ALPHA BRAVO CHARLIE DELTA"]
    last = finals[-1]
    assert (last["start"], last["end"], last["reason"]) == (4.0, 5.0, "end")
    assert last["words"][1] == {"word": "BRAVO", "start": 4.25, "end": 4.5, "probability": 0.5}
    assert run(talk, "--stream", "-f", "json")[1] == out


@pytest.mark.parametrize("extension", ["txt", "vtt", "srt", "tsv", "ctm"])
@pytest.mark.parametrize("width", [(), ("--max_line_width", "20")])
def test_cues_are_those_of_the_whole_file(run, talk, extension, width):
    whole = run(talk, "-f", extension, *width)
    assert whole[0] == 0
    assert SEGMENT.split()[3] in whole[1]
    assert run(talk, "--stream", "-f", extension, *width) == whole


def test_files_of_all_formats(run, talk, tmp_path):
    assert run(talk, "--stream", "-f", "all", "-o", tmp_path / "live", "--word_timestamps") == (0, "", "")
    assert run(talk, "-f", "all", "-o", tmp_path / "whole", "--word_timestamps") == (0, "", "")
    names = sorted(path.name for path in (tmp_path / "live").iterdir())
    assert names == [f"talk.{extension}" for extension in ("json", "srt", "tsv", "txt", "vtt")]
    for name in names:
        live, whole = ((tmp_path / folder / name).read_text() for folder in ("live", "whole"))
        assert json.loads(live) == json.loads(whole) if name.endswith("json") else live == whole


def test_several_files_are_told_apart(run, talk, tmp_path):
    other = write(tmp_path / "other.flac", 0.6)
    _, out, _ = run(talk, other, "--stream", "-f", "txt")
    assert out.splitlines()[2:] == [f"{talk}: ALPHA BRAVO CHARLIE DELTA", f"{other}: ALPHA BRAVO"]
    _, out, _ = run(talk, other, "--stream")
    assert [json.loads(line)["file"] for line in out.splitlines()][-2:] == [str(other)] * 2
    _, live, _ = run(talk, other, "--stream", "-f", "ctm")
    assert [line.split()[0] for line in live.splitlines()][-3:] == ["talk", "other", "other"]
    assert run(talk, other, "-f", "ctm")[1] == live
    (tmp_path / "folder").mkdir()
    same = write(tmp_path / "folder" / "other.flac", 0.6)
    code, out, error = run(same, other, "-f", "ctm")
    assert (code, out) == (2, "") and error.count("\n") == 1 and "has the name of" in error


def test_a_file_has_its_name_when_it_is_whole(talk, tmp_path):
    """While the recording goes on, what was said is in a file of another name."""
    process = start("-", "--stream", "--sample-rate", RATE, "-o", tmp_path)
    process.stdin.write(bytes(2 * RATE * 3))
    process.stdin.flush()
    growing = tmp_path / "stdin.txt.part"
    wait_for(lambda: growing.exists() and growing.read_text() == f"{SEGMENT}\n")
    assert not (tmp_path / "stdin.txt").exists()
    process.kill()
    process.communicate()
    assert growing.read_text() == f"{SEGMENT}\n"
    process = start("-", "--stream", "--sample-rate", RATE, "-o", tmp_path)
    process.communicate(bytes(2 * RATE * 3), timeout=TIMEOUT_S)
    assert (tmp_path / "stdin.txt").read_text() == f"{SEGMENT}\nALPHA BRAVO CHARLIE DELTA\n"
    assert not growing.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_named(run, talk, tmp_path):
    (tmp_path / "talk.txt.part").symlink_to("/dev/full")
    code, _, error = run(talk, "--stream", "-o", tmp_path)
    assert code == 2
    assert error == f"s4speech: {tmp_path / 'talk.txt'}: {os.strerror(errno.ENOSPC)}\n"


# When


def wait_for(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("header", [False, True])
def test_a_pipe_is_answered_at_once(tmp_path, header):
    """Each word is read from standard output before the audio of the next one is written."""
    raw = () if header else ("--pcm-format", "f32le", "--sample-rate", "8000", "--channels", "2")
    process = start("-", "--stream", *raw)
    if header:
        write(tmp_path / "x.wav", 600, 8000, subtype="PCM_24")
        process.stdin.write((tmp_path / "x.wav").read_bytes()[:44])
    for words in range(1, 5):
        process.stdin.write(bytes(2000 * (3 if header else 8)))
        process.stdin.flush()
        assert select.select([process.stdout], [], [], TIMEOUT_S)[0]
        assert json.loads(process.stdout.readline())["text"] == " ".join(WORDS[:words])
    process.kill()
    process.communicate()


def test_simulated_real_time(run, tmp_path):
    talk = write(tmp_path / "talk.wav", 2.3)
    start_s = time.monotonic()
    code, out, _ = run(talk, "--stream", "--simulate-realtime")
    assert time.monotonic() - start_s >= 2.3
    assert (code, texts(out)) == (0, [SEGMENT, "ALPHA"])


# What is bad


def test_what_was_said_before_a_fault_is_kept(run, tmp_path):
    samples = np.full(5 * RATE, 0.1, np.float32)
    samples[52480] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    good = write(tmp_path / "good.wav", 0.6)
    code, _, error = run(tmp_path / "nan.wav", good, "--stream", "-f", "srt", "-o", tmp_path)
    assert code == 2
    assert one_line(error) and "nan.wav: sample 52480 (3.280 s) is nan" in error
    # The fifth word ends 30 ms before the fault, in one block with it.
    last = "00:00:02,000 --> 00:00:03,250\nALPHA BRAVO CHARLIE DELTA ECHO\n"
    assert last in (tmp_path / "nan.srt").read_text()
    assert "ALPHA BRAVO\n" in (tmp_path / "good.srt").read_text()


@pytest.mark.parametrize("stream", [(), ("--stream",)])
@pytest.mark.parametrize("extra", [1, 3])
def test_a_pipe_that_closes_within_a_sample(stream, extra):
    raw = ("--sample-rate", "8000", "--channels", "2", "-f", "txt")
    process = start("-", *raw, *stream)
    out, error = process.communicate(bytes(4 * 5000 + extra), timeout=TIMEOUT_S)
    assert (process.returncode, out) == (2, b"ALPHA BRAVO\n")
    assert one_line(error.decode())
    assert f"standard input: ends in the middle of a sample ({extra} of 4 bytes)".encode() in error


def test_a_wav_pipe_that_closes_early(talk):
    process = start("-", "--stream", "-f", "txt")
    out, error = process.communicate(talk.read_bytes()[: 44 + 2 * RATE * 3 + 1], timeout=TIMEOUT_S)
    assert (process.returncode, out.decode()) == (2, f"{SEGMENT}\nALPHA BRAVO CHARLIE DELTA\n")
    assert one_line(error.decode()) and b"standard input: truncated" in error


def test_nothing_in_the_pipe():
    for arguments, named in ((["--sample-rate", "8000"], "has no samples"), ([], "not audio")):
        process = start("-", "--stream", *arguments)
        out, error = process.communicate(b"", timeout=TIMEOUT_S)
        assert (process.returncode, out) == (2, b"")
        assert one_line(error.decode()) and named in error.decode()


@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_a_reader_that_leaves_early_is_no_error(tmp_path, stream):
    talk = write(tmp_path / "talk.wav", 3600, 1000)
    shell = ["bash", "-c", '"$@" | head -n 1; exit ${PIPESTATUS[0]}', "bash"]
    command = [*shell, *COMMAND, talk, "-f", "txt", *stream]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("source", ["pipe", "file"])
def test_a_signal_finishes_the_segment(tmp_path, number, code, source):
    long = write(tmp_path / "long.wav", 60)
    if source == "pipe":  # waits for more
        process = start("-", long, "--stream", "--sample-rate", RATE, "-o", tmp_path, "-f", "json")
        process.stdin.write(bytes(2 * RATE * 3))
        process.stdin.flush()
        name = "stdin"
    else:
        process = start(long, "--stream", "--simulate-realtime", "-o", tmp_path, "-f", "json")
        name = "long"
    growing = tmp_path / f"{name}.json.part"
    wait_for(lambda: growing.exists() and SEGMENT in growing.read_text())
    time.sleep(0.6)  # some words into the next segment
    process.send_signal(number)
    out, error = end(process)
    assert (process.returncode, out, error) == (code, b"", b"")
    plain = json.loads((tmp_path / f"{name}.json").read_text())
    assert plain["text"].startswith(f"{SEGMENT} ALPHA BRAVO")
    assert 2.5 <= plain["duration"] < 30
    assert not growing.exists()
    if source == "pipe":  # nothing is begun after it
        assert not list(tmp_path.glob("long.*t*"))


def test_a_signal_while_a_pipe_is_stored():
    process = start("-", "--stream")
    process.stdin.write(b"fLaC" + bytes(1000))
    process.stdin.flush()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, error = end(process)
    assert (process.returncode, out, error) == (130, b"", b"")


SLOW = """
import sys, time
from tests import fake_recognizer
def accept(self, samples, sample_rate):
    print("busy", file=sys.stderr, flush=True)
    time.sleep(1000)
fake_recognizer.FakeSession.accept = accept
fake_recognizer.run(["transcribe", *sys.argv[1:]])
"""


def test_a_second_signal_ends_it_at_once(talk):
    command = [sys.executable, "-c", SLOW, talk, "--stream"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE)
    assert process.stderr.readline() == b"busy\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):  # the first one waits for what is being computed
        process.wait(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == -signal.SIGINT  # 130, as a shell has it


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_stream_the_files_that_are_done_are_kept(talk, tmp_path, number, code):
    pipe = tmp_path / "never"
    os.mkfifo(pipe)
    process = start(talk, pipe, "-o", tmp_path / "out")
    with open(pipe, "wb"):  # opens when the second input is being read
        process.send_signal(number)
        out, error = end(process)
    assert (process.returncode, out, error) == (code, b"", b"")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.txt"]


# Terminals


@contextmanager
def terminal(columns):
    """A terminal of this width; gives the end that a program writes to, and the end of who looks at it."""
    looking, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        yield writing, looking
    finally:
        os.close(looking)


def look(looking, until=None):
    """What was written, up to ``until`` or the end."""
    seen = b""
    while until is None or until not in seen:
        assert select.select([looking], [], [], TIMEOUT_S)[0]
        try:
            data = os.read(looking, 65536)
        except OSError:  # how a terminal of Linux ends
            break
        if not data:
            break
        seen += data
    return seen.decode()


def rows(written):
    """What a person sees in the end; and every state that the last row had."""
    done, row, states = [], "", []
    for piece in re.split(r"(\r\n|\r\x1b\[K)", re.sub(r"\x1b\[[02]m", "", written)):
        if piece == "\r\n":
            done.append(row)
            row = ""
        elif piece == "\r\x1b[K":
            row = ""
        elif piece:
            row += piece
            states.append(row)
    assert "\x1b" not in row and "\r" not in row
    return [*done, row], states


def run_on_terminal(*arguments, columns=80, **options):
    with terminal(columns) as (writing, looking):
        process = start(*arguments, stdout=writing, **options)
        os.close(writing)
        written = look(looking)
        _, error = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, written, error


def test_the_line_is_rewritten_in_place(talk):
    code, written, error = run_on_terminal(talk, "--stream")
    assert (code, error) == (0, b"")
    seen, states = rows(written)
    assert seen == [
        f"[00:00.000 --> 00:02.000]  {SEGMENT}",
        f"[00:02.000 --> 00:04.000]  {SEGMENT}",
        "[00:04.000 --> 00:05.000]  ALPHA BRAVO CHARLIE DELTA",
        "",
    ]
    assert states[:3] == ["ALPHA", "ALPHA BRAVO", "ALPHA BRAVO CHARLIE"]
    assert "\rALPHA BRAVO\x1b[2m CHARLIE\x1b[0m" in written.replace("\x1b[K", "")  # what may change is dim


def test_a_narrow_terminal_shows_the_end_of_the_line(talk):
    _, written, _ = run_on_terminal(talk, "--stream", columns=20)
    _, states = rows(written)
    partials = [state for state in states if not state.startswith("[")]
    assert partials[2:5] == ["ALPHA BRAVO CHARLIE", "…RAVO CHARLIE DELTA", "…CHARLIE DELTA ECHO"]
    assert max(map(len, partials)) == 19


def test_files_and_the_terminal_at_once(talk, tmp_path):
    code, written, _ = run_on_terminal(talk, "--stream", "-f", "vtt", "-o", tmp_path)
    assert code == 0
    assert rows(written)[0][0].endswith(SEGMENT)
    assert (tmp_path / "talk.vtt").read_text().count(SEGMENT) == 2


def test_a_chosen_format_is_all_that_a_terminal_shows(talk):
    _, written, _ = run_on_terminal(talk, "--stream", "-f", "txt")
    assert written == f"{SEGMENT}\r\n{SEGMENT}\r\nALPHA BRAVO CHARLIE DELTA\r\n"


def test_an_error_does_not_stand_in_the_live_line(tmp_path):
    soundfile.write(tmp_path / "bad.wav", np.r_[np.zeros(RATE), np.inf], RATE, subtype="FLOAT")
    code, written, _ = run_on_terminal(tmp_path / "bad.wav", "--stream", stderr=None)
    assert code == 2
    assert rows(written)[0] == ["[00:00.000 --> 00:01.000]  ALPHA BRAVO CHARLIE DELTA", ""]


def test_ctrl_c_on_a_terminal(tmp_path):
    long = write(tmp_path / "long.wav", 60)
    with terminal(80) as (writing, looking):
        process = start(
            long, "--stream", "--simulate-realtime", stdin=writing, stdout=writing, stderr=writing,
            preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(writing)
        look(looking, until=b"CHARLIE")
        os.write(looking, b"\x03")
        written = look(looking)
        assert process.wait(TIMEOUT_S) == 130
    seen = rows(written.replace("^C", ""))[0]
    assert re.fullmatch(r"\[00:00\.000 --> 00:0[01]\.\d{3}\]  ALPHA BRAVO CHARLIE.*", seen[0])
    assert seen[1:] == [""]


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_a_bar_with_the_real_time_factor(talk, tmp_path, stream):
    with terminal(80) as (writing, looking):
        process = start(talk, *stream, stderr=writing)
        os.close(writing)
        bar = look(looking)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert b"ALPHA" in out  # the bar must not take the text to itself
    assert "ALPHA" not in bar
    assert re.search(r"talk .*0:00:05 / 0:00:05.* RTF 0\.\d\d", re.sub(r"\x1b\[[\d;]*m", "", bar))


@pytest.mark.parametrize(
    ("text", "stable", "width", "expected"),
    [
        ("ONE TWO", "ONE", 7, "ONE| TWO"),
        ("ONE TWO", "ONE TWO", 7, "ONE TWO|"),
        ("ONE TWO", "", 7, "|ONE TWO"),
        ("ONE TWO", "ONE", 6, "…E| TWO"),
        ("ONE TWO", "ONE", 4, "…|TWO"),
        ("ONE TWO", "ONE", 3, "…|WO"),
        ("日本語", "日本", 5, "…本|語"),
        ("日本語", "日本", 4, "…|語"),
        ("日本語", "日本", 6, "日本|語"),
    ],
)
def test_a_partial_is_cut_on_the_left(text, stable, width, expected):
    shown = shown_partial(Partial(text, stable, 0, 0), width)
    assert shown == expected.replace("|", "\x1b[2m") + "\x1b[0m"


def test_words_that_came_to_nothing_do_not_stay_on_the_terminal():
    screen = io.StringIO()
    line = LiveLine(screen)
    line.show(Partial("UM", "", 0.0, 1.0))
    assert rows(screen.getvalue())[0] == ["UM"]
    line.close(1.0)
    assert rows(screen.getvalue())[0] == [""]
