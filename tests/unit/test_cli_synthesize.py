"""`s4speech synthesize`: outputs, exit codes, one-line errors before torch, signals and pipes."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from s4speech.cli.main import main
from s4speech.streaming.synthesizer import Synthesizer
from tests.conftest import REPOSITORY, one_line
from tests.tiny_voice import tiny_voice

RATE = 8000
COMMAND = [sys.executable, "-m", "s4speech", "synthesize"]
TEXT = "Good morning, all of you. It is 7."

Run = Callable[..., tuple[int, bytes, str]]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture
def run(voice: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command here with the tiny voice: returns (exit code, standard output, standard error)."""

    def command(*arguments: object, stdin: bytes = b"", model: object = voice) -> tuple[int, bytes, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        chosen = [] if model is None else ["-m", model]
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in ("synthesize", *arguments, *chosen)])
        captured = capfdbinary.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err.decode()

    return command


@pytest.fixture(scope="module")
def expected(voice: Path) -> NDArray[np.float32]:
    return Synthesizer.load(voice).synthesize(TEXT).samples


def test_a_file(run: Run, tmp_path: Path, expected: NDArray[np.float32]) -> None:
    for name in ("a.wav", "b.WAV", "c.flac"):
        assert run(TEXT, "-f", tmp_path / name) == (0, b"", "")
        samples, rate = soundfile.read(tmp_path / name, dtype="float32")
        assert rate == RATE and soundfile.info(tmp_path / name).subtype == "PCM_16"
        np.testing.assert_allclose(samples, expected, rtol=0, atol=2e-4)
    assert run(TEXT, "-o", tmp_path / "d.ogg")[0] == 0
    assert soundfile.info(tmp_path / "d.ogg").frames == len(expected)
    assert len(list(tmp_path.iterdir())) == 4  # nothing half written is left


def test_text_from_the_arguments_or_standard_input(run: Run, tmp_path: Path) -> None:
    data = TEXT.encode()
    heard = []
    for words, stdin in (([TEXT], b""), (TEXT.split(), b""), (["-"], data), ([], b"\xef\xbb\xbf\n\n" + data)):
        assert run(*words, "-f", tmp_path / "a.wav", stdin=stdin)[0] == 0
        heard.append((tmp_path / "a.wav").read_bytes())
    assert len(set(heard)) == 1


def test_raw_samples_and_stream_are_the_file(run: Run, tmp_path: Path) -> None:
    assert run(TEXT, "-f", tmp_path / "a.wav", "--stream")[0] == 0
    wanted, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    for option in ("--output-raw", "--stream", "--output_raw"):
        code, out, error = run(TEXT, option)
        assert code == 0
        assert error == "s4speech: raw samples: 8000 Hz, 16-bit little-endian, mono\n"
        assert np.abs(np.frombuffer(out, "<i2").astype(int) - wanted).max() <= 4


def test_a_line_a_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    stdin = b"\nGood morning.\n\n?!\nBye.\n"
    code, out, error = run("-d", folder, "--json", tmp_path / "times.json", stdin=stdin)
    assert (code, out) == (2, b"")
    assert error == "s4speech: line 4: text: '?!' has nothing that is said; give some words\n"
    assert sorted(path.name for path in folder.iterdir()) == ["0002.wav", "0005.wav"]
    times = [json.loads(line) for line in (tmp_path / "times.json").read_text().splitlines()]
    assert [(one["file"], [word["word"] for word in one["words"]]) for one in times] == [
        ("0002.wav", ["good", "morning"]),
        ("0005.wav", ["bye"]),
    ]
    assert run("One.\nTwo.", "-d", folder)[0] == 0
    assert (folder / "0001.wav").is_file()


def test_times_of_words(run: Run, tmp_path: Path) -> None:
    assert run(TEXT, "-f", tmp_path / "a.wav", "--json", tmp_path / "a.json")[0] == 0
    plain = json.loads((tmp_path / "a.json").read_text())
    assert plain["sample_rate"] == RATE
    assert plain["duration"] == round(soundfile.info(tmp_path / "a.wav").duration, 3)
    assert [word["word"] for word in plain["words"]] == [
        "good",
        "morning",
        "all",
        "of",
        "you",
        "it",
        "is",
        "seven",
    ]
    assert all(0 <= word["start"] < word["end"] <= plain["duration"] for word in plain["words"])


