"""The law that every sequence layer obeys.

One module, two forms. `forward` runs in parallel over time and trains; `freeze()` gives a recurrent form
whose constants are computed once. For the same parameters, in eval mode:

    forward(x) == repeated step == scan under any chunking

State is passed in and returned, never stored on a module, so a frozen layer is immutable and can be shared
between threads, streams and beam hypotheses.
"""

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from s4speech.layers.state import State

M = TypeVar("M", bound=nn.Module)


class FrozenLayer(ABC):
    """Recurrent form of a layer: constants only."""

    @abstractmethod
    def init_state(self, batch: int) -> State:
        """State of `batch` rows before the first frame; every leaf has the batch on dim 0."""

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame: x (B, D), state of B rows -> y (B, D), new state."""

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """A chunk: x (B, T, D) with any T >= 0, state of B rows -> y (B, T, D), new state."""
        outputs = []
        for t in range(x.shape[1]):
            y, state = self.step(x[:, t], state)
            outputs.append(y)
        return (torch.stack(outputs, 1) if outputs else x), state


class SequenceLayer(nn.Module, ABC):
    """Maps a sequence (B, T, D) to a sequence of the same shape."""

    d_model: int

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Parallel form.

        x: (B, T, D). lengths: (B,) valid frames; right padding never changes valid frames, and what comes out
        in padded frames is unspecified. rate: the time between two frames as a multiple of the one trained
        with (2.0: input at half the sample rate); layers without a notion of time ignore it.
        """

    @abstractmethod
    def freeze(self, rate: float = 1.0) -> FrozenLayer:
        """Constants of the recurrent form at `rate`, detached from the parameters as they are now.

        Raises ValueError for a layer that is not causal, naming the option that made it so.
        """


class Pointwise(SequenceLayer):
    """A layer without memory: every frame on its own. Its recurrent state is the empty tuple."""

    @abstractmethod
    def pointwise(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        return self.pointwise(x)

    def freeze(self, rate: float = 1.0) -> FrozenLayer:
        return _FrozenPointwise(self)


class _FrozenPointwise(FrozenLayer):
    def __init__(self, layer: Pointwise) -> None:
        self.layer = frozen_copy(layer)

    def init_state(self, batch: int) -> State:
        return ()

    @torch.inference_mode()
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layer.pointwise(x), state

    @torch.inference_mode()
    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layer.pointwise(x), state


def frozen_copy(module: M) -> M:
    """A deep copy in eval mode without gradients: later training of `module` does not reach it."""
    return deepcopy(module).eval().requires_grad_(False)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """lengths (B,) -> (B, size) bool, true on valid frames."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)
