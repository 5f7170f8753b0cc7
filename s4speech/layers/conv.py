"""Causal depthwise convolution over time."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers.sequence import FrozenLayer, SequenceLayer, frozen_copy

_SMALL = 1 << 18  # products that are made at once: beyond, memory costs more than conv1d


class ConvState(NamedTuple):
    """past: (B, kernel_size - 1, D), the last inputs."""

    past: Tensor


class CausalConv(SequenceLayer):
    """Each channel convolved with its own filter of `kernel_size` frames, the current one last."""

    def __init__(self, d_model: int, kernel_size: int = 15) -> None:
        super().__init__()
        if kernel_size < 1:
            raise ValueError(f"kernel_size: got {kernel_size}, wanted >= 1")
        self.d_model, self.kernel_size = d_model, kernel_size
        self.filter = nn.Conv1d(d_model, d_model, kernel_size, groups=d_model)

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        padded = F.pad(x.transpose(1, 2), (self.kernel_size - 1, 0))
        y: Tensor = self.filter(padded)
        return y.transpose(1, 2)

    def freeze(self, rate: float = 1.0) -> "FrozenCausalConv":
        return FrozenCausalConv(self)


class FrozenCausalConv(FrozenLayer):
    """The recurrent form: the last inputs are the state."""

    def __init__(self, layer: CausalConv) -> None:
        self.layer = frozen_copy(layer)
        self._weight = self.layer.filter.weight[:, 0].t().contiguous()  # (kernel_size, D)
        assert self.layer.filter.bias is not None
        self._bias = self.layer.filter.bias

    def init_state(self, batch: int) -> ConvState:
        return ConvState(self._weight.new_zeros(batch, self.layer.kernel_size - 1, self.layer.d_model))

    @torch.inference_mode()
    def step(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        y, state = self.scan(x.unsqueeze(1), state)
        return y.squeeze(1), state

    @torch.inference_mode()
    def scan(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        if x.shape[1] == 0:
            return x, state
        window = torch.cat([state.past, x], 1)
        if x.numel() * len(self._weight) <= _SMALL:  # conv1d takes longer to begin than to compute
            frames = window.unfold(1, len(self._weight), 1).transpose(2, 3)  # (B, T, kernel_size, D)
            y: Tensor = (frames * self._weight).sum(2) + self._bias
        else:
            y = self.layer.filter(window.transpose(1, 2)).transpose(1, 2)
        return y, ConvState(window[:, x.shape[1] :])
