"""Language models of S4D layers or self-attention: they score word pieces, alone or beside a recogniser."""

from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from s4speech.config.base import StrictModel, dump_config, load_config
from s4speech.config.files import read_yaml
from s4speech.config.lm import AnyLMConfig, LMConfig, NgramLMConfig, TransformerLMConfig
from s4speech.errors import InputError
from s4speech.layers import (
    S4D,
    CausalAttention,
    Chain,
    FeedForward,
    FrozenLayer,
    GatedMix,
    Residual,
    SequenceLayer,
    State,
)
from s4speech.layers.sequence import frozen_copy
from s4speech.models.directory import check_directory, check_lm
from s4speech.models.loading import as_half, build_checked, load_tensors, load_tokenizer, save_tensors
from s4speech.search.hypothesis import Scorer
from s4speech.search.ngram import KenLM, NgramLM, load_ngram_scorer
from s4speech.text.ngram_file import NAME as NGRAMS
from s4speech.text.tokenizer import Tokenizer


def _mixer(config: LMConfig) -> SequenceLayer:
    """What carries the past: one sublayer of a block."""
    if isinstance(config, TransformerLMConfig):
        return CausalAttention(config.d_model, config.n_heads, window=config.window)
    ssm = S4D(config.d_model, config.d_state, config.init, dt_min=config.dt_min, dt_max=config.dt_max)
    return Chain(ssm, GatedMix(config.d_model, config.dropout))


