"""Letters to sound: a small network that says the words which the lexicon lacks."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from s4speech.config.asr import Layers, Positive, PositiveFloat, Probability
from s4speech.config.base import StrictModel, dump_config, load_config
from s4speech.config.layer import DiagonalInit, StateSize
from s4speech.errors import InputError
from s4speech.layers import S4D, Chain, FeedForward, GatedMix, Residual
from s4speech.models.loading import as_half, build_checked, load_tensors, save_tensors
from s4speech.search.ctc import ctc_greedy
from s4speech.text.phonemes import BEGIN, END, PAUSES, SYMBOLS, VOWELS, spell
from s4speech.text.tokenizer import BLANK

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PHONES = tuple(symbol for symbol in SYMBOLS if symbol not in (BEGIN, END, *PAUSES))
# Two hundred letters are no word; the network saw at most some thirty, and its time grows with the length.
LONGEST = 60


class G2PConfig(StrictModel):
    """[S4D both ways with gated mix, feed-forward] x letter_layers over letters, then x phone_layers.

    copies: frames of phones a letter; a word whose letters have more phones than that cannot be said right.
    phones: the inventory that the output layer was trained for.
    """

    d_model: Positive = 128
    letter_layers: Layers = 3
    phone_layers: Layers = 1
    copies: Annotated[int, Field(ge=1, le=8)] = 2
    d_ff: Positive = 256
    d_state: StateSize = 16
    init: DiagonalInit = "legs"
    dt_min: PositiveFloat = 0.05
    dt_max: PositiveFloat = 1.0
    dropout: Probability = 0.0
    phones: tuple[str, ...] = PHONES


class G2PPackageConfig(StrictModel):
    """config.yaml of the directory."""

    task: Literal["g2p"] = "g2p"
    language: str = "en"
    model: G2PConfig


class G2P(nn.Module):
    """Letters -> log-probabilities of CTC (Graves et al. 2006) over phones, `copies` frames a letter."""

    def __init__(self, config: G2PConfig) -> None:
        """Raises ValueError naming the option."""
        super().__init__()
        if config.phones != PHONES:
            raise ValueError("phones: not the inventory of this version of s4speech; train it again")
        self.config = config
        self.embedding = nn.Embedding(len(LETTERS), config.d_model)
        self.letter_layers = nn.ModuleList(_blocks(config, config.letter_layers))
        self.expand = nn.Linear(config.d_model, config.copies * config.d_model)
        self.phone_layers = nn.ModuleList(_blocks(config, config.phone_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.output = nn.Linear(config.d_model, 1 + len(PHONES))

    def forward(self, letters: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """letters (B, T) 0..25, lengths (B,) -> log-probs (B, copies T, 1 + phones) float32, valid frames."""
        x: Tensor = self.embedding(letters)
        for layer in self.letter_layers:
            x = layer(x, lengths)
        x = self.expand(x).reshape(len(x), -1, self.config.d_model)
        lengths = lengths * self.config.copies
        for layer in self.phone_layers:
            x = layer(x, lengths)
        return self.output(self.norm(x)).float().log_softmax(-1), lengths

    @torch.inference_mode()
    def pronounce(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """Phones of each word (a-z, at least one letter) by the most probable path; may be empty.

        A word's phones do not depend on the words beside it.
        """
        if not words:
            return []
        rows = [torch.tensor([LETTERS.index(letter) for letter in word]) for word in words]
        lengths = torch.tensor([len(row) for row in rows])
        log_probs, frames = self(nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)
        return [
            tuple(PHONES[label - BLANK - 1] for label in best.tokens)
            for best in ctc_greedy(log_probs, frames)
        ]


def _blocks(config: G2PConfig, n_layers: int) -> list[nn.Module]:
    d_model, dropout = config.d_model, config.dropout
    layers: list[nn.Module] = []
    for _ in range(n_layers):
        ssm = S4D(
            d_model,
            config.d_state,
            config.init,
            dt_min=config.dt_min,
            dt_max=config.dt_max,
            bidirectional=True,
        )
        layers.append(Residual(Chain(ssm, GatedMix(d_model, dropout)), dropout=dropout))
        layers.append(Residual(FeedForward(d_model, config.d_ff, dropout), dropout=dropout))
    return layers


def ctc_loss(log_probs: Tensor, frames: Tensor, targets: Tensor, sizes: Tensor) -> Tensor:
    """Mean over words of -log P(phones | letters); targets (sum of sizes,), 1 + index in PHONES."""
    losses = F.ctc_loss(
        log_probs.transpose(0, 1), targets, frames, sizes, BLANK, reduction="none", zero_infinity=True
    )
    return losses.mean()


def save_g2p(folder: Path, model: G2P, card: str) -> None:
    """Write config.yaml, model.safetensors (float16) and README.md (the card) into an existing folder."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    (folder / "config.yaml").write_text(dump_config(G2PPackageConfig(model=model.config)), "utf-8")
    save_tensors(folder / "model.safetensors", as_half(state))
    (folder / "README.md").write_text(card, "utf-8")


def load_model(folder: Path) -> G2P:
    """The network in eval mode. Raises InputError naming the file: missing, damaged, of another model."""
    config = load_config(G2PPackageConfig, folder / "config.yaml")
    model = build_checked(lambda: G2P(config.model), folder / "config.yaml")
    model.load_state_dict(load_tensors(folder / "model.safetensors", model.state_dict()))
    return model.eval().requires_grad_(False)


def load_g2p(folder: str | Path) -> Callable[[str], tuple[str, ...]]:
    """The letter-to-sound rules of a directory: a word (a-z, not empty) -> its phones, at least one.

    Words are remembered; may be called by several threads. What no word is (no vowel in what the network
    says, or too long) is spelled. Raises InputError naming the file: missing, damaged, of another model.
    """
    model = load_model(Path(folder))

    @lru_cache(maxsize=4096)
    def pronounce(word: str) -> tuple[str, ...]:
        if not word or set(word) - set(LETTERS):
            raise InputError(f"word {word!r}: wanted letters a-z")
        said = model.pronounce([word])[0] if len(word) <= LONGEST else ()
        return said if any(phone[-1] in VOWELS for phone in said) else spell(word)

    return pronounce