def test_options_reach_the_voice(run: Run, voice: Path) -> None:
    wanted = Synthesizer.load(voice).synthesize(
        TEXT, speaker="bob", length_scale=1.5, pitch=2.0, volume=0.5, sentence_silence_s=1.0
    )
    options = "-s bob --length-scale 1.5 --pitch 2 --volume 0.5 --sentence-silence 1"
    code, out, _ = run(TEXT, "--output-raw", *options.split())
    assert code == 0
    np.testing.assert_allclose(np.frombuffer(out, "<i2") / 32767, wanted.samples, rtol=0, atol=2e-4)


def test_loud_samples_are_clipped_not_wrapped(run: Run, voice: Path) -> None:
    loud = Synthesizer.load(voice).synthesize(TEXT, volume=10.0).samples
    assert np.abs(loud).max() > 1.1
    out = np.frombuffer(run(TEXT, "--output-raw", "--volume", "10")[1], "<i2")
    np.testing.assert_allclose(out / 32767, np.clip(loud, -1, 1), rtol=0, atol=2e-3)


def test_dry_run_prints_what_is_said(run: Run) -> None:
    for model in (None, "voice"):
        options = {} if model else {"model": None}
        code, out, error = run("Hi, Dr. No. Bye.", "--dry-run", **options)
        assert (code, error) == (0, "")
        assert out.decode() == "hi, doctor no.\n  hˈI, dˈɑktəɹ nˈO.\nbye.\n  bˈI.\n"


def test_ssml(run: Run) -> None:
    text = "<speak>a<break time='1s'/>b</speak>"
    assert run(text, "--dry-run")[1].decode().split("\n")[::2] == ["a,", "b", ""]
    spread = text.replace("<break", "<break\n").encode()
    assert run("--dry-run", stdin=b"\n" + spread)[1] == run(text, "--dry-run")[1]
    assert run("--dry-run", "--ssml", stdin=spread)[1] == run(text, "--dry-run")[1]
    code, _, error = run("Plain & simple", "--ssml", "--output-raw")
    assert code == 2 and "SSML line 1, column 1" in error


BAD = [
    (["", "-f", "a.wav"], "text: is empty"),
    (["\n", "-d", "d"], "text: is empty"),
    (["?!", "-f", "a.wav"], "'?!' has nothing that is said"),
    (["<speak>a\n <b/></speak>", "-f", "a.wav"], "SSML line 2, column 2: unknown element <b>"),
    (["a [[b@d]]", "-f", "a.wav"], "got '@' at character 2"),
    (["a"], "nowhere to write; give -f FILE.wav, -d FOLDER, or --output-raw"),
    (["a", "-f", "a.wav", "--output-raw"], "several of -f, -d and --output-raw"),
    (["a", "-d", "d", "--stream"], "--stream: is for -f and --output-raw only"),
    (["a", "--dry-run", "--json", "t.json"], "--json: is for speech"),
    (["a", "-f", "a.wav", "-s", "eve"], "speaker: got 'eve'; wanted one of ann, bob"),
    (["a", "-f", "a.wav", "--length-scale", "0"], "length_scale: got 0; wanted 0.1 to 10"),
    (["a", "-f", "a.wav", "--pitch", "nan"], "pitch: got nan; wanted -24 to 24"),
    (["a", "-f", "a.wav", "--volume", "-1"], "volume: got -1; wanted 0 to 10"),
    (["a", "-f", "a.wav", "--sentence-silence", "x"], "Invalid value for '--sentence-silence'"),
    (["a", "-f", "a.mp3"], "-f a.mp3: wanted a file name in .wav, .flac, .ogg"),
    (["a", "-f", "-"], "for a pipe give --output-raw"),
    (["a", "-f", "nowhere/a.wav"], "-f nowhere/a.wav: there is no folder nowhere"),
    (["a", "-f", "folder.wav"], "-f folder.wav: is no regular file"),
    (["a", "-d", "file"], "-d file: is a file"),
    (["a", "-d", "file/below"], "file/below: Not a directory"),
    (["a", "-f", "a.wav", "--json", "folder.wav"], "--json folder.wav: is no regular file"),
]