class LanguageModel(nn.Module):
    """Embedding, n x [S4D with gated mix or causal self-attention, feed-forward], norm, output layer; no
    positions."""

    def __init__(self, config: LMConfig) -> None:
        """Raises ValueError naming the option; `vocab_size` must be set."""
        super().__init__()
        if config.vocab_size is None:
            raise ValueError("vocab_size: got null, wanted the number of tokens")
        d_model, dropout = config.d_model, config.dropout
        self.config, self.vocab_size = config, config.vocab_size
        self.embedding = nn.Embedding(config.vocab_size, d_model)
        self.layers = nn.ModuleList()
        for _ in range(config.n_layers):
            self.layers.append(Residual(_mixer(config), dropout=dropout))
            self.layers.append(Residual(FeedForward(d_model, config.d_ff, dropout), dropout=dropout))
        self.norm = nn.LayerNorm(d_model)
        self.output = nn.Linear(d_model, config.vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, U) -> logits (B, U, V) of the token after each."""
        x: Tensor = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.output(self.norm(x))
        return logits

    def freeze(self) -> "FrozenLM":
        """Constants of the recurrent form; immutable, safe to share between threads."""
        return FrozenLM(self)


class FrozenLM:
    """A language model with its constants computed once: a `Scorer` of the searches."""

    def __init__(self, model: LanguageModel) -> None:
        self.vocab_size = model.vocab_size
        self.embedding, self.norm = frozen_copy(model.embedding), frozen_copy(model.norm)
        self.output = frozen_copy(model.output)
        layers = cast(list[SequenceLayer], list(model.layers))
        self.layers: tuple[FrozenLayer, ...] = tuple(layer.freeze() for layer in layers)

    def init_state(self, batch: int) -> State:
        """State of `batch` rows that have read nothing: the first token is <sos>."""
        return tuple(layer.init_state(batch) for layer in self.layers)

    @torch.inference_mode()
    def score(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One token a row, (N,) int64 -> log-probs (N, V) float32 of the next, the state after it."""
        x, states = self.embedding(tokens), []
        for layer, before in zip(self.layers, state, strict=True):
            x, after = layer.step(x, before)
            states.append(after)
        return self._log_probs(x), tuple(states)

    @torch.inference_mode()
    def scan(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Known tokens (N, U) at once -> log-probs (N, U, V) float32 of what follows each, the last state."""
        x, states = self.embedding(tokens), []
        for layer, before in zip(self.layers, state, strict=True):
            x, after = layer.scan(x, before)
            states.append(after)
        return self._log_probs(x), tuple(states)

    def _log_probs(self, x: Tensor) -> Tensor:
        log_probs: Tensor = self.output(self.norm(x)).float().log_softmax(-1)
        return log_probs


class LMPackageConfig(StrictModel):
    """config.yaml of a language model."""

    task: Literal["lm"] = "lm"
    language: str = "en"
    model: AnyLMConfig


def save_lm(
    folder: Path,
    config: LMPackageConfig,
    model: LanguageModel,
    tokenizer_model: Path,
    card: str,
    *,
    half: bool = False,
) -> None:
    """Write a model directory into an existing, empty folder.

    It has config.yaml, model.safetensors, tokenizer.model and README.md (the model card). half: weights as
    float16; `load_lm` makes float32 of them.
    """
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if half:
        state = as_half(state)
    (folder / "config.yaml").write_text(dump_config(config), "utf-8")
    save_tensors(folder / "model.safetensors", state)
    (folder / "tokenizer.model").write_bytes(tokenizer_model.read_bytes())
    (folder / "README.md").write_text(card, "utf-8")


def load_lm(folder: str | Path) -> tuple[LanguageModel, LMPackageConfig]:
    """A language model in eval mode, and its config; its tokens are those of the tokenizer.model beside it.

    Raises InputError naming the file: missing, of another model, damaged, or not what its name says.
    """
    folder = Path(folder)
    config = load_config(LMPackageConfig, folder / "config.yaml")
    load_tokenizer(folder, config.model.vocab_size)
    if isinstance(config.model, NgramLMConfig):
        raise InputError(f"{folder}: an n-gram model, wanted one of layers; load it with load_scorer")
    return build_lm(config.model, folder / "config.yaml", folder / "model.safetensors"), config


def load_scorer(path: str | Path, tokenizer: Tokenizer, device: torch.device | str = "cpu") -> Scorer:
    """A language model over the tokens of `tokenizer`, for shallow fusion in any search.

    path: a model directory of a language model, or of a recogniser with one in it; or an n-gram file over the
    tokens.

    Raises InputError naming the file: missing, damaged, or over the tokens of another tokenizer.
    """
    lm = load_language_model(path, tokenizer, device)
    return lm.to(device).freeze() if isinstance(lm, LanguageModel) else lm


def load_language_model(
    path: str | Path, tokenizer: Tokenizer, device: torch.device | str = "cpu"
) -> LanguageModel | NgramLM | KenLM:
    """What `load_scorer` reads, as it can be packaged. device: of n-grams."""
    path = Path(path)
    if not path.is_dir():
        return load_ngram_scorer(path, tokenizer, device)
    own = Tokenizer.load(path / "tokenizer.model")
    if own.pieces != tokenizer.pieces:
        raise InputError(
            f"language model {path}: its {own.vocab_size} tokens are not the {tokenizer.vocab_size} of the"
            " recogniser; train it with the recogniser's tokenizer.model"
        )
    if (path / NGRAMS).is_file():
        return load_ngram_scorer(path, tokenizer, device)
    if read_yaml(path / "config.yaml").get("task") == "asr":
        # imports this module
        from s4speech.models.package import ASRPackageConfig, load_lm_inside

        check_lm(path)
        check_directory(path)
        inside = load_config(ASRPackageConfig, path / "config.yaml").lm
        assert inside is not None  # `check_lm`
        return load_lm_inside(path, inside, tokenizer, device)
    return load_lm(path)[0]


def build_lm(config: LMConfig, path: Path, weights: Path) -> LanguageModel:
    """The language model of a config in the file `path`, in eval mode, with weights from a file.

    Raises InputError naming the file.
    """
    model = build_checked(lambda: LanguageModel(config), path)
    model.load_state_dict(load_tensors(weights, model.state_dict()))
    return model.eval().requires_grad_(False)
