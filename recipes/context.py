"""What the stages of every recipe share: the config, where things lie, which device."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import torch
from rich.console import Console

from s4speech.config.base import StrictModel
from s4speech.config.train import TrainerConfig
from s4speech.errors import InputError
from s4speech.train.strategy import check_processes

Device = Literal["auto", "cpu", "cuda"]


class RecipeConfig(StrictModel):
    """Every recipe. exp_dir: where its results go, relative to the working directory."""

    exp_dir: str


R = TypeVar("R", bound=RecipeConfig)


@dataclass(frozen=True)
class RecipeContext(Generic[R]):
    """One run of a recipe. command: as the user typed it."""

    config: R
    console: Console
    command: str

    @property
    def exp_dir(self) -> Path:
        return Path(self.config.exp_dir)

    @property
    def checkpoints(self) -> Path:
        """Where the train stage keeps them."""
        return self.exp_dir / "train" / "checkpoints"

    def say(self, text: str) -> None:
        """Print a line as it is: paths are neither broken nor coloured."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def check_trainer(train: TrainerConfig, section: str = "train") -> None:
    """Raises InputError: the config section `train` wants GPUs, or processes, that are not there."""
    check_processes(train)
    there = max(torch.cuda.device_count(), int(torch.backends.mps.is_available()))
    if train.accelerator == "gpu" and there < train.devices:
        key = "devices" if there else "accelerator"
        wanted = f"got gpu with {train.devices} devices, there are {there}"
        raise InputError(
            f"{section}.{key}: {wanted}; set {section}.accelerator=auto, or fewer {section}.devices"
        )


def check_device(name: Device, key: str) -> None:
    """Raises InputError: the device that config key `key` names is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{key}: got cuda, there is no CUDA device; set {key}=auto")


def find_device(name: Device) -> torch.device:
    """auto: a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def commit() -> str:
    """The commit that is checked out, for a card."""
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not in a git checkout"
    return done.stdout.strip()
