"""The whole recognition recipe on a tiny corpus, and its model in use."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from s4speech import Recognizer
from s4speech.metrics.error_rate import score
from s4speech.metrics.report import report_as_dict
from s4speech.metrics.trn import read_trn
from tests.conftest import Experiment, run_command, snapshot

STAGES = ["prepare", "doctor", "tokenizer", "stats", "train", "average", "decode", "score", "package"]
METHODS = ("ctc_greedy", "joint")


def decoded(experiment: Experiment) -> dict[str, dict[str, str]]:
    lines = (experiment.exp_dir / "decode" / "test-tiny.jsonl").read_text().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def ran(output: str) -> dict[str, str]:
    """Stage -> run or skip, as the recipe said."""
    told = [line.split("] ", 1)[1] for line in output.splitlines() if line.startswith("[")]
    return {line.split(":")[0]: line.split(": ")[1].split(",")[0] for line in told if "done in" not in line}


def test_it_learns_the_corpus_and_says_so(finished: Experiment) -> None:
    output = (finished.exp_dir / "terminal.txt").read_text()
    assert ran(output) == dict.fromkeys(STAGES, "run")
    results = json.loads((finished.exp_dir / "score" / "results.json").read_text())
    for method, label in zip(METHODS, ("CTC greedy", "joint beam"), strict=True):
        one = results[f"test-tiny/{method}"]
        # Two words of the texts are not said; a trained model hears all others.
        assert one["words"]["deletions"] >= 2
        assert 0 < one["wer"] < 0.3
        row = next(line for line in output.splitlines() if line.split()[1:3] == label.split())
        assert "test-tiny" in row and f"{100 * one['wer']:.2f}" in row
    assert f"the model is in {finished.model}" in output


def test_results_are_those_of_the_trn_files(finished: Experiment) -> None:
    folder = finished.exp_dir / "score"
    results = json.loads((folder / "results.json").read_text())
    refs = read_trn(folder / "test-tiny.ref.trn")
    assert refs == {name: row["ref"] for name, row in decoded(finished).items()}
    for method in METHODS:
        hyps = read_trn(folder / f"test-tiny.{method}.trn")
        assert hyps == {name: row[method] for name, row in decoded(finished).items()}
        speakers = {name: name.split("-")[0] for name in refs}
        report, told = score(refs, hyps, speakers), results[f"test-tiny/{method}"]
        assert told == json.loads(json.dumps(report_as_dict(report)))
        assert told["wer_interval_95"][0] <= told["wer"] <= told["wer_interval_95"][1]
        assert set(told["speakers"]) == {"7", "8"}
        listing = (folder / f"test-tiny.{method}.txt").read_text()
        assert listing.count("EVAL:") == len(refs)
    assert (finished.model / "README.md").read_text().count(f"{100 * results['test-tiny/joint']['wer']:.2f}")


def test_the_page_of_scores_has_every_decoding_and_both_plots(finished: Experiment) -> None:
    page = (finished.exp_dir / "score" / "test-tiny.html").read_text()
    results = json.loads((finished.exp_dir / "score" / "results.json").read_text())
    for method, label in zip(METHODS, ("CTC greedy", "joint beam"), strict=True):
        assert f'<th scope="row">{label}</th>' in page
        assert f">{100 * results[f'test-tiny/{method}']['wer']:.2f}<" in page
    assert page.count('src="data:image/png;base64,') == 2
    assert all(f'"{name}"' in page for name in decoded(finished))


@pytest.mark.parametrize("name", ["train/learning_curves.png", "average/attention.png"])
def test_plots_show_something(finished: Experiment, name: str) -> None:
    from matplotlib.image import imread

    image = imread(finished.exp_dir / name)[..., :3]
    assert min(image.shape[:2]) > 200
    assert len(np.unique((255 * image).astype(np.uint8).reshape(-1, 3), axis=0)) > 100  # colours


def test_training_leaves_its_curves(finished: Experiment) -> None:
    train = finished.exp_dir / "train"
    assert list((train / "tensorboard").glob("events.out.tfevents.*"))
    log = (train / "log.txt").read_text()
    assert "epoch 12 of 12: " in log and "valid/wer" in log
    assert {path.name for path in (train / "checkpoints").iterdir()} > {"last.ckpt"}
    assert len(list((train / "checkpoints").iterdir())) == 1 + 3


def test_only_what_changed_runs_again(finished: Experiment, tmp_path: Path) -> None:
    before = snapshot(finished.exp_dir)
    again = finished.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert ran(again.stdout) == dict.fromkeys(STAGES, "skip")
    assert "nothing to do" in again.stdout
    assert snapshot(finished.exp_dir) == before

    copy = Experiment(tmp_path / "tiny.yaml", tmp_path / "exp")
    shutil.copytree(finished.exp_dir, copy.exp_dir)
    text = finished.config.read_text().replace(str(finished.exp_dir), str(copy.exp_dir))
    copy.config.write_text(text)
    before = snapshot(copy.exp_dir)
    changed = copy.run("decode.beam=3", "decode.methods=[joint,ctc_prefix_beam]")
    assert changed.returncode == 0, changed.stderr
    rerun = {"decode", "score", "package"}
    assert {stage for stage, what in ran(changed.stdout).items() if what == "run"} == rerun
    after = snapshot(copy.exp_dir)
    for stage in STAGES:
        same = all(after.get(name) == at for name, at in before.items() if name.startswith(f"{stage}/"))
        assert same == (stage not in rerun), stage
    assert json.loads((copy.exp_dir / "decode" / "test-tiny.timing.json").read_text())["beam"] == 3
    # The methods asked for, and no others, are decoded, scored and in the table, which fits 80 columns.
    results = json.loads((copy.exp_dir / "score" / "results.json").read_text())
    assert set(results) == {"test-tiny/joint", "test-tiny/ctc_prefix_beam"}
    assert 0 < results["test-tiny/ctc_prefix_beam"]["wer"] < 0.3
    for row in decoded(copy).values():
        assert set(row) == {"id", "speaker", "ref", "nbest", "joint", "ctc_prefix_beam"}
        assert row["nbest"]["ctc_prefix_beam"][0]["text"] == row["ctc_prefix_beam"]
    assert "CTC prefix" in changed.stdout and "CTC greedy" not in changed.stdout
    assert "beam: 3" in (copy.model / "config.yaml").read_text()


def test_how_fast_it_goes_is_no_part_of_the_result(finished: Experiment) -> None:
    again = finished.run("--dry-run", "train.workers=2", "train.cache_gib=0")
    assert (again.returncode, again.stderr) == (0, "")
    assert " run " not in again.stdout and again.stdout.count(" skip ") == len(STAGES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_decodes_the_same(finished: Experiment, tmp_path: Path) -> None:
    copy = Experiment(finished.config, tmp_path / "exp")
    shutil.copytree(finished.exp_dir, copy.exp_dir)
    done = copy.run(f"exp_dir={copy.exp_dir}", "decode.device=cuda")
    assert done.returncode == 0, done.stderr
    texts = [{name: row["joint"] for name, row in decoded(one).items()} for one in (finished, copy)]
    assert texts[0] == texts[1]
    timing = json.loads((copy.exp_dir / "decode" / "test-tiny.timing.json").read_text())
    assert timing["device"] == "cuda"


def test_the_recogniser_hears_what_the_recipe_decoded(finished: Experiment, tiny_corpus: Path) -> None:
    recognizer = Recognizer.load(finished.model)
    rows = decoded(finished)
    for name, row in rows.items():
        speaker = name.split("-")[0]
        found = recognizer.transcribe_file(tiny_corpus / "test-tiny" / speaker / "1" / f"{name}.flac")
        assert found.text == row["joint"], name
    assert sum(len(row["joint"]) for row in rows.values()) > 50
    assert all(word.end_s > word.start_s for word in found.words)
    assert 0 <= found.segments[0].start_s < found.segments[0].end_s <= found.duration_s


def test_the_command_transcribes_any_format_and_rate(
    finished: Experiment, tiny_corpus: Path, tmp_path: Path
) -> None:
    name, row = next((n, r) for n, r in decoded(finished).items() if r["joint"] == r["ref"])
    source = tiny_corpus / "test-tiny" / name.split("-")[0] / "1" / f"{name}.flac"
    samples, rate = soundfile.read(source)
    files = [source]
    for suffix, hz, channels in [("wav", 16000, 2), ("wav", 44100, 1), ("flac", 44100, 2), ("ogg", 48000, 1)]:
        files.append(tmp_path / f"{suffix}-{hz}-{channels}.{suffix}")
        wave = soxr.resample(samples, rate, hz)
        soundfile.write(files[-1], np.stack([wave] * channels, 1), hz)
    files.append(tmp_path / "telephone.wav")
    soundfile.write(files[-1], soxr.resample(samples, rate, 8000), 8000)

    text = run_command("-m", "s4speech", "transcribe", source, "-m", finished.model)
    assert (text.returncode, text.stdout, text.stderr) == (0, row["joint"] + "\n", "")
    out = tmp_path / "out"
    every = run_command("-m", "s4speech", "transcribe", *files, "-m", finished.model, "-f", "all", "-o", out)
    assert (every.returncode, every.stderr) == (0, "")
    for file in files[:-1]:  # the last one lacks what is above 4 kHz
        assert (out / f"{file.stem}.txt").read_text() == row["joint"] + "\n", file
    for file in files:
        plain = json.loads((out / f"{file.stem}.json").read_text())
        assert plain["duration"] == pytest.approx(len(samples) / rate, abs=0.01)
        cue = (out / f"{file.stem}.srt").read_text()
        assert cue.startswith("1\n00:00:00,") and plain["segments"][0]["text"] in cue


def test_models_shows_the_card(finished: Experiment) -> None:
    done = run_command("-m", "s4speech", "models", finished.model)
    assert done.returncode == 0, done.stderr
    assert "tones" in done.stdout and "Apache-2.0" in done.stdout


def test_the_plan_of_a_dry_run_changes_nothing(finished: Experiment, tmp_path: Path) -> None:
    before = snapshot(finished.exp_dir)
    done = finished.run("--dry-run", "train.lr=1e-3")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "train runs" in line or "config or inputs" in line]
    assert len(rows) == 2  # train; average, whose input it is
    assert snapshot(finished.exp_dir) == before
