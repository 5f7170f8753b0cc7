"""The classification recipe on tiny data: it learns, continues after a kill, and says what is wrong."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from tests.conftest import Experiment, snapshot
from tests.e2e.test_kill import run_killed

TONES_HZ = {"low": 300, "high": 900, "both": 0}
SPEAKERS = [f"{number:08x}" for number in range(0x1000, 0x1000 + 24)]
Run = Callable[..., tuple[int, str, str]]
S4D = {"type": "s4d", "d_state": 16}


def make_words(root: Path) -> Path:
    """Words that are tones, in the published layout: 0.1 s at 16 kHz, three of each speaker and word."""
    rng = np.random.default_rng(0)
    time = np.arange(1600) / 16000
    tones = {word: np.sin(2 * np.pi * hz * time) for word, hz in TONES_HZ.items()}
    tones["both"] = (tones["low"] + tones["high"]) / 2
    for word, tone in tones.items():
        (root / word).mkdir(parents=True)
        for speaker in SPEAKERS:
            for number in range(3):
                wave = tone * rng.uniform(0.2, 0.6) + 0.01 * rng.standard_normal(1600)
                soundfile.write(root / word / f"{speaker}_nohash_{number}.wav", wave, 16000, subtype="PCM_16")
    return root


def experiment(folder: Path, task: dict[str, Any], model: dict[str, Any], **train: Any) -> Experiment:
    config = {"exp_dir": str(folder / "exp"), "task": task, "model": {"type": "sequence"} | model}
    config["train"] = {"lr": 0.01, "warmup_steps": 10, "weight_decay": 0.0, "precision": "32-true"} | train
    config["train"] |= {"accelerator": "cpu", "workers": 0}
    folder.mkdir(exist_ok=True)
    one = Experiment(folder / "tiny.yaml", folder / "exp", "classify")
    one.config.write_text(yaml.safe_dump(config))
    return one


def words(folder: Path, root: Path) -> Experiment:
    task = {"type": "speech_commands", "root": str(root), "split": "speakers", "words": list(TONES_HZ)}
    task |= {"percentages": [60, 20, 20], "test_rates": [16000, 8000], "augment": {"shift_s": 0.01}}
    stages = [{"d_model": 8, "n_layers": 1, "pool": 4}, {"d_model": 16, "n_layers": 1}]
    return experiment(folder, task, {"layer": S4D, "stages": stages}, epochs=12, batch_size=8)


def delays(folder: Path) -> Experiment:
    task = {"type": "delay", "train": 160, "valid": 32, "test": 32, "symbols": 4, "delay": 3, "length": 24}
    model = {"layer": S4D, "stages": [{"d_model": 32, "n_layers": 2}]}
    return experiment(folder, task, model, epochs=10, batch_size=8, lr=0.02)


@pytest.fixture(scope="session")
def tiny_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus; read only."""
    return make_words(tmp_path_factory.mktemp("words") / "speech_commands")


