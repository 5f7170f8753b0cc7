"""A training that is killed, or asked to stop, ends as one that is not: to the last bit."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse import CutSet

from s4speech.train.asr import ASRTask
from tests.conftest import message
from tests.tiny_training import losses, make_cuts, train, weights

OFTEN = {"checkpoint_minutes": 1e-6}  # between any two steps


def in_a_process(function: Callable[[], object]) -> int:
    """Its exit code: 0, that of SystemExit, or minus the signal that killed it."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 0
    try:
        function()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stderr.flush()
    os._exit(code)


def signal_in(owner: Any, name: str, call: int, number: int, half: bool = False) -> None:
    """This process gets a signal in that call of a function; half: the file that it writes is half there."""
    original, calls = getattr(owner, name), 0

    def signalled(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            if half:
                original(*args, **options)
                os.truncate(args[1], os.path.getsize(args[1]) // 2)
            os.kill(os.getpid(), number)
        return original(*args, **options)

    setattr(owner, name, signalled)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> CutSet:
    return make_cuts(tmp_path_factory.mktemp("audio"), 16)


@pytest.fixture(scope="module")
def whole(cuts: CutSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    assert in_a_process(lambda: train(folder, cuts)) == 0
    assert len(losses(folder)) >= 16
    return folder


def assert_same(folder: Path, whole: Path) -> None:
    wanted, found = weights(whole), weights(folder)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert losses(folder) == losses(whole)
    metrics = [one / "metrics" / "metrics.csv" for one in (folder, whole)]
    assert metrics[0].read_text() == metrics[1].read_text()
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == sorted(
        p.name for p in (whole / "checkpoints").iterdir()
    )


# each training: where it is stopped, the exit code, the keys with which it goes on
STOPPED: dict[str, tuple[tuple[Any, ...], int, dict[str, Any]]] = {
    "in a step": ((ASRTask, "training_step", 11, signal.SIGKILL), -9, {"workers": 2}),
    "writing a checkpoint": ((torch, "save", 2, signal.SIGKILL, True), -9, {}),
    "between two names": ((os, "replace", 2, signal.SIGKILL), -9, {}),
    "in a validation": ((ASRTask, "validation_step", 2, signal.SIGKILL), -9, {}),
    "asked to stop": ((ASRTask, "training_step", 6, signal.SIGTERM), 143, {}),
    "asked to in a validation": ((ASRTask, "validation_step", 2, signal.SIGUSR1), 143, {}),
}


@pytest.mark.parametrize(("where", "code", "then"), STOPPED.values(), ids=STOPPED)
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(
    where: tuple[Any, ...], code: int, then: dict[str, Any], cuts: CutSet, whole: Path, tmp_path: Path
) -> None:
    asked = code == 143  # then it is saved without being due
    options = {} if asked and where[1] == "training_step" else OFTEN

    def stopped() -> None:
        signal_in(*where)
        train(tmp_path, cuts, **options)

    assert in_a_process(stopped) == code
    saved = (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert saved or where[1] == "replace"
    made = len((tmp_path / "losses.0.jsonl").read_text().splitlines())
    assert in_a_process(lambda: train(tmp_path, cuts, **then)) == 0
    assert_same(tmp_path, whole)
    again = len((tmp_path / "losses.0.jsonl").read_text().splitlines()) - len(losses(tmp_path))
    assert again < 8 <= made + 7  # less than two steps are made again


def test_half_a_checkpoint_gives_way_to_the_one_before(cuts: CutSet, whole: Path, tmp_path: Path) -> None:
    def killed() -> None:
        signal_in(ASRTask, "training_step", 14, signal.SIGKILL)
        train(tmp_path, cuts, **OFTEN)

    assert in_a_process(killed) == -9
    last = tmp_path / "checkpoints" / "last.ckpt"
    os.truncate(last, last.stat().st_size // 2)
    assert in_a_process(lambda: train(tmp_path, cuts)) == 0
    assert_same(tmp_path, whole)


def test_no_checkpoint_that_can_be_read(cuts: CutSet, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"PK")
    told = message(lambda: train(tmp_path, cuts))
    assert "last.ckpt: cannot be read" in told and "nor is there one before it" in told


def test_a_training_that_is_over_is_over(cuts: CutSet, whole: Path, tmp_path: Path) -> None:
    before = (whole / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    task = train(whole, cuts)
    assert (whole / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert task.steps == len(losses(whole)) // 4 and task.trained_s > 0
