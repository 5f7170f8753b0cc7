"""kill -9 anywhere: the same command continues, and ends with a WER table."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Experiment, new_experiment

# The recipe, in a process that sends itself SIGKILL at the n-th call of MODULE:NAME.
KILLED = """
import importlib, os, signal, sys
from recipes.__main__ import main
module, _, path = sys.argv.pop(1).partition(":")
n = int(sys.argv.pop(1))
owner, *names = importlib.import_module(module), *path.split(".")
for part in names[:-1]:
    owner = getattr(owner, part)
last = names[-1]
original, calls = getattr(owner, last), 0
def dying(*args, **options):
    global calls
    calls += 1
    if calls == n:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **options)
setattr(owner, last, dying)
sys.exit(main())
"""


def run_killed(experiment: Experiment, function: str, call: int, *arguments: str) -> str:
    """Run the recipe and have it killed at that call; returns what it had printed."""
    recipe = [experiment.recipe, str(experiment.config), *arguments]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, function, str(call), *recipe],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -9, (function, done.returncode, done.stderr)
    return done.stdout


def validated(experiment: Experiment) -> list[dict[str, str]]:
    """The rows of every validation in metrics.csv."""
    with (experiment.exp_dir / "train" / "metrics" / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["valid/wer"]]


def validations(experiment: Experiment) -> list[tuple[int, int]]:
    """(epoch, step) of every validation."""
    return [(int(row["epoch"]), int(row["step"])) for row in validated(experiment)]


def stages_done(experiment: Experiment) -> set[str]:
    return {path.parent.name for path in experiment.exp_dir.glob("*/done.json")}


def test_killed_at_every_turn(finished: Experiment, tiny_corpus: Path, tmp_path: Path) -> None:
    experiment = new_experiment(tmp_path, tiny_corpus)
    options = ["corpus.test=[test-tiny,dev-tiny]"]
    epochs = len(validations(finished))
    checkpoints = experiment.exp_dir / "train" / "checkpoints"

    run_killed(experiment, "lhotse:CutSet.to_file", 2, *options)  # train is written, valid is not
    assert stages_done(experiment) == set()

    assert len(list((experiment.exp_dir / "prepare").glob("*.jsonl.gz"))) == 1

    # Continues in prepare; is killed in the middle of epoch 4.
    last_step = dict(validations(finished))[2]
    output = run_killed(experiment, "s4speech.train.asr:ASRTask.training_step", last_step + 4, *options)
    assert "prepare: run, interrupted, continues" in output
    assert stages_done(experiment) == {"prepare", "doctor", "tokenizer", "stats"}
    assert (checkpoints / "last.ckpt").exists()

    # Continues with epoch 4 of 12; is killed when a best checkpoint is on the disk and the last one is not.
    output = run_killed(experiment, "s4speech.train.saver:Saver._save", 2, *options)
    assert "prepare: skip" in output and "train: run, interrupted, continues" in output
    log = (experiment.exp_dir / "train" / "log.txt").read_text()
    assert "continued with epoch 4 of 12" in log and "continues with epoch 1 " not in log

    # Continues with epoch 5, to the end of the training; is killed in decoding, after the first batch.
    run_killed(experiment, "recipes.asr.evaluation:_decode_batch", 2, *options)
    log = (experiment.exp_dir / "train" / "log.txt").read_text()
    assert "continued with epoch 5 of 12" in log
    trained = [
        line.split("epoch ")[1].split(" of")[0] for line in log.splitlines() if "progress: epoch" in line
    ]
    assert trained == [
        "1",
        "2",
        "3",
        "4",
        "5",
        *map(str, range(5, epochs + 1)),
    ]  # the fifth twice: its end was lost
    assert validations(experiment) == validations(finished)
    # The same training as one that is not killed, to the last bit.
    assert validated(experiment) == validated(finished)
    assert len([path for path in checkpoints.iterdir() if path.name != "last.ckpt"]) == 3  # train.keep
    assert {"train", "average"} <= stages_done(experiment) and "decode" not in stages_done(experiment)
    first = experiment.exp_dir / "decode" / "test-tiny.jsonl"
    # the first batch is decoded, the first part is not
    assert len(list(first.parent.glob(".shards/test-tiny.*.json"))) == 1 and not first.exists()

    done = experiment.run(*options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "train: skip" in done.stdout and "decode: run, interrupted, continues" in done.stdout
    assert first.exists() and not (first.parent / ".shards").exists()
    table = [line.split() for line in done.stdout.splitlines() if line.split()[1:3] == ["joint", "beam"]]
    assert [row[0] for row in table] == ["test-tiny", "dev-tiny"]
    results = json.loads((experiment.exp_dir / "score" / "results.json").read_text())
    assert results["dev-tiny/joint"]["wer"] == pytest.approx(0, abs=0.25)
    assert (experiment.model / "model.safetensors").exists()


def test_the_last_epoch_is_validated_and_saved(
    finished: Experiment, tiny_corpus: Path, tmp_path: Path
) -> None:
    experiment = new_experiment(tmp_path, tiny_corpus)
    shutil.copytree(finished.exp_dir, experiment.exp_dir)
    options = ["train.epochs=5", "train.validate_every=2", "train.keep=5", "--stop-stage", "average"]
    steps = validations(finished)[0][1] + 1  # an epoch

    run_killed(experiment, "s4speech.train.asr:ASRTask.training_step", 3 * steps, *options)
    done = experiment.run(*options)
    assert (done.returncode, done.stderr) == (0, "")
    log = (experiment.exp_dir / "train" / "log.txt").read_text()
    assert "continued with epoch 3 of 5" in log
    assert [(epoch, step + 1) for epoch, step in validations(experiment)] == [
        (epoch, (epoch + 1) * steps) for epoch in (1, 3, 4)
    ]
    saved = {path.name[:3] for path in (experiment.exp_dir / "train" / "checkpoints").glob("0*.ckpt")}
    assert saved == {"001", "003", "004"}
    assert "average: 3 checkpoints" in done.stdout
    assert (experiment.exp_dir / "train.old" / "done.json").exists()

    done = experiment.run("train.epochs=2", "train.validate_every=9", "--stop-stage", "average")
    assert (done.returncode, done.stderr) == (0, "")
    assert [epoch for epoch, _ in validations(experiment)] == [1]
