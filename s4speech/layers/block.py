"""What turns sequence layers into networks: residual blocks, feed-forward, gating, dropout."""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers.sequence import FrozenLayer, Pointwise, SequenceLayer, frozen_copy
from s4speech.layers.state import State


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops a whole residual branch of a row with probability p."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return x * _keep(x, (x.shape[0], *([1] * (x.dim() - 1))), self.p)


class TiedDropout(nn.Module):
    """Dropout with one mask for all frames (B, 1, D): a random number a channel, not a frame."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return x * _keep(x, (x.shape[0], 1, x.shape[-1]), self.p)


def _keep(x: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    """Random 0 with probability p, else 1 / (1 - p)."""
    return torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1 - p).div_(1 - p)


class FeedForward(Pointwise):
    """Linear(D -> d_ff), activation, dropout, Linear(d_ff -> D).

    tied: one dropout mask for all frames; on a CPU an element-wise mask over long sequences costs more than
    the matrix products.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: type[nn.Module] = nn.GELU,
        *,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        drop = TiedDropout(dropout) if tied else nn.Dropout(dropout)
        self.net = nn.Sequential(nn.Linear(d_model, d_ff), activation(), drop, nn.Linear(d_ff, d_model))

    def pointwise(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


class GatedMix(Pointwise):
    """GELU, dropout, Linear(D -> 2D), GLU: mixes the channels of an SSM (Gu et al. 2022, S4 block)."""

    def __init__(self, d_model: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.d_model = d_model
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(d_model, 2 * d_model)

    def pointwise(self, x: Tensor) -> Tensor:
        return F.glu(self.project(self.dropout(F.gelu(x))), -1)


class Chain(SequenceLayer):
    """Sequence layers one after another; the state is the tuple of theirs."""

    def __init__(self, *layers: SequenceLayer) -> None:
        super().__init__()
        if not layers:
            raise ValueError("Chain needs at least one layer")
        self.d_model = layers[0].d_model
        for layer in layers:
            if layer.d_model != self.d_model:
                raise ValueError(f"d_model: got {layer.d_model} after {self.d_model} in one chain")
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        for layer in self.layers:
            x = layer(x, lengths, rate)
        return x

    def freeze(self, rate: float = 1.0) -> "FrozenChain":
        layers = cast(Iterable[SequenceLayer], self.layers)
        return FrozenChain([layer.freeze(rate) for layer in layers])


class FrozenChain(FrozenLayer):
    """The recurrent form of a `Chain`."""

    def __init__(self, layers: list[FrozenLayer]) -> None:
        self.layers = tuple(layers)

    def init_state(self, batch: int) -> State:
        return tuple(layer.init_state(batch) for layer in self.layers)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        states = []
        for layer, s in zip(self.layers, state, strict=True):
            x, s = layer.step(x, s)
            states.append(s)
        return x, tuple(states)

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        states = []
        for layer, s in zip(self.layers, state, strict=True):
            x, s = layer.scan(x, s)
            states.append(s)
        return x, tuple(states)


class Residual(SequenceLayer):
    """Pre-norm residual block: x + DropPath(Dropout(layer(LayerNorm(x))))."""

    def __init__(self, layer: SequenceLayer, *, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.d_model = layer.d_model
        self.norm = nn.LayerNorm(layer.d_model)
        self.layer = layer
        self.drop = nn.Sequential(nn.Dropout(dropout), DropPath(drop_path))

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        y: Tensor = x + self.drop(self.layer(self.norm(x), lengths, rate))
        return y

    def freeze(self, rate: float = 1.0) -> "FrozenResidual":
        return FrozenResidual(frozen_copy(self.norm), self.layer.freeze(rate))


class FrozenResidual(FrozenLayer):
    """The recurrent form of a `Residual`."""

    def __init__(self, norm: nn.LayerNorm, layer: FrozenLayer) -> None:
        self.norm, self.layer = norm, layer

    def init_state(self, batch: int) -> State:
        return self.layer.init_state(batch)

    @torch.inference_mode()
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self.layer.step(self.norm(x), state)
        return x + y, state

    @torch.inference_mode()
    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self.layer.scan(self.norm(x), state)
        return x + y, state
