"""Configuration of a language model recipe: egs/CORPUS/lm/*.yaml."""

from pydantic import model_validator

from recipes.asr.config import PackageConfig
from recipes.context import Device
from recipes.download import DownloadingConfig
from s4speech.config.asr import Positive
from s4speech.config.base import StrictModel
from s4speech.config.lm import AnyLMConfig, LMTrainConfig, S4LMConfig, TextConfig


class EvaluateConfig(StrictModel):
    """Perplexity of the held-out sentences and of each of `texts`, files as `text.path` is.

    context: sentences that are read one after another; each is also scored by itself. batch_tokens: that are
    scored together, padding included. device: auto is a GPU where there is one.
    """

    texts: list[str] = []
    context: Positive = 20
    batch_tokens: Positive = 32_768
    device: Device = "auto"


class LMRecipe(DownloadingConfig):
    """A whole recipe. tokenizer: tokenizer.model of the recogniser that the language model is for."""

    tokenizer: str
    text: TextConfig
    model: AnyLMConfig = S4LMConfig()
    train: LMTrainConfig = LMTrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    package: PackageConfig

    @model_validator(mode="after")
    def _an_epoch_has_a_batch(self) -> "LMRecipe":
        got, batch = self.train.epoch_tokens, self.train.batch_size * self.text.length
        if got is not None and got < batch:
            raise ValueError(f"train.epoch_tokens: got {got}, wanted at least a batch, {batch} tokens")
        return self

    @model_validator(mode="after")
    def _the_tokenizer_decides(self) -> "LMRecipe":
        if self.model.vocab_size is not None:
            raise ValueError(f"model.vocab_size: got {self.model.vocab_size}, wanted null")
        return self
