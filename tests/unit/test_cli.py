"""The command line: outputs, exit codes, one-line errors, and how soon it answers.

The model has random weights: what it says is nonsense, what becomes of it is not.
"""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from s4speech import __version__
from s4speech.cli.main import main
from tests.conftest import one_line

RATE = 16000
COMMAND = [sys.executable, "-c", "from s4speech.cli.main import main; main()"]


@pytest.fixture
def run(capfd):
    """Run the command here: returns (exit code, standard output, standard error)."""

    def command(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return caught.value.code, captured.out, captured.err

    return command


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch

    from s4speech.config.asr import ASRConfig
    from s4speech.models.asr.build import build_asr
    from s4speech.models.package import ASRPackageConfig, save_asr
    from s4speech.text.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("model")
    trained = tmp_path_factory.mktemp("tok") / "tokenizer.model"
    tokenizer = Tokenizer.train(["THE CAT SAT ON THE MAT", "IT IS A DOG", "HELLO WORLD"], trained, 30)
    torch.manual_seed(0)
    config = ASRConfig.model_validate(
        {
            "vocab_size": tokenizer.vocab_size,
            "encoder": {"d_model": 32, "n_layers": 1, "n_heads": 2, "d_ff": 64},
            "decoder": {"type": "s4", "d_model": 32, "n_layers": 1, "n_heads": 2, "d_ff": 64},
        }
    )
    card = "---\nlicense: cc-by-4.0\ndata: nothing\n---\n# Card\n\n- WER: 100 %\n"
    save_asr(folder, ASRPackageConfig(model=config), build_asr(config), trained, card)
    return folder


@pytest.fixture
def speech(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    return path


def test_help_comes_at_once_and_without_torch():
    code = (
        "import sys\nfrom s4speech.cli.main import main\ntry: main(['--help'])\n"
        "finally: sys.exit(bool({'torch', 'numpy', 'soundfile'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    took = []
    for _ in range(3):  # the best of three, and its own time only: the machine may be busy
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    assert "transcribe" in done.stdout
    assert min(took) < 0.5


def test_version_and_no_command(run):
    assert run("--version") == (0, f"s4speech {__version__}\n", "")
    code, out, _ = run()
    assert code == 0
    assert "Usage: s4speech" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["transcribe"],
        ["transcribe", "--nope", "x"],
        ["transcribe", "x", "-f", "doc"],
        ["score", "a"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, arguments):
    code, out, error = run(*arguments)
    assert (code, out) == (2, "")
    assert one_line(error)


def test_transcribe_to_the_terminal(run, model, speech):
    code, out, error = run("transcribe", speech, "-m", model)
    assert (code, error) == (0, "")
    assert out.endswith("\n")
    code, out, _ = run("transcribe", speech, "-m", model, "--output_format", "json", "--word_timestamps")
    plain = json.loads(out)
    assert code == 0
    assert plain["duration"] == 1.0
    assert all(
        {"word", "start", "end", "probability"} == set(w) for s in plain["segments"] for w in s["words"]
    )


def test_dashes_do_for_underscores(run, model, speech):
    arguments = ("--output-format", "srt", "--beam-size", "2", "--ctc-weight=0.5", "--max-line-width", "20")
    with_dashes = run("transcribe", speech, "-m", model, *arguments)
    assert with_dashes[0] == 0
    assert with_dashes == run(
        "transcribe", speech, "-m", model, *(a.replace("-", "_").replace("__", "--") for a in arguments)
    )


def test_all_formats_into_a_folder(run, model, speech, tmp_path):
    out = tmp_path / "new" / "out"
    assert run("transcribe", speech, "-m", model, "-f", "all", "-o", out) == (0, "", "")
    assert sorted(p.name for p in out.iterdir()) == [
        f"speech.{e}" for e in ("json", "srt", "tsv", "txt", "vtt")
    ]
    assert (out / "speech.vtt").read_text().startswith("WEBVTT\n")


def test_a_folder_is_every_recording_below_it(run, model, speech, tmp_path):
    folder = tmp_path / "talks"
    for name in ("b.wav", "a.WAV", "deep/er/a.wav", ".hidden.wav", "notes.txt", "deep/._a.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(speech.read_bytes())
    code, out, error = run("transcribe", folder, "-m", model)
    assert (code, error) == (0, "")
    names = ["a.WAV", "b.wav", "deep/er/a.wav"]
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(folder / name) for name in names]
    out_dir = tmp_path / "out"
    assert run("transcribe", folder, speech, "-m", model, "-o", out_dir) == (0, "", "")
    written = sorted(str(path.relative_to(out_dir)) for path in out_dir.rglob("*.txt"))
    assert written == ["a.txt", "b.txt", "deep/er/a.txt", "speech.txt"]


def test_an_empty_folder_stops_no_other(run, model, speech, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, error = run("transcribe", tmp_path / "empty", speech, "-m", model)
    assert code == 2
    assert one_line(error) and f"{tmp_path / 'empty'}: is a directory without audio" in error
    assert out.endswith("\n")


def test_the_bundled_model_is_the_default(run, model, speech, monkeypatch):
    monkeypatch.setattr("s4speech.streaming.pretrained.bundled_models", lambda: {"en-asr": model})
    assert run("transcribe", speech) == run("transcribe", speech, "-m", model)
    monkeypatch.setattr("s4speech.streaming.pretrained.bundled_models", lambda: {"other": model})
    code, _, error = run("transcribe", speech)
    assert code == 2
    assert "no model given" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["x.wav", "--chunk-ms", "320"], "--chunk-ms: is for --stream"),
        (["x.wav", "--simulate-realtime"], "--simulate-realtime: is for files with --stream"),
        (["--mic", "--simulate-realtime"], "--simulate-realtime: is for files with --stream"),
        (["x.wav", "--vad"], "--vad: is for --stream"),
        (["x.wav", "--stream", "--ctc_weight", "0"], "--ctc-weight: is for files without --stream"),
        (["x.wav", "--mic-device", "0"], "--mic-device: is for --mic"),
        (["x.wav", "--sample-rate", "8000"], "--sample-rate: is for standard input"),
        (["--mic", "--pcm-format", "u8"], "--pcm-format: is for standard input"),
        (["x.wav", "--channels", "2"], "--channels: is for standard input"),
        (["x.wav", "--mic"], "files and --mic"),
        ([], "nothing to transcribe"),
        (["x.wav", "--stream", "--chunk-ms", "0"], "--chunk-ms: got 0"),
        (["x.wav", "--stream", "--chunk-ms=-5"], "--chunk-ms: got -5"),
        (["x.wav", "--stream", "--chunk-ms", "nan"], "--chunk-ms: got nan"),
        (["x.wav", "--hotwords", "/no/words"], "/no/words: No such file"),
        (["x.wav", "--lm", "/no/lm"], "language model /no/lm: no such file"),
        (["x.wav", "--lm", "/"], "/config.yaml: no such file"),
        (["-", "--pcm-format", "s12"], "PCM format 's12'"),
        (["-", "--sample-rate", "1"], "sample rate 1 Hz"),
        (["-", "--channels", "0"], "0 channels"),
        (["a.wav", "b.wav", "--stream", "-f", "srt"], "-f srt of several files"),
        (["x.wav", "--stream", "-f", "all"], "-f all"),
    ],
)
def test_options_that_cannot_be(run, model, monkeypatch, arguments, named):
    # Found before the model is loaded, and torch with it.
    monkeypatch.setattr("s4speech.cli.transcribe._load", lambda *_: pytest.fail("loaded"))
    code, out, error = run("transcribe", *arguments, "-m", model)
    assert (code, out) == (2, "")
    assert one_line(error), error
    assert named in error


def test_a_device_that_is_not_there(run, model, speech):
    code, out, error = run("transcribe", speech, "-m", model, "--device", "potato")
    assert (code, out) == (2, "")
    assert one_line(error) and "--device potato" in error


def test_a_model_that_cannot_stream(run, model, speech, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(speech.read_bytes())
    code, out, error = run("transcribe", speech, other, "-m", model, "--stream")
    assert (code, out) == (2, "")
    assert one_line(error) and "whole utterances only" in error


def test_several_files_are_told_apart(run, model, speech, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(speech.read_bytes())
    code, out, _ = run("transcribe", speech, other, "-m", model)
    assert code == 0
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(speech), str(other)]
    code, out, _ = run("transcribe", speech, other, "-m", model, "-f", "json")
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(speech), str(other)]
    code, out, error = run("transcribe", speech, other, "-m", model, "-f", "srt")
    assert (code, out) == (2, "")
    assert "give a folder with -o" in error


def test_one_bad_file_does_not_stop_the_others(run, model, speech, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    nan = tmp_path / "nan.wav"  # its header is right: found only when it is read
    soundfile.write(nan, np.full(RATE, np.nan), RATE, subtype="FLOAT")
    out = tmp_path / "out"
    code, _, error = run(
        "transcribe", tmp_path / "text.wav", nan, speech, tmp_path / "none.wav", "-m", model, "-o", out
    )
    assert code == 2
    assert [line.split(": ")[1].rsplit("/")[-1] for line in error.splitlines()] == [
        "text.wav",
        "none.wav",
        "nan.wav",
    ]
    assert [p.name for p in out.iterdir()] == ["speech.txt"]


def write(path, samples, **kwargs):
    soundfile.write(path, samples, RATE, **kwargs)
    return path


@pytest.mark.parametrize(
    "what", ["missing", "directory", "text", "empty", "zero", "one", "nan", "cut", "long"]
)
def test_each_bad_input_is_one_line_that_names_the_file(run, model, tmp_path, what):
    path = tmp_path / f"{what}.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    match what:
        case "directory":
            path.mkdir()
        case "text":
            path.write_text("hello")
        case "empty":
            path.touch()
        case "zero":
            path = write(tmp_path / "zero.wav", noise[:0])
        case "one":
            write(path, noise[:1])
        case "nan":
            path = write(tmp_path / "nan.wav", np.full(RATE, np.nan), subtype="FLOAT")
        case "cut":
            write(path, noise)
            path.write_bytes(path.read_bytes()[:30000])
        case "long":
            write(path, noise)
    code, out, error = run(
        "transcribe", path, "-m", model, "--max_duration", "2.5" if what == "long" else "60"
    )
    assert (code, out) == (2, "")
    assert one_line(error)
    assert str(path) in error


def test_inputs_are_checked_before_torch_is_imported(model, tmp_path):
    code = (
        "import sys\nfrom s4speech.cli.main import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit as end: sys.exit(end.code if 'torch' not in sys.modules else 99)"
    )
    for arguments in (
        ["transcribe", str(tmp_path / "none.wav"), "-m", str(model)],
        ["transcribe", "x.wav", "-m", str(tmp_path)],
        ["transcribe", "x.wav"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert one_line(done.stderr)


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.model", "stats.safetensors"])
def test_a_model_with_a_missing_or_foreign_file(run, model, speech, tmp_path, name):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / name).write_bytes(b"\x00junk: [")
    for _ in ("foreign", "missing"):
        code, out, error = run("transcribe", speech, "-m", broken)
        assert (code, out) == (2, "")
        assert one_line(error)
        assert name in error
        (broken / name).unlink(missing_ok=True)


def test_outputs_that_would_collide_or_have_no_place(run, model, speech, tmp_path):
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / "speech.flac"
    soundfile.write(twin, np.zeros(RATE), RATE)
    code, _, error = run("transcribe", speech, twin, "-m", model, "-o", tmp_path / "out")
    assert code == 2
    assert str(twin) in error
    assert not (tmp_path / "out").exists()
    code, _, error = run("transcribe", speech, "-m", model, "-o", speech)
    assert code == 2
    assert "is a file; wanted a folder" in error
    code, _, error = run("transcribe", speech, "-m", model, "-f", "all")
    assert code == 2
    assert "-o DIR" in error


def test_standard_input(model, speech):
    done = subprocess.run(
        [*COMMAND, "transcribe", "-", "-m", str(model), "-f", "json"],
        input=speech.read_bytes(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["duration"] == 1.0


def test_debug_shows_the_trace_back_wherever_it_stands(run, tmp_path):
    for arguments in (["--debug", "score", "a.trn", "b.trn"], ["score", "a.trn", "b.trn", "--debug"]):
        code, _, error = run(*arguments)
        assert code == 2
        assert "Traceback" in error
        assert error.splitlines()[-1].startswith("s4speech: a.trn: cannot read")


def test_ctrl_c_is_130(run, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("s4speech.metrics.texts.read_trn", interrupted)
    assert run("score", "a.trn", "b.trn") == (130, "", "")


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    trn = tmp_path / "a.trn"
    trn.write_text("".join(f"W{i} (s{i}-1)\n" for i in range(5000)))
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -n 1; exit ${PIPESTATUS[0]}', "bash", *COMMAND, "score", trn, trn],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_models(run, model):
    code, out, _ = run("models")
    assert code == 0
    assert out.strip()
    code, out, _ = run("models", model)
    assert code == 0
    for fact in ("parameters", "30", "cc-by-4.0", "100 %"):
        assert fact in out
    code, _, error = run("models", "nowhere")
    assert code == 2
    assert "'nowhere'" in error


@pytest.fixture
def trns(tmp_path):
    paths = tmp_path / "ref.trn", tmp_path / "hyp.trn", tmp_path / "other.trn"
    for path, words in zip(paths, ("A B C", "A X C", "A B C"), strict=True):
        path.write_text("".join(f"{words} (s{i % 2}-{i})\n" for i in range(6)))
    return paths


def test_score(run, trns, tmp_path):
    ref, hyp, other = trns
    code, out, error = run("score", ref, hyp, "--compare", other, "--alignment", tmp_path / "align.txt")
    assert (code, error) == (0, "")
    assert "WER          33.33" in out
    assert "B -> X" in out
    assert "+33.33" in out
    assert (tmp_path / "align.txt").read_text().count("EVAL:") == 6
    plain = json.loads(run("score", ref, hyp, "--json")[1])
    assert plain["wer"] == pytest.approx(1 / 3)
    assert set(plain["speakers"]) == {"s0", "s1"}


def test_score_names_what_is_missing(run, trns):
    ref, hyp, _ = trns
    hyp.write_text("A (s0-0)\n")
    code, _, error = run("score", ref, hyp)
    assert code == 2
    assert one_line(error)
    assert "'s1-1' has no hypothesis" in error


def test_score_normalizes_both_sides_if_asked(run, trns):
    ref, hyp, _ = trns
    ref.write_text("Don\u2019t, stop! (s-1)\n")
    hyp.write_text("DON'T STOP (s-1)\n")
    assert json.loads(run("score", ref, hyp, "--json")[1])["wer"] == 1
    assert json.loads(run("score", ref, hyp, "--json", "--normalize")[1])["wer"] == 0


def test_a_file_that_cannot_be_written_is_named_and_not_its_temporary_one(run, trns, tmp_path):
    ref, hyp, _ = trns
    target = tmp_path / "nodir" / "x.txt"
    code, out, error = run("score", ref, hyp, "--alignment", target)
    assert (code, out, error) == (2, "", f"s4speech: {target}: No such file or directory\n")


def test_an_output_that_cannot_be_written_stops_no_other(run, model, speech, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(speech.read_bytes())
    out = tmp_path / "out"
    (out / "speech.txt").mkdir(parents=True)
    code, _, error = run("transcribe", speech, other, "-m", model, "-o", out)
    assert code == 2
    assert one_line(error) and f"{out / 'speech.txt'}: " in error
    assert (out / "other.txt").is_file()


def test_a_name_that_is_no_text_stops_no_other(model, speech, tmp_path):
    odd = tmp_path / "\udcff.wav"  # the byte 0xff
    odd.write_bytes(speech.read_bytes())
    command = [*COMMAND, "transcribe", odd, speech, "-m", model]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.split(b": ")[0][-11:] for line in done.stdout.splitlines()] == [
        b"/\\udcff.wav",
        b"/speech.wav",
    ]


def test_the_hint_names_a_command_that_runs_on_a_fresh_clone(run, monkeypatch, tmp_path):
    monkeypatch.setattr("s4speech.streaming.pretrained.BUNDLED", tmp_path)
    code, _, error = run("transcribe", "x.wav")
    assert code == 2
    assert "`make demo`" in error
