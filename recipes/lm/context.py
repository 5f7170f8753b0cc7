"""What the stages of the language model recipe share: the tokenizer and the model."""

from functools import cached_property
from pathlib import Path
from typing import cast

import torch

from recipes.context import RecipeContext, check_device, check_trainer, find_device
from recipes.lm.config import LMRecipe
from s4speech.config.lm import AnyLMConfig, LMConfig, NgramLMConfig
from s4speech.errors import InputError
from s4speech.models.lm import LanguageModel
from s4speech.models.loading import BUILD_ERRORS, first_line
from s4speech.text.tokenizer import Tokenizer
from s4speech.train.trainer import average_checkpoints, best_checkpoints


class LMContext(RecipeContext[LMRecipe]):
    """One run of the language model recipe."""

    @property
    def tokenizer_path(self) -> Path:
        """Where the prepare stage keeps it: the model belongs to these pieces."""
        return self.exp_dir / "prepare" / "tokenizer.model"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.tokenizer_path)

    def rows_path(self, part: str) -> Path:
        """Token ids of train or valid."""
        return self.exp_dir / "prepare" / f"{part}.npy"

    @property
    def ngram(self) -> NgramLMConfig | None:
        """The model, if it is counted and not trained."""
        model = self.config.model
        return model if isinstance(model, NgramLMConfig) else None

    def model_config(self) -> AnyLMConfig:
        """With the size of the vocabulary."""
        return self.config.model.model_copy(update={"vocab_size": self.tokenizer.vocab_size})

    def build_model(self) -> LanguageModel:
        """A fresh model, of layers."""
        return LanguageModel(cast(LMConfig, self.model_config()))

    def check_model(self) -> None:
        """Find out before the first stage that the model cannot be built. Raises InputError."""
        if self.ngram is not None:
            return
        try:
            with torch.random.fork_rng(devices=[]):
                LanguageModel(cast(LMConfig, self.config.model.model_copy(update={"vocab_size": 3})))
        except BUILD_ERRORS as error:
            raise InputError(f"model: {first_line(error)}; correct it in the recipe's YAML") from error

    def trained_model(self) -> LanguageModel:
        """The best checkpoints by validation loss, averaged. Raises InputError: there is none."""
        paths = best_checkpoints(self.checkpoints, self.config.train.keep, mode="min")
        if not paths:
            where = self.checkpoints
            raise InputError(f"{where}: no checkpoint; delete {where.parent} and train again")
        model = self.build_model()
        model.load_state_dict(average_checkpoints(paths))
        return model.eval().requires_grad_(False)

    @property
    def evaluate_device(self) -> torch.device:
        return find_device(self.config.evaluate.device)

    def check_trainer(self) -> None:
        """Raises InputError: `train` wants GPUs that are not there."""
        if self.ngram is None:
            check_trainer(self.config.train)

    def check_evaluate(self) -> None:
        """Raises InputError: `evaluate.device` is not there."""
        check_device(self.config.evaluate.device, "evaluate.device")
