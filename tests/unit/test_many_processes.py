"""A recipe that several processes run: the first one does everything, the others train with it."""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from rich.console import Console

from recipes import lm
from recipes import stage as engine
from recipes.stage import Stage, run_stages
from s4speech.config import StrictModel
from s4speech.data.processes import Launched, TookPart


class Config(StrictModel):
    lr: float = 0.1


@dataclass
class Toy:
    """prepare -> train -> score; `ran` says who ran what."""

    config: Config = field(default_factory=Config)
    ran: list[tuple[str, str]] = field(default_factory=list)
    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=20))

    def stages(self) -> list["Stage[Toy]"]:
        return [
            Stage("prepare", step("prepare")),
            Stage("train", train, ("lr",), needs=("prepare",), training=True),
            Stage("score", step("score"), needs=("train",)),
        ]


def step(name: str):  # type: ignore[no-untyped-def]
    def run(toy: Toy, folder: Path) -> None:
        time.sleep(0.05)
        toy.ran.append((threading.current_thread().name, name))

    return run


def train(toy: Toy, folder: Path) -> None:
    toy.ran.append((threading.current_thread().name, "train"))
    toy.meeting.wait()  # as processes of a training do
    if threading.current_thread().name == "1":
        raise TookPart


def test_the_first_process_runs_the_stages_and_the_others_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POLL_S", 0.01)
    monkeypatch.setattr(engine, "launched", lambda: Launched(int(threading.current_thread().name), 2, True))

    def run(toy: Toy) -> list[tuple[str, str]]:
        toy.ran.clear()
        threads = [
            threading.Thread(
                target=run_stages,
                args=(toy.stages(), toy, tmp_path),
                kwargs={"console": Console(quiet=True)},
                name=str(rank),
                daemon=True,
            )
            for rank in (1, 0)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads)
        return sorted(toy.ran)

    everything = [("0", "prepare"), ("0", "score"), ("0", "train"), ("1", "train")]
    assert run(Toy()) == everything
    assert run(Toy()) == []
    assert run(Toy(Config(lr=0.2))) == [one for one in everything if one[1] != "prepare"]


def test_a_process_that_the_first_one_has_started_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "launched", lambda: Launched(1, 2))
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            monkeypatch.setattr(os, "getppid", lambda: 1)

    monkeypatch.setattr(time, "sleep", sleep)

    def run(stop_stage: str | None = None) -> int:
        toy = Toy()
        console = Console(quiet=True)
        assert run_stages(toy.stages(), toy, tmp_path, stop_stage=stop_stage, console=console) == []
        assert toy.ran == []
        return len(naps)

    assert run(stop_stage="prepare") == 0  # nothing to train
    assert run() == 3  # the first process is no more


def test_ngrams_are_counted_by_the_first_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [train_stage] = [one for one in lm.STAGES if one.name == "train"]
    context, counted = MagicMock(spec=["ngram"]), MagicMock()
    monkeypatch.setattr(lm, "estimate_ngrams", counted)
    monkeypatch.setattr(lm, "launched", lambda: Launched(1, 2, outside=True))
    with pytest.raises(TookPart):
        train_stage.run(context, tmp_path)
    counted.assert_not_called()
    monkeypatch.setattr(lm, "launched", lambda: Launched(0, 2, outside=True))
    train_stage.run(context, tmp_path)
    counted.assert_called_once_with(context, tmp_path, context.ngram)
