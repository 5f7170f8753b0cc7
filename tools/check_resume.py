"""kill -9 at random moments of `python -m recipes asr`: the result is that of a run that nobody has killed.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tools/check_resume.py [--kills 10] [--seed 0]

One run of the recipe on a tiny corpus, with dropout and SpecAugment, is killed again and again: in optimiser
steps, in the middle of writing a checkpoint (half of the file is on the disk), between two files, while
metrics.csv is written, in validations; every second time it reads its data in worker processes. Then it may
end. Its last weights, state of the optimiser, averaged model and metrics.csv are compared with those of the
uninterrupted run, bit for bit.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml

import s4speech.train.curves
from recipes.__main__ import main as recipes
from s4speech.train.asr import ASRTask
from tests.conftest import tiny_config
from tests.e2e.corpus import make_corpus

# owner, name of a function, and in which of its calls a run may be killed
MOMENTS: dict[str, tuple[Any, str, int]] = {
    "a step": (ASRTask, "training_step", 16),
    "writing a checkpoint": (torch, "save", 7),
    "between two files": (os, "replace", 12),
    "writing metrics.csv": (s4speech.train.curves, "write_by_rename", 2),
    "a validation": (ASRTask, "validation_step", 3),
    "the end of an epoch": (pl.callbacks.ModelCheckpoint, "on_validation_end", 2),
}


def kill_in(owner: Any, name: str, call: int) -> None:
    """This process dies in that call of a function; half of what it should have written is there."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            if name == "save":
                original(*args, **options)
                path = Path(args[1])
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    setattr(owner, name, dying)


def run(config: Path, *overrides: str, moment: tuple[Any, str, int] | None = None) -> int:
    """The recipe in a process of its own; returns its exit code, -9 for a killed one."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.setpgrp()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    if moment is not None:
        kill_in(*moment)
    code = recipes(["asr", str(config), "--stop-stage", "average", *overrides])
    sys.stderr.flush()
    os._exit(code)


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two experiments."""
    found = []
    states = [
        torch.load(folder / "train" / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
        for folder in (one, other)
    ]
    for key in ("state_dict", "optimizer_states", "global_step", "place"):
        if not equal(states[0][key], states[1][key]):
            found.append(f"last.ckpt {key}")
    for name in ("train/metrics/metrics.csv", "average/model.safetensors"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            found.append(name)
    names = [
        sorted(path.name for path in (one_of / "train" / "checkpoints").iterdir()) for one_of in (one, other)
    ]
    return found + ([] if names[0] == names[1] else [f"checkpoints {names}"])


def equal(one: Any, other: Any) -> bool:
    """Equal to the last bit, also tensors in lists and dicts."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def main() -> None:
    """Exits with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = make_corpus(folder / "LibriSpeech")
        configs = {}
        for name in ("whole", "killed"):
            config = tiny_config(corpus, folder / name)
            config["model"]["encoder"] |= {"dropout": 0.1, "d_model": 16, "d_ff": 32}
            config["model"]["decoder"] |= {"dropout": 0.1, "drop_path": 0.1, "d_model": 16, "d_ff": 32}
            config["train"] |= {"epochs": 6, "accumulate": 2, "cache_gib": 0.0}
            configs[name] = folder / f"{name}.yaml"
            configs[name].write_text(yaml.safe_dump(config))
        if run(configs["whole"]):
            raise SystemExit("the uninterrupted run failed")
        often = "train.checkpoint_minutes=0.0001"
        if run(configs["killed"], often, "--stop-stage", "stats"):
            raise SystemExit("the stages before the training failed")
        names = [name for _ in range(options.kills) for name in rng.sample(list(MOMENTS), len(MOMENTS))]
        for kills, name in enumerate(names[: options.kills]):
            owner, function, most = MOMENTS[name]
            call, workers = rng.randint(1, most), 2 * (kills % 2)
            code = run(configs["killed"], often, f"train.workers={workers}", moment=(owner, function, call))
            if code != -signal.SIGKILL:
                raise SystemExit(f"after {kills} kills: exit code {code}, wanted a kill in {name}")
            print(f"kill {kills + 1}: in {name}, call {call}, {workers} workers", flush=True)
        if run(configs["killed"], often):
            raise SystemExit("the last run failed")
        found = differences(folder / "whole", folder / "killed")
        print(
            "different: " + ", ".join(found) if found else f"{options.kills} kills: the same to the last bit"
        )
        raise SystemExit(int(bool(found)))


if __name__ == "__main__":
    main()