@pytest.fixture(scope="session")
def heard(tiny_words: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run on it; read only."""
    one = words(tmp_path_factory.mktemp("heard"), tiny_words)
    done = one.run()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (one.exp_dir / "terminal.txt").write_text(done.stdout)
    return one


def results(one: Experiment) -> dict[str, Any]:
    return json.loads((one.exp_dir / "evaluate" / "results.json").read_text())


def validations(one: Experiment) -> list[tuple[int, float, float]]:
    with (one.exp_dir / "train" / "metrics" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["valid/accuracy"]]
    return [(int(row["epoch"]), float(row["valid/accuracy"]), float(row["valid/loss"])) for row in rows]


def test_it_hears_the_words_at_both_rates(heard: Experiment) -> None:
    found, output = results(heard), (heard.exp_dir / "terminal.txt").read_text()
    table = output.split("evaluate: run")[1].splitlines()
    assert [one["rate"] for one in found["test"].values()] == [1, 2]
    for name, one in found["test"].items():
        assert one["accuracy"] > 0.9, name  # at 8 kHz without having heard it in training
        low, high = one["interval_95"]
        assert 0 < low < one["accuracy"] <= high <= 1 and one["rtf"] > 0
        row = next(line.split() for line in table if line.startswith(f" {name} ") and "-" in line[9:])
        assert row[1:3] == [f"{one['rate']:g}", f"{100 * one['accuracy']:.2f}"]
        assert row[4] == str(one["targets"])
    assert found["training"]["steps"] == 12 * len(range(0, manifest_size(heard, "train"), 8))
    assert found["training"]["minutes"] > 0 and f"{found['training']['parameters']} parameters" in output
    best = max(accuracy for _, accuracy, _ in validations(heard))
    assert found["checkpoint"].endswith(f"{best:.4f}.ckpt")


def manifest_size(one: Experiment, part: str) -> int:
    return len((one.exp_dir / "prepare" / f"{part}.jsonl").read_text().splitlines())


def test_no_speaker_is_in_two_parts_of_the_manifest(heard: Experiment) -> None:
    rows = {
        part: [json.loads(line) for line in (heard.exp_dir / "prepare" / f"{part}.jsonl").open()]
        for part in ("train", "valid", "test")
    }
    speakers = [{row["speaker"] for row in part} for part in rows.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == len(SPEAKERS)
    paths = [row["path"] for part in rows.values() for row in part]
    assert len(set(paths)) == len(paths) == 3 * 3 * len(SPEAKERS) and all(Path(p).exists() for p in paths)
    assert all(row["word"] == Path(row["path"]).parent.name for part in rows.values() for row in part)
    assert len(rows["test"]) == results(heard)["test"]["test"]["targets"]


def test_the_confusions_are_those_of_the_accuracy(heard: Experiment) -> None:
    for name, one in results(heard)["test"].items():
        with (heard.exp_dir / "evaluate" / f"{name}.confusion.csv").open() as file:
            head, *rows = list(csv.reader(file))
        assert head[1:] == [row[0] for row in rows] == list(TONES_HZ)
        counts = np.array([list(map(int, row[1:])) for row in rows])
        assert (counts.sum(), counts.trace()) == (one["targets"], one["right"])


@pytest.mark.parametrize("name", ["train/learning_curves.png", "evaluate/test-8k.confusion.png"])
def test_plots_show_something(heard: Experiment, name: str) -> None:
    from matplotlib.image import imread

    image = imread(heard.exp_dir / name)[..., :3]
    assert min(image.shape[:2]) > 100
    assert len(np.unique((255 * image).astype(np.uint8).reshape(-1, 3), axis=0)) > 50  # colours


def test_only_what_changed_runs_again(heard: Experiment, recipes_here: Run) -> None:
    before = snapshot(heard.exp_dir)

    def plan(*overrides: str) -> tuple[int, int]:
        code, output, errors = recipes_here(heard.config, *overrides, "--dry-run", recipe="classify")
        assert (code, errors) == (0, "")
        return output.count(" run "), output.count(" skip ")

    assert plan("train.workers=2", "task.cache=false") == (0, 3)  # only how fast it goes
    for override, rerun in (
        ("evaluate.batch_size=4", 1),
        ("train.label_smoothing=0.1", 2),
        ("model.dropout=0.1", 2),
        ("task.augment=null", 3),
    ):
        assert plan(override) == (rerun, 3 - rerun), override
    assert snapshot(heard.exp_dir) == before


def test_killed_and_continued_it_is_the_same_training(tmp_path: Path) -> None:
    whole, killed = delays(tmp_path / "whole"), delays(tmp_path / "killed")
    done = whole.run()
    assert (done.returncode, done.stderr) == (0, "")
    found = results(whole)["test"]["test"]
    assert found["accuracy"] > 0.9 and found["targets"] == 32 * (24 - 3)  # every frame that has a target
    assert "rtf" not in found

    step = "s4speech.train.classify:ClassifyTask.training_step"
    run_killed(killed, step, 50)  # in the middle of epoch 3
    run_killed(killed, step, 21)  # again, a step into epoch 4
    output = run_killed(killed, "recipes.classify.evaluation:_run", 1)
    assert "train: run, interrupted, continues" in output
    log = (killed.exp_dir / "train" / "log.txt").read_text()
    assert "continued with epoch 3 of 10" in log and "continued with epoch 4 of 10" in log
    done = killed.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "train: skip" in done.stdout and "evaluate: run, interrupted, continues" in done.stdout
    assert np.allclose(validations(killed), validations(whole), rtol=1e-4)
    assert results(killed)["test"]["test"]["right"] == found["right"]
    assert results(killed)["training"]["steps"] == results(whole)["training"]["steps"] == 200


BAD = [
    (["task.root=/nowhere"], "stage 'prepare': /nowhere does not exist"),
    (["task.words=[low,loud]"], "words: no folder of the word 'loud'"),
    (["task.test_rates=[16000,2000]"], "task.test_rates: 2000 Hz: pool: got 4 at rate 8.0"),
    (["task.type=music"], "task.type: got 'music', wanted one of"),
    (["model.layer.d_stat=3"], "model.layer.d_stat: unknown key; did you mean 'd_state'?"),
    (["model.layer.n_ssm=3"], "model: n_ssm: got 3, wanted a divisor of d_model 8"),
    (["model.layer={type: mamba}"], "model.layer.type: got 'mamba', wanted one of"),
    (["model={type: m5}", "task={type: delay, train: 9, valid: 9, test: 9}"], "model: type: got m5"),
    (["task={type: copy, train: 9, valid: 9, test: 9}"], "model: stages: got a pool above 1"),
    (["train.schedule=steps"], "train.schedule: got 'steps' (str), wanted"),
    (["evaluate.batch_size=0"], "evaluate.batch_size: got 0 (int), wanted"),
    (["--stage", "score"], "--stage: got 'score', wanted one of: prepare, train, evaluate"),
    (["--stage", "evaluate"], "--stage evaluate: needs the result of stage 'prepare'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line(
    tmp_path: Path, tiny_words: Path, recipes_here: Run, arguments: list[str], message: str
) -> None:
    config = words(tmp_path, tiny_words).config
    code, _, errors = recipes_here(config, *arguments, "--stop-stage", "evaluate", recipe="classify")
    assert (code, len(errors.splitlines())) == (2, 1), errors
    assert message in errors
    assert not list((tmp_path / "exp").glob("*/done.json"))


@pytest.mark.parametrize("layer", ["s4", "lstm"])
def test_other_layers_run_from_the_same_recipe(tmp_path: Path, layer: str) -> None:
    one = delays(tmp_path)
    config = yaml.safe_load(one.config.read_text())
    config["model"]["layer"] = {"type": layer}
    config["train"]["precision"] = "bf16-mixed"
    one = replace(one, config=tmp_path / "other.yaml")
    one.config.write_text(yaml.safe_dump(config))
    done = one.run("train.epochs=1", "train.label_smoothing=0.1")
    assert (done.returncode, done.stderr) == (0, "")
    assert results(one)["test"]["test"]["accuracy"] > 0.25
