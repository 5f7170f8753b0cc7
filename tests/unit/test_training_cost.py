"""The training cost report, on a model whose numbers can be had by hand."""

import json
from pathlib import Path

import pytest
import yaml

from s4speech.train.memory import GIB, FixedBytes, Shape
from tests.conftest import tiny_config
from tools.training_cost import Cost, batch_that_fits, by_second, epoch_minutes, main


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config(tmp_path / "corpus", tmp_path / "exp")))
    return path


def test_the_report(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "cost.json"
    size = ("--duration-s", "1", "--rows", "2", "--steps", "3", "--utilisation", "0.5")
    assert main([str(recipe), "train.lr=0.01", *size, "--json", str(output)]) == 0
    found = json.loads(output.read_text())
    parameters = found["parameters"]
    assert parameters["total"] == sum(parameters.values()) - parameters["total"]
    assert found["bytes"]["gradients"] == 4 * parameters["total"] == found["bytes"]["optimizer"] / 2
    assert found["audio"] == "noise"  # there is no corpus
    # 25 frames a second go forward (2 operations a weight) and backward (4) through most of the weights
    assert 6 * 25 * 0.5 < found["flop"]["a_second"] / parameters["total"] < 6 * 25 * 3
    assert 0 < found["saved"]["bf16-mixed"]["a_second"] < found["saved"]["32-true"]["a_second"]
    losses = [step["loss"] for step in found["steps"]]
    assert len(losses) == 3 and losses[-1] < losses[0]
    shown = capsys.readouterr().out
    assert "ESTIMATE" in shown and "50% used" in shown


def test_recordings_are_taken_where_they_are(recipe: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "cost.json"
    options = ("--duration-s", "3", "--rows", "2", "--steps", "1", "--json", str(output))
    assert main([str(recipe), f"corpus.root={tiny_corpus}", *options]) == 0
    assert json.loads(output.read_text())["audio"] == f"recordings of {tiny_corpus}"


def test_estimates_by_hand() -> None:
    assert epoch_minutes(30e9, 960, 8, 312, 0.1) == pytest.approx(30e9 * 960 * 3600 / (8 * 312e11) / 60)
    fixed = FixedBytes(GIB, GIB, 2 * GIB)  # 4 of 9 GiB; a fifth of the rest for temporary results
    assert batch_that_fits(fixed, Cost(0.5 * GIB, GIB / 100), 10) == pytest.approx(350)
    assert batch_that_fits(fixed, Cost(0.5 * GIB, GIB / 100), 4) == 0
    cost = by_second(lambda shape: 7 + 3 * shape.rows * shape.duration_s, Shape(9, 2.0, 1))
    assert cost == Cost(7, 3)


def test_bad_input_is_one_line(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recipe), "train.lr=x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("training_cost: ") and error.count("\n") == 1
    with pytest.raises(SystemExit):
        main([str(recipe), "--duration-s", "0"])
