"""What the stages of the classification recipe share: the task's data and the model."""

from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from recipes.classify.config import ClassifyRecipe
from recipes.context import RecipeContext, check_device, check_trainer, find_device
from s4speech.config.classify import CopyConfig, DelayConfig, ListOpsConfig, SpeechCommandsConfig
from s4speech.data.augment import Augmentation
from s4speech.data.classify import TaskData
from s4speech.data.sequential import copy_task, delay_task, listops_task
from s4speech.data.speech_commands import SAMPLE_RATE_HZ, speech_commands_task
from s4speech.errors import InputError
from s4speech.models.classify import build_classifier, check_rate
from s4speech.models.loading import BUILD_ERRORS, first_line
from s4speech.train.trainer import average_checkpoints, best_checkpoints


class ClassifyContext(RecipeContext[ClassifyRecipe]):
    """One run of the classification recipe."""

    @cached_property
    def data(self) -> TaskData:
        """The task's parts, ready to be read many times."""
        return self.load_task(cache=True)

    def load_task(self, cache: bool) -> TaskData:
        """The task's parts; cache: a corpus may be kept in memory. Raises InputError: data is not there."""
        task = self.config.task
        options = task.model_dump(exclude={"type"})
        match task:
            case SpeechCommandsConfig():
                augment = options.pop("augment")
                if augment is not None:
                    noise = augment.pop("noise")
                    augment = Augmentation(**augment, noise=None if noise is None else Path(noise))
                options["root"] = Path(task.root)
                options["cache"] = cache and task.cache
                return speech_commands_task(**options, augmentation=augment, seed=self.config.train.seed)
            case ListOpsConfig():
                return listops_task(**options)
            case CopyConfig():
                return copy_task(**options)
            case DelayConfig():
                return delay_task(**options)

    def build_model(self) -> nn.Module:
        """A fresh model for the task's inputs and classes. Raises InputError: sizes that do not fit."""
        return self._build(len(self.data.classes), self.data.vocab_size, self.data.per_frame)

    def check_model(self) -> None:
        """Find out before the first stage that the model cannot be built, or hear a test part.

        Raises InputError.
        """
        task = self.config.task
        waveform = isinstance(task, SpeechCommandsConfig)
        with torch.random.fork_rng(devices=[]):
            self._build(2, None if waveform else 2, isinstance(task, CopyConfig | DelayConfig))
        for rate in task.test_rates if isinstance(task, SpeechCommandsConfig) else ():
            try:
                check_rate(self.config.model, SAMPLE_RATE_HZ / rate)
            except ValueError as error:
                raise InputError(f"task.test_rates: {rate} Hz: {error}; leave it out") from error

    def _build(self, classes: int, vocab_size: int | None, per_frame: bool) -> nn.Module:
        try:
            return build_classifier(self.config.model, classes, vocab_size, per_frame)
        except BUILD_ERRORS as error:
            raise InputError(f"model: {first_line(error)}; correct it in the recipe's YAML") from error

    def trained_model(self) -> tuple[nn.Module, Path]:
        """The best checkpoint by validation accuracy, in eval mode, and where it is.

        Raises InputError: there is none.
        """
        paths = best_checkpoints(self.checkpoints, keep=1, mode="max")
        if not paths:
            where = self.checkpoints
            raise InputError(f"{where}: no checkpoint; delete {where.parent} and train again")
        model = self.build_model()
        model.load_state_dict(average_checkpoints(paths))
        return model.eval().requires_grad_(False).to(self.evaluate_device), paths[0]

    @property
    def evaluate_device(self) -> torch.device:
        return find_device(self.config.evaluate.device)

    def check_trainer(self) -> None:
        """Raises InputError: `train` wants GPUs that are not there."""
        check_trainer(self.config.train)

    def check_evaluate(self) -> None:
        """Raises InputError: `evaluate.device` is not there."""
        check_device(self.config.evaluate.device, "evaluate.device")
