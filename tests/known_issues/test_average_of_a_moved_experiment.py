"""A training continued in a moved folder left its early checkpoints behind, and all of them were averaged."""

from pathlib import Path

from s4speech.train.trainer import best_checkpoints

NAMES = ("015-0.9319", "023-0.7653", "029-0.6460", "029-0.6460-v1", "031-0.6397", "last", "last-v1")


def test_only_the_best_are_averaged(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.ckpt").touch()
    low = best_checkpoints(tmp_path, keep=3, mode="min")
    assert {path.stem for path in low} == {"029-0.6460", "029-0.6460-v1", "031-0.6397"}
    high = best_checkpoints(tmp_path, keep=2, mode="max")
    assert {path.stem for path in high} == {"015-0.9319", "023-0.7653"}
    assert best_checkpoints(tmp_path / "none", keep=10, mode="max") == []
