"""Every recipe that is shipped prints its plan on a machine with no data and no network."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from s4speech.config import load_config
from tests.conftest import REPOSITORY
from tests.e2e.test_shipped import CONFIGS, RECIPE_FILES, name, recipe_of, stages

Run = Callable[..., tuple[int, str, str]]
SHIPPED = ["egs", "s4speech"]  # recipes and bundled models


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what is shipped and nothing else, on a machine that reaches nobody."""

    def refuse(*_: object) -> None:
        raise AssertionError("a dry run asked the network")

    for folder in SHIPPED:
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


@pytest.mark.parametrize("path", RECIPE_FILES, ids=name)
def test_a_dry_run_needs_no_data(bare: Path, recipes_here: Run, path: Path) -> None:
    code, plan, errors = recipes_here(path, "--dry-run", recipe=recipe_of(path))
    assert (code, errors) == (0, "")
    config = load_config(CONFIGS[recipe_of(path)], path)
    assert f"plan for {config.exp_dir}" in " ".join(plan.split())  # a title is as wide as its table
    told = {line.split("│")[1].strip() for line in plan.splitlines() if line.startswith("│")}
    assert told == stages(config)
    assert "waits for " in plan or recipe_of(path) == "classify"  # those of sequences make their own data
    assert sorted(one.name for one in bare.iterdir()) == SHIPPED