@pytest.mark.parametrize(("arguments", "wanted"), BAD, ids=[wanted for _, wanted in BAD])
def test_what_is_wrong_is_one_line_before_the_voice_is_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("s4speech.cli.synthesize._load", None)
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    code, out, error = run(*arguments)
    assert (code, out) == (2, b"")
    assert one_line(error) and wanted in error
    assert {path.name for path in tmp_path.iterdir()} <= {"folder.wav", "file", "d"}


def test_a_folder_that_cannot_be_written_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s4speech.cli.synthesize._load", None)
    # whoever runs the tests may be root
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    for options in (["-f", tmp_path / "a.wav"], ["-d", tmp_path]):
        code, _, error = run("a", *options)
        assert code == 2 and one_line(error) and "cannot be written to" in error


def test_bad_standard_input(run: Run, tmp_path: Path) -> None:
    for stdin, wanted in [(b"", "text: is empty"), (b"caf\xe9\n", "standard input: byte 0xe9 is not UTF-8")]:
        code, _, error = run("-f", tmp_path / "a.wav", stdin=stdin)
        assert code == 2 and one_line(error) and wanted in error
    assert not list(tmp_path.iterdir())


def test_a_terminal_is_no_place_for_samples(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for option in ("--output-raw", "--stream"):
        code, out, error = run("a", option)
        assert (code, out) == (2, b"") and one_line(error)
        assert f"{option}: standard output is a terminal" in error and "aplay" in error


def test_the_bundled_voice_is_the_default(run: Run, voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s4speech.streaming.pretrained.bundled_models", lambda: {"en-tts": voice})
    assert run("a", "--output-raw", model=None) == run("a", "--output-raw")
    monkeypatch.setattr("s4speech.streaming.pretrained.bundled_models", lambda: {})
    code, _, error = run("a", "--output-raw", model=None)
    assert code == 2 and one_line(error) and "no voice given; give a voice directory with -m DIR" in error


def test_wrong_requests_are_refused_without_torch(voice: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom s4speech.cli.main import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 2\nfinally: sys.exit(bool('torch' in sys.modules))"
    )
    command = [sys.executable, "-c", code, "synthesize", "...", "-m", voice, "-f", tmp_path / "a.wav"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0 and one_line(done.stderr)


def start(voice: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Begin to say a text of an hour and more."""
    command = [*COMMAND, "It goes on and on. " * 5000, "-m", voice, *arguments]
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_ctrl_c_leaves_no_file(voice: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"of yesterday")
    process = start(voice, "-f", tmp_path / "a.wav")
    deadline = time.monotonic() + 200
    while not any(path.stat().st_size > 10_000 for path in tmp_path.glob(".a.wav*")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=100) == (b"", b"")
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"of yesterday"


def test_a_player_that_stops_is_no_error_and_hears_the_beginning_at_once(voice: Path) -> None:
    with start(voice, "--output-raw") as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(process.stdout.read(1000)) == 1000  # long before the text is over
        assert process.poll() is None
        process.stdout.close()
        assert process.wait(200) == 0
        assert process.stderr.read().startswith(b"s4speech: raw samples") and process.stderr.read() == b""


def test_a_reader_of_the_dry_run_may_stop() -> None:
    command = [*COMMAND, "It goes on and on. " * 5000, "--dry-run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"it goes on and on.\n"
        process.stdout.close()
        assert (process.wait(200), process.stderr.read()) == (0, b"")


def test_text_that_is_piped_in_is_said_while_it_comes(voice: Path) -> None:
    command = [*COMMAND, "-m", str(voice), "--output-raw"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPOSITORY
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"One. And this is the next sentence\n")
        process.stdin.flush()
        first = process.stdout.read(1000)
        process.stdin.write(b"which goes on.\n")
        process.stdin.close()
        samples = np.frombuffer(first + process.stdout.read(), "<i2")
    text = "One. And this is the next sentence\nwhich goes on."
    wanted = Synthesizer.load(voice).synthesize(text).samples
    np.testing.assert_allclose(samples / 32767, wanted, rtol=0, atol=2e-4)
