"""last.ckpt of several processes: none goes on before it is there, none leaves a validation alone."""

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from s4speech.errors import Stopped
from s4speech.train.curves import Curves
from s4speech.train.saver import Saver, StopRequest


def trainer_of(world: int, rank: int = 0) -> Any:
    trainer = MagicMock(
        world_size=world, is_global_zero=rank == 0, current_epoch=1, global_step=4, loggers=[]
    )
    trainer.checkpoint_callback.best_k_models = {}
    trainer.save_checkpoint = lambda path: path.write_bytes(b"whole")
    return trainer


@pytest.fixture
def stop() -> StopRequest:
    return StopRequest()


@pytest.fixture
def saver(tmp_path: Path, stop: StopRequest) -> Saver:
    (tmp_path / "checkpoints").mkdir()
    return Saver(tmp_path, 10.0, Curves(tmp_path / "metrics.csv", 0), stop)


def test_processes_wait_for_the_name_of_the_file(saver: Saver, tmp_path: Path) -> None:
    trainer = trainer_of(2)
    last = tmp_path / "checkpoints" / "last.ckpt"
    seen: list[bytes] = []
    trainer.strategy.barrier = lambda: seen.append(last.read_bytes())
    saver.on_train_end(trainer, MagicMock())
    assert seen == [b"whole"]
    other = trainer_of(2, rank=1)
    saver.on_train_end(other, MagicMock())
    other.strategy.barrier.assert_called_once_with()


def test_only_a_single_process_leaves_a_validation(saver: Saver, stop: StopRequest) -> None:
    def batch_of(world: int) -> None:
        saver.on_validation_batch_end(trainer_of(world), MagicMock(), None, None, 0)

    batch_of(1)
    stop.made = True
    batch_of(2)
    with pytest.raises(Stopped):
        batch_of(1)
