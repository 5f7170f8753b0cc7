"""Configuration of a language model: the model, the text it is trained on, its training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from s4speech.config.asr import Layers, NotNegative, Positive, PositiveFloat, Probability
from s4speech.config.base import StrictModel
from s4speech.config.layer import DiagonalInit, StateSize
from s4speech.config.train import TrainerConfig


class S4LMConfig(StrictModel):
    """[S4D with gated mix, feed-forward] x n_layers, over tokens.

    dt: the step of each channel starts log-uniform in its range; with 1 it remembers about a token, with
    0.01 a hundred. vocab_size: null in a recipe, where the tokenizer decides.
    """

    type: Literal["s4"] = "s4"
    d_model: Positive = 256
    n_layers: Layers = 3
    d_ff: Positive = 1024
    d_state: StateSize = 32
    init: DiagonalInit = "legs"
    dt_min: PositiveFloat = 1e-2
    dt_max: PositiveFloat = 1.0
    dropout: Probability = 0.0
    vocab_size: Positive | None = None


class TransformerLMConfig(StrictModel):
    """[causal self-attention, feed-forward] x n_layers, over tokens, the baseline. Without positions, as
    ESPnet's LibriSpeech language model (Irie et al. 2019 found that causal attention needs none).

    window: tokens that a layer sees, the current one included (null: all, and a state that grows with them).
    """

    type: Literal["transformer"]
    d_model: Positive = 256
    n_layers: Layers = 3
    n_heads: Positive = 4
    d_ff: Positive = 1024
    window: Positive | None = 256
    dropout: Probability = 0.0
    vocab_size: Positive | None = None


class NgramLMConfig(StrictModel):
    """N-grams with modified Kneser-Ney smoothing (`s4speech.text.kneser_ney`).

    prune: for each order the count up to which n-grams are left out, never falling, 0 for the first; the last
    number counts for the orders above it, too. arpa: also write lm.arpa.gz, for other programs.
    """

    type: Literal["ngram"]
    order: Annotated[int, Field(ge=1, le=10)] = 6
    prune: list[NotNegative] = []
    arpa: bool = False
    vocab_size: Positive | None = None

    @model_validator(mode="after")
    def _thresholds(self) -> "NgramLMConfig":
        if len(self.prune) > self.order or any(self.prune[:1]) or sorted(self.prune) != self.prune:
            raise ValueError(
                f"prune: got {self.prune}, wanted at most {self.order} counts that never fall, the first 0"
            )
        return self


LMConfig = Annotated[S4LMConfig | TransformerLMConfig, Field(discriminator="type")]
AnyLMConfig = Annotated[S4LMConfig | TransformerLMConfig | NgramLMConfig, Field(discriminator="type")]


class TextConfig(StrictModel):
    """A text file, plain, .xz or .gz, one sentence a line, and what is made of it.

    normalize: as LibriSpeech writes text, or not at all. length: tokens a row. max_tokens: no more is read.
    Sentences are held out in blocks of `block` neighbours, of which every `hold_out`-th one is.
    """

    path: str
    normalize: Literal["english", "none"] = "english"
    length: Annotated[int, Field(ge=2)] = 256
    max_tokens: Positive | None = None
    block: Positive = 20
    hold_out: Annotated[int, Field(ge=2)] = 1000


class LMTrainConfig(TrainerConfig):
    """Training of a language model. The best checkpoint by validation loss is the result.

    batch_size: rows of the text. epoch_tokens: an epoch, after which there may be a validation and a
    checkpoint, reads so many tokens; the next one goes on from there (null: an epoch is the whole text).
    """

    batch_size: Positive = 32
    epoch_tokens: Positive | None = None
    optimizer: Literal["adamw", "muon"] = "muon"
    lr: PositiveFloat = 3e-3
    muon_lr: PositiveFloat = 5e-3
    schedule: Literal["linear", "cosine", "inverse_sqrt"] = "linear"
    warmup_steps: NotNegative = 200
    grad_clip: PositiveFloat = 1.0
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    keep: Positive = 1
