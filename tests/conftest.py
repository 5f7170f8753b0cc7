"""What several tests need: the tiny corpus, the recipe as a command, and one finished run of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from s4speech.errors import InputError
from tests.e2e.corpus import make_corpus

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Ctrl-C reaches what is tested, also where a shell that runs pytest in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def message(run: Callable[[], object]) -> str:
    """The one line with which `run` refuses its input."""
    with pytest.raises(InputError) as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one_line(error: str) -> bool:
    """Standard error is what `s4speech` says to bad input."""
    return error.startswith("s4speech: ") and error.count("\n") == 1 and error.endswith("\n")


def run_command(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python COMMAND`` in the repository on one thread, as a user would; for its output as text."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def tiny_config(corpus: Path, exp_dir: Path) -> dict[str, Any]:
    """A whole recipe for the tiny corpus that trains for some seconds and makes no errors."""
    size = {"d_model": 48, "n_heads": 2, "d_ff": 96, "dropout": 0.0}
    return {
        "exp_dir": str(exp_dir),
        "corpus": {
            "name": "librispeech",
            "root": str(corpus),
            "train": ["train-tiny"],
            "valid": ["dev-tiny"],
            "test": ["test-tiny"],
        },
        "tokenizer": {"type": "char", "vocab_size": 9},
        "model": {
            "ctc_weight": 0.5,
            "specaugment": {"time_warp": 0, "freq_masks": 1, "freq_width": 4, "time_masks": 0},
            "encoder": {"subsampling": "conv1d", "n_layers": 2, "kernel_size": 7, **size},
            "decoder": {"type": "s4", "n_layers": 1, "d_state": 16, "drop_path": 0.0, **size},
        },
        "train": {
            "epochs": 12,
            "max_duration_s": 8.0,
            "speeds": [1.0],
            "lr": 5e-3,
            "schedule": "linear",
            "warmup_steps": 20,
            "accelerator": "cpu",
            "workers": 0,
            "cache_gib": 0.1,
            "keep": 3,
            "monitor": "valid/accuracy",
        },
        "decode": {"beam": 4, "ctc_weight": 0.4},
        "package": {"name": "tiny", "data": "tones", "licence": "Apache-2.0"},
    }


@dataclass(frozen=True)
class Experiment:
    """A recipe's configuration file and where its results go."""

    config: Path
    exp_dir: Path
    recipe: str = "asr"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the recipe as a command."""
        return run_command("-m", "recipes", self.recipe, self.config, *arguments)

    @property
    def model(self) -> Path:
        """The model directory."""
        return self.exp_dir / "package" / "tiny"


def new_experiment(folder: Path, corpus: Path) -> Experiment:
    """Write the tiny recipe into a folder."""
    experiment = Experiment(folder / "tiny.yaml", folder / "exp")
    experiment.config.write_text(yaml.safe_dump(tiny_config(corpus, experiment.exp_dir)))
    return experiment


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus; read only."""
    return make_corpus(tmp_path_factory.mktemp("corpus") / "LibriSpeech")


@pytest.fixture(scope="session")
def finished(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run of the whole recipe; read only."""
    experiment = new_experiment(tmp_path_factory.mktemp("finished"), tiny_corpus)
    done = experiment.run()
    (experiment.exp_dir / "terminal.txt").write_text(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return experiment


@pytest.fixture
def recipes_here(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``python -m recipes`` in this process: returns (exit code, standard output, standard error)."""
    from recipes.__main__ import main

    def run(*arguments: object, recipe: str = "asr") -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main([recipe, *map(str, arguments)])
        except SystemExit as end:  # wrong usage
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run
