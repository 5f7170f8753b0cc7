"""One single-input single-output SSM a channel: what S4D, DSS, S4 and LSSL have in common."""

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers.chunk import (
    Blocks,
    advance,
    block_size,
    convolve_blocks,
    convolve_both,
    convolve_one,
    products,
    run_blocks,
    to_channels,
    to_frames,
)
from s4speech.layers.sequence import (
    FrozenLayer,
    StateSpaceLayer,
    check_causal,
    check_rate,
    check_rows,
    length_mask,
    recurrent,
)
from s4speech.layers.ssm import DISCRETIZATIONS


class SISOState(NamedTuple):
    """hidden: (B, H, M) real; a conjugate pair is two neighbours, real part and imaginary part."""

    hidden: Tensor


class SISO(StateSpaceLayer):
    """Channels that do not see each other, plus a skip D u. Mixing channels is the block's work.

    n_ssm: number of different A; channel h uses A[h mod n_ssm]. discretization: zoh | bilinear.
    dt_min, dt_max: the steps start log-uniform between them; dt_states: 1 step a channel, or one a mode.
    modes, paired: size of C, and whether each of its entries stands for a conjugate pair, complex (two
    numbers). A layer is its `blocks`; everything else follows from them. Raises ValueError naming the option.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_ssm: int,
        discretization: str,
        dt_min: float,
        dt_max: float,
        dt_states: int,
        modes: int,
        paired: bool,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        check_ssm_options(d_model, n_ssm, discretization, dt_min, dt_max)
        self.d_model, self.n_ssm = d_model, n_ssm
        self.discretization, self.bidirectional = discretization, bidirectional
        self.log_dt = nn.Parameter(log_uniform((d_model, dt_states), dt_min, dt_max))
        directions = 2 if bidirectional else 1
        shape = (directions, d_model, modes)
        self.c = nn.Parameter(torch.randn(*shape, 2) * 0.5**0.5 if paired else torch.randn(shape))
        self.d = nn.Parameter(torch.randn(d_model))

    @abstractmethod
    def blocks(self, size: int, rate: float = 1.0) -> Blocks:
        """The matrices of `size` frames at `rate`, from the parameters, differentiable."""

    @abstractmethod
    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """Convolution kernel (directions, H, length) without the skip."""

    def per_channel(self, value: Tensor) -> Tensor:
        """(n_ssm, ...) -> (H, ...): channel h has number h mod n_ssm."""
        return value.repeat(self.d_model // self.n_ssm, *([1] * (value.dim() - 1)))

    def step_sizes(self, rate: float) -> Tensor:
        """dt times rate, (H, 1) or (H, N). Raises ValueError unless 0 < rate < inf."""
        check_rate(rate)
        return torch.exp(self.log_dt) * rate

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        x = autocast_input(x)
        if x.numel() == 0:
            return x
        # the matrices are made in float32, whatever the products are
        with torch.autocast(x.device.type, enabled=False):
            if lengths is not None:  # also if causal: padding may hold anything, even nan
                x = x.masked_fill(~length_mask(lengths, x.shape[1]).unsqueeze(-1), 0.0)
            return self.convolve(x, rate)

    def convolve(self, x: Tensor, rate: float) -> Tensor:
        """x (B, T, D) -> (B, T, D), in both directions if the layer has them."""
        t = x.shape[1]
        size = block_size(len(x), t)
        blocks = self.blocks(size, rate).with_skip(self.d)
        pad = -t % size
        u = to_channels(F.pad(x, (0, 0, 0, pad)) if pad else x)
        if t == size:
            y = convolve_one(u, blocks, self.bidirectional)
        else:
            y = convolve_both(u, blocks) if self.bidirectional else convolve_blocks(u, blocks)[0]
        return to_frames(y)[:, :t]

    def forward_state(self, x: Tensor, state: SISOState, rate: float = 1.0) -> tuple[Tensor, SISOState]:
        check_causal(self.bidirectional)
        check_rows(x, state.hidden, self.d_model)
        x = autocast_input(x)
        if x.numel() == 0:
            return x, state
        with torch.autocast(x.device.type, enabled=False):
            u, hidden, t = to_channels(x), state.hidden.transpose(0, 1), x.shape[1]
            outputs = []
            size = block_size(len(x), t)
            whole = t - t % size
            for part in (u[..., :whole], u[..., whole:]):  # the rest is one shorter block
                if part.shape[-1]:
                    blocks = self.blocks(min(size, part.shape[-1]), rate).with_skip(self.d)
                    y, hidden = convolve_blocks(part, blocks, hidden)
                    outputs.append(y)
            return to_frames(torch.cat(outputs, -1)), SISOState(hidden.transpose(0, 1))

    @torch.no_grad()
    def freeze(self, rate: float = 1.0) -> "FrozenSISO":
        return FrozenSISO(*self.recurrence(rate))

    def recurrence(self, rate: float) -> tuple[Blocks, list[Blocks]]:
        """Blocks of one frame, and of each of FrozenSISO.SIZES. Raises ValueError if bidirectional."""
        check_causal(self.bidirectional)
        one, *many = (self.blocks(size, rate).with_skip(self.d) for size in (1, *FrozenSISO.SIZES))
        return one, many


class FrozenSISO(FrozenLayer):
    """The recurrence: `step` by blocks of one frame, `scan` by the largest of SIZES that fit."""

    SIZES = (16, 4)
    TOGETHER = 64  # blocks: their states are kept until their outputs are read

    def __init__(self, one: Blocks, many: list[Blocks]) -> None:
        self.feedthrough = one.taps[0, :, 0].clone()  # (H,)
        self.drive, self.transition = one.drive[:, 0].contiguous(), one.transition
        self.readout = one.readout[0, ..., 0].contiguous()  # (H, M)
        self.many = [
            (*(m.contiguous() for m in products(blocks, self.readout.dtype)), blocks.transition)
            for blocks in many
        ]

    def init_state(self, batch: int) -> SISOState:
        return SISOState(self.readout.new_zeros(batch, *self.readout.shape))

    @recurrent
    def step(self, x: Tensor, state: SISOState) -> tuple[Tensor, SISOState]:
        check_rows(x, state.hidden, len(self.feedthrough))
        x = x.to(self.feedthrough.dtype)
        y = torch.linalg.vecdot(state.hidden, self.readout) + x * self.feedthrough
        return y, SISOState(torch.addcmul(self.move(state.hidden), x.unsqueeze(-1), self.drive))

    def move(self, hidden: Tensor) -> Tensor:
        """hidden (B, H, M) -> A_bar hidden."""
        return advance(hidden.transpose(0, 1), self.transition).transpose(0, 1)

    @recurrent
    def scan(self, x: Tensor, state: SISOState) -> tuple[Tensor, SISOState]:
        check_rows(x, state.hidden, len(self.feedthrough))
        x = x.to(self.feedthrough.dtype)
        if x.numel() == 0:
            return x, state
        outputs, start, t = [], 0, x.shape[1]
        for local, inward, outward, transition in self.many:
            size = len(local[0])
            whole = start + (t - start) // size * size
            for first in range(start, whole, self.TOGETHER * size):
                u = to_channels(x[:, first : min(first + self.TOGETHER * size, whole)])
                hidden = state.hidden.transpose(0, 1).contiguous()
                framed = u.view(len(u), -1, size)
                y, _, after = run_blocks(framed, local, inward, outward, transition, hidden)
                outputs.append(to_frames(y.view_as(u)))
                state = SISOState(after.transpose(0, 1).contiguous())
            start = whole
        if start < t:
            y, state = super().scan(x[:, start:], state)
            outputs.append(y)
        return torch.cat(outputs, 1), state


def autocast_input(x: Tensor) -> Tensor:
    """In the dtype of products under autocast, where that is on."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def check_ssm_options(d_model: int, n_ssm: int, discretization: str, dt_min: float, dt_max: float) -> None:
    """Raises ValueError naming the option that is out of its range."""
    if d_model < 1:
        raise ValueError(f"d_model: got {d_model}, wanted >= 1")
    if n_ssm < 1 or d_model % n_ssm:
        raise ValueError(f"n_ssm: got {n_ssm}, wanted a divisor of d_model {d_model}")
    if discretization not in DISCRETIZATIONS:
        raise ValueError(
            f"discretization: got {discretization!r}, wanted one of {', '.join(DISCRETIZATIONS)}"
        )
    if not 0 < dt_min <= dt_max < math.inf:
        raise ValueError(f"dt_min, dt_max: got {dt_min}, {dt_max}, wanted 0 < dt_min <= dt_max, finite")


def log_uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Logarithms of random numbers that are log-uniform between low and high."""
    return torch.rand(shape) * (math.log(high) - math.log(low)) + math.log(low)
