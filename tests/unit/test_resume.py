"""Continuing a training: which checkpoints stay."""

from pathlib import Path

import pytest
import torch

from s4speech.train.resume import Place, last_checkpoint


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("000-0.5.ckpt", "001-0.6.ckpt", "note.txt"):
        (folder / name).write_bytes(b"")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_no_folder_yet(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None


def test_killed_before_the_first_last_checkpoint(checkpoints: Path) -> None:
    assert last_checkpoint(checkpoints.parent) is None
    assert names(checkpoints) == {"note.txt"}


def test_what_the_last_checkpoint_does_not_know_goes(checkpoints: Path) -> None:
    last = checkpoints / "last.ckpt"
    best = {"/elsewhere/000-0.5.ckpt": torch.tensor(0.5)}
    callbacks = {"ModelCheckpoint": {"best_k_models": best}, "other": {}}
    torch.save({"callbacks": callbacks, "place": Place(epoch=1, number=8)._asdict()}, last)
    (checkpoints / "last.ckpt.tmp").touch()
    assert last_checkpoint(checkpoints.parent) == last
    assert names(checkpoints) == {"000-0.5.ckpt", "last.ckpt", "note.txt"}


def test_what_a_moved_experiment_has_forgotten_stays(checkpoints: Path) -> None:
    last = checkpoints / "last.ckpt"
    for name in ("002-0.7.ckpt", "001-0.6-v1.ckpt"):
        (checkpoints / name).touch()
    torch.save({"callbacks": {"ModelCheckpoint": {"best_k_models": {}}}, "epoch": 1}, last)
    assert last_checkpoint(checkpoints.parent) == last
    assert names(checkpoints) == {
        "000-0.5.ckpt",
        "001-0.6.ckpt",
        "001-0.6-v1.ckpt",
        "last.ckpt",
        "note.txt",
    }
