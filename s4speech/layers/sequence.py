"""The law that every sequence layer obeys.

One module, two forms. `forward` runs in parallel over time and trains; `freeze()` gives a recurrent form
whose constants are computed once. For the same parameters, in eval mode:

    forward(x) == repeated step == scan under any chunking

State is passed in and returned, never stored on a module, so a frozen layer is immutable and can be shared
between threads, streams and beam hypotheses.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from s4speech.layers.state import State

M = TypeVar("M", bound=nn.Module)
F = TypeVar("F", bound=Callable[..., Any])


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


class ParameterGroup(TypedDict):
    """What torch optimisers take: parameters with options of their own."""

    params: list[nn.Parameter]
    lr: float
    weight_decay: float
    name: str


SSM_LR = (
    1e-3  # the dynamics of an SSM are unstable at larger rates (Gu et al. 2022, arXiv 2206.11893, appendix B)
)


class StateSpaceLayer(SequenceLayer):
    """A sequence layer x' = A x + B u, y = C x + D u, discretised with a trained step dt."""

    @abstractmethod
    def ssm_parameters(self) -> list[nn.Parameter]:
        """Parameters of the state dynamics (A, B, dt): trained at their own rate, without weight decay."""

    @abstractmethod
    def forward_state(self, x: Tensor, state: State, rate: float = 1.0) -> tuple[Tensor, State]:
        """The parallel form continued from a state: x (B, T, D) -> y (B, T, D), the state after it.

        State as `freeze(rate)` has it; gradients flow through it. Raises ValueError for a layer that is not
        causal, naming the option that made it so.
        """

    def parameter_groups(self, lr: float, ssm_lr: float | None = None) -> list[ParameterGroup]:
        """Groups for an optimiser: ssm at `ssm_lr` (default min(lr, 1e-3)), readout (C, D) at `lr`.

        Neither decays. `s4speech.train.optim.parameter_groups` does this for every layer of a model.
        """
        dynamics = self.ssm_parameters()
        known = {id(p) for p in dynamics}
        readout = [p for p in self.parameters() if id(p) not in known]
        rate = min(lr, SSM_LR) if ssm_lr is None else ssm_lr
        return [
            {"params": dynamics, "lr": rate, "weight_decay": 0.0, "name": "ssm"},
            {"params": readout, "lr": lr, "weight_decay": 0.0, "name": "readout"},
        ]


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


def recurrent(method: F) -> F:
    """Of `step` and `scan`: without gradients, and in the dtype of the constants whatever autocast says."""

    @functools.wraps(method)
    def wrapped(self: FrozenLayer, x: Tensor, *rest: Any, **options: Any) -> Any:
        with torch.inference_mode():
            if not torch.is_autocast_enabled(x.device.type):
                return method(self, x, *rest, **options)
            with torch.autocast(x.device.type, enabled=False):
                return method(self, x, *rest, **options)

    return wrapped  # type: ignore[return-value]


def check_rows(x: Tensor, hidden: Tensor, d_model: int) -> None:
    """Raises ValueError unless x (B, ..., d_model) and a state have equally many rows."""
    if x.shape[-1] != d_model:
        raise ValueError(f"x: got {x.shape[-1]} channels, wanted d_model {d_model}")
    if len(x) != len(hidden):
        raise ValueError(f"state: got {len(hidden)} rows, wanted {len(x)}, one a row of x")


def check_causal(bidirectional: bool) -> None:
    """Raises ValueError for a layer that hears the future."""
    if bidirectional:
        raise ValueError("bidirectional: got true, wanted false: only a causal layer has a state")


def check_rate(rate: float) -> None:
    """Raises ValueError unless 0 < rate < inf."""
    if not 0 < rate < float("inf"):
        raise ValueError(f"rate: got {rate}, wanted > 0, finite")


def frozen_copy(module: M) -> M:
    """A deep copy in eval mode without gradients: later training of `module` does not reach it."""
    return deepcopy(module).eval().requires_grad_(False)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """lengths (B,) -> (B, size) bool, true on valid frames."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)
