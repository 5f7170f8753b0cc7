"""N-gram language models as scorers of a search: our own tables, or KenLM."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4speech.config.lm import NgramLMConfig
from s4speech.errors import InputError
from s4speech.text.arpa import read_arpa
from s4speech.text.ngram import ZERO, NgramModel
from s4speech.text.ngram_file import NAME, load_ngram
from s4speech.text.tokenizer import BLANK, EOS, SOS, UNKNOWN, Tokenizer

_NOTHING = -1  # in a state: before the first token
_LN10 = math.log(10)
_KENLM = b"mmap lm http://kheafield.com/code"  # how its binary files begin
_CACHED_ROWS = 2048  # 40 MB for 5000 tokens


class NgramLM:
    """A `Scorer` for any search; threads may share it. A state is (N, order - 1) int64: the last tokens read.

    <s>, </s> and <unk> of a file are SOS, EOS and UNKNOWN. A token that is not in it has the probability of
    <unk>, or 10^-99 without one. EOS as a token read begins a new sentence.
    """

    def __init__(self, path: str | Path, tokenizer: Tokenizer, device: torch.device | str = "cpu") -> None:
        """Read an ARPA file, plain or gzipped, an ngram.safetensors, or a model directory that has one.

        device: of the states and scores, for a search that works there; what is looked up is on the CPU.

        Raises InputError: unreadable, malformed, or not over the tokens of this tokenizer.
        """
        self.model = _read(Path(path), tokenizer)
        self.order = self.model.order
        self._device = torch.device(device)

    @property
    def config(self) -> NgramLMConfig:
        """What a model directory says of it."""
        return NgramLMConfig(type="ngram", order=self.order, vocab_size=self.model.vocab_size)

    def init_state(self, batch: int) -> Tensor:
        """State of `batch` rows that have read nothing."""
        return torch.full((batch, self.order - 1), _NOTHING, device=self._device)

    def score(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Reads tokens (N,), SOS first -> natural logs (N, V) float32 of the next, new state."""
        state = torch.cat([state, tokens[:, None]], dim=1)[:, 1:]
        rows = self.model.rows(state.cpu().numpy())
        rows *= _LN10
        return torch.from_numpy(rows).to(tokens.device), state


class KenLM:
    """A `Scorer` on KenLM (`pip install s4speech[lm]`), for its binary files; states as those of `NgramLM`.

    It asks KenLM for one token after the other, so it is the slower of the two: see
    egs/librispeech/lm/README.md.
    """

    def __init__(self, path: str | Path, tokenizer: Tokenizer, device: torch.device | str = "cpu") -> None:
        """Read an ARPA file or a binary file of KenLM. Raises InputError: no KenLM, or not a file for it."""
        try:
            import kenlm
        except ImportError as error:
            raise InputError(
                f"{path}: a binary file of KenLM is read by KenLM ({error}); pip install 's4speech[lm]', or"
                " give the ARPA file"
            ) from error
        try:
            config = kenlm.Config()
            config.show_progress = False
            self._model: Any = kenlm.Model(str(path), config)
        except (OSError, RuntimeError) as error:
            line = " ".join(str(error).split())
            raise InputError(f"{path}: KenLM cannot read it ({line}); build it again") from error
        self._kenlm, self.order = kenlm, int(self._model.order)
        self._words = list(tokenizer.pieces)
        self._words[UNKNOWN], self._words[EOS] = "<unk>", "</s>"
        if not any(word in self._model for word in self._words[EOS + 1 :]):
            raise InputError(f"{path}: none of the {tokenizer.vocab_size} tokens is in it; it is over others")
        self._row = lru_cache(_CACHED_ROWS)(self._compute_row)
        self._device = torch.device(device)

    def init_state(self, batch: int) -> Tensor:
        """State of `batch` rows that have read nothing."""
        return torch.full((batch, self.order - 1), _NOTHING, device=self._device)

    def score(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Reads tokens (N,), SOS first -> natural logs (N, V) float32 of the next, new state."""
        state = torch.cat([state, tokens[:, None]], dim=1)[:, 1:]
        rows = [self._row(_sentence(context)) for context in state.tolist()]
        return torch.from_numpy(np.stack(rows)).to(tokens.device), state

    def _compute_row(self, context: tuple[int, ...]) -> NDArray[np.float32]:
        model, before, after = self._model, self._kenlm.State(), self._kenlm.State()
        if context[:1] == (SOS,):
            model.BeginSentenceWrite(before)
        else:
            model.NullContextWrite(before)
        for token in context[context[:1] == (SOS,) :]:
            model.BaseScore(before, self._words[token], after)
            before, after = after, before
        row = np.array([model.BaseScore(before, word, after) for word in self._words], np.float32)
        row[BLANK] = ZERO
        return row * np.float32(_LN10)


def _sentence(context: list[int]) -> tuple[int, ...]:
    """What a context has read of the present sentence."""
    starts = [i for i, token in enumerate(context) if token == SOS]
    return tuple(token for token in context[starts[-1] if starts else 0 :] if token != _NOTHING)


def load_ngram_scorer(
    path: str | Path, tokenizer: Tokenizer, device: torch.device | str = "cpu"
) -> NgramLM | KenLM:
    """The scorer for a file or a model directory. Raises InputError, as they do."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(_KENLM)) == _KENLM:
                return KenLM(path, tokenizer, device)
    except OSError:  # a directory, or nothing there
        pass
    return NgramLM(path, tokenizer, device)


def _read(path: Path, tokenizer: Tokenizer) -> NgramModel:
    if path.is_dir():
        path = path / NAME
    if path.suffix != ".safetensors":
        return read_arpa(path, tokenizer.pieces)
    model = load_ngram(path)
    if model.vocab_size != tokenizer.vocab_size:
        raise InputError(
            f"{path}: a model of {model.vocab_size} tokens, the tokenizer has {tokenizer.vocab_size}; it"
            " belongs to another tokenizer"
        )
    return model
