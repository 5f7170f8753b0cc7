"""The plan stage: the batch that fits, found once, and what the recipe does with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from recipes.asr import _training, plan, stages_of, training
from recipes.asr.config import ASRRecipe
from recipes.asr.context import ASRContext
from recipes.asr.plan import _joined
from s4speech.config.base import load_config
from s4speech.train.memory import Shape
from tests.conftest import Experiment, new_experiment, snapshot

Run = Callable[..., tuple[int, str, str]]
AUTO = ("train.max_duration_s=auto", "train.epochs=1", "train.cache_gib=0")


@pytest.fixture
def mine(tmp_path: Path, tiny_corpus: Path) -> Experiment:
    return new_experiment(tmp_path, tiny_corpus)


def planned(experiment: Experiment) -> dict[str, float]:
    found: dict[str, float] = json.loads((experiment.exp_dir / "plan" / "plan.json").read_text())
    return found


def verdicts(output: str) -> dict[str, str]:
    """Stage -> run or skip, from the table of a dry run."""
    rows = [[cell.strip() for cell in line.split("│")] for line in output.splitlines() if "│" in line]
    return {row[1]: row[2] for row in rows if len(row) > 3}


def test_found_once(recipes_here: Run, mine: Experiment) -> None:
    some, small = (mine.config, *AUTO), "train.memory_gib=0.011"
    code, output, error = recipes_here(*some, small, "--stop-stage", "plan")
    assert (code, error) == (0, "")
    assert "plan: run" in output and "s of audio a batch fit into" in output
    first = planned(mine)
    assert 2.6 < first["max_duration_s"] < 20
    before = snapshot(mine.exp_dir)
    code, output, _ = recipes_here(*some, small, "--stop-stage", "plan")
    assert code == 0 and "plan: skip" in output
    assert snapshot(mine.exp_dir) == before
    # what does not change the memory keeps the plan; more memory is a larger batch
    _, output, _ = recipes_here(*some, small, "train.lr=1e-3", "--dry-run")
    assert verdicts(output)["plan"] == "skip"
    code, output, _ = recipes_here(*some, "train.memory_gib=0.015", "--stop-stage", "plan")
    assert code == 0 and "plan: run" in output
    assert planned(mine)["max_duration_s"] > first["max_duration_s"]


def test_training_takes_the_plan(
    recipes_here: Run, mine: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipes_here(mine.config, *AUTO, "--stop-stage", "stats")[0] == 0
    context = ASRContext(load_config(ASRRecipe, mine.config, AUTO), Console(), "")
    (mine.exp_dir / "plan").mkdir()
    (mine.exp_dir / "plan" / "plan.json").write_text('{"max_duration_s": 5.5}')
    longest: list[float] = []

    def fit(task: Any, loader: Any, valid: Any, folder: Path, **options: Any) -> None:
        for batches in (loader.sampler, valid.sampler):
            longest.append(max(len(cuts) * max(cut.duration for cut in cuts) for cuts in batches))

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(training, "plot_learning_curves", lambda *arguments: None)
    training.train(context, tmp_path)
    assert all(3.0 < seconds < 2 * 5.5 for seconds in longest)


def test_an_utterance_that_does_not_fit_is_said(recipes_here: Run, mine: Experiment) -> None:
    code, _, error = recipes_here(mine.config, *AUTO, "train.memory_gib=0.001", "--stop-stage", "train")
    assert code == 2 and error.count("\n") == 1
    assert "train.max_duration_s" in error and "does not fit into 0.00 GiB" in error
    assert not (mine.exp_dir / "plan" / "plan.json").exists()


def test_a_plan_for_a_cpu_is_of_the_constants_it_was_made_with(
    mine: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ASRContext(load_config(ASRRecipe, mine.config, AUTO), Console(), "")
    before = plan._fingerprint(context)
    monkeypatch.setattr(plan, "CPU_WORKSPACE", 3.0)
    assert plan._fingerprint(context) != before
    monkeypatch.setattr(plan, "on_gpu", lambda config: True)
    assert "cpu" not in plan._fingerprint(context)


def test_a_recipe_with_a_number_is_as_it_was(mine: Experiment) -> None:
    def stages(*overrides: str) -> list[str]:
        return [stage.name for stage in stages_of(load_config(ASRRecipe, mine.config, overrides))]

    assert "plan" not in stages()
    assert stages(AUTO[0])[:5] == ["prepare", "doctor", "tokenizer", "stats", "plan"]
    config = load_config(ASRRecipe, mine.config, ["train.memory_gib=3"])
    assert "memory_gib" not in _training(ASRContext(config, None, ""))["train"]  # type: ignore[arg-type]


def test_joined_rows() -> None:
    assert _joined(Shape(5, 2.0, 7), 1) == [Shape(5, 2.0, 7)]
    assert _joined(Shape(5, 2.0, 7), 2) == [Shape(5, 2.0, 7), Shape(3, 4.0, 16)]
    assert _joined(Shape(2, 2.0, 7), 4) == [Shape(2, 2.0, 7), Shape(1, 4.0, 16)]
