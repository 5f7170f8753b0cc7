"""S4D: a diagonal state space model for each channel (Gu et al. 2022, arXiv 2206.11893)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from s4speech.layers.hippo import diagonal_init
from s4speech.layers.sequence import FrozenLayer, SequenceLayer, length_mask
from s4speech.layers.ssm import DISCRETIZATIONS, diagonal_kernel, discretize, fft_convolve


class S4DState(NamedTuple):
    """hidden: (B, H, N) complex, one of each conjugate pair (real eigenvalues: the whole state)."""

    hidden: Tensor


class S4D(SequenceLayer):
    """Diagonal SSM, one input and one output a channel, plus a skip D u. Mixing channels is the block's work.

    d_state: N, size of the real state (N/2 conjugate pairs). init: legs | inv | lin | real.
    n_ssm: number of different A; channel h uses A[h mod n_ssm]. discretization: zoh | bilinear.
    dt_min, dt_max: the step of each channel starts log-uniform between them.
    B is folded into C: in a diagonal model only their product matters.
    Raises ValueError naming the option.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        init: str = "legs",
        *,
        n_ssm: int = 1,
        discretization: str = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if n_ssm < 1 or d_model % n_ssm:
            raise ValueError(f"n_ssm: got {n_ssm}, wanted a divisor of d_model {d_model}")
        if discretization not in DISCRETIZATIONS:
            raise ValueError(
                f"discretization: got {discretization!r}, wanted one of {', '.join(DISCRETIZATIONS)}"
            )
        if not 0 < dt_min <= dt_max:
            raise ValueError(f"dt_min, dt_max: got {dt_min}, {dt_max}, wanted 0 < dt_min <= dt_max")
        self.d_model, self.d_state, self.init, self.n_ssm = d_model, d_state, init, n_ssm
        self.discretization, self.bidirectional = discretization, bidirectional
        a = diagonal_init(init, d_state).repeat(n_ssm, 1)
        dtype = torch.get_default_dtype()
        self.log_a_real = nn.Parameter(torch.log(-a.real).to(dtype))
        self.log_dt = nn.Parameter(
            torch.rand(d_model) * (math.log(dt_max) - math.log(dt_min)) + math.log(dt_min)
        )
        directions = 2 if bidirectional else 1
        modes = a.shape[1]
        if init == "real":
            self.register_parameter("a_imag", None)
            self.c = nn.Parameter(torch.randn(directions, d_model, modes, 1))
        else:
            self.a_imag = nn.Parameter(a.imag.to(dtype))
            self.c = nn.Parameter(torch.randn(directions, d_model, modes, 2) * 0.5**0.5)
        self.d = nn.Parameter(torch.randn(d_model))

    def ssm_parameters(self) -> list[nn.Parameter]:
        """Parameters of the state dynamics (A, dt): trained at their own rate, without weight decay."""
        return [p for p in (self.log_a_real, self.a_imag, self.log_dt) if p is not None]

    def discrete(self, rate: float) -> tuple[Tensor, Tensor]:
        """(log A_bar (H, N) complex, C B_bar (directions, H, N) complex); y = Re sum_n C B_bar x.

        Raises ValueError unless rate > 0.
        """
        if not rate > 0:
            raise ValueError(f"rate: got {rate}, wanted > 0")
        real = -torch.exp(self.log_a_real)
        if self.a_imag is None:
            a, c = torch.complex(real, torch.zeros_like(real)), torch.view_as_complex(_with_zero(self.c))
        else:
            a, c = torch.complex(real, self.a_imag), 2 * torch.view_as_complex(self.c)
        a = a.repeat(self.d_model // self.n_ssm, 1)
        log_a_bar, b_bar = discretize(a, torch.exp(self.log_dt).unsqueeze(-1) * rate, self.discretization)
        return log_a_bar, c * b_bar

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """Convolution kernel (directions, H, length) without the skip."""
        log_a_bar, c_bar = self.discrete(rate)
        return diagonal_kernel(log_a_bar, c_bar, length)

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        # FFT and kernel need float32 under autocast
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.d.dtype)
            if lengths is not None:  # also if causal: the FFT's rounding is relative to the largest frame
                u = u.masked_fill(~length_mask(lengths, u.shape[1]).unsqueeze(-1), 0.0)
            u = u.transpose(1, 2)
            kernel = self.kernel(u.shape[-1], rate)
            y = fft_convolve(u, kernel[0])
            if self.bidirectional:
                y = y + fft_convolve(u.flip(-1), kernel[1]).flip(-1)
            y = y + u * self.d.unsqueeze(-1)
        return y.transpose(1, 2).to(x.dtype)

    @torch.no_grad()
    def freeze(self, rate: float = 1.0) -> "FrozenS4D":
        if self.bidirectional:
            raise ValueError("bidirectional: got true, wanted false: only a causal layer has a state")
        log_a_bar, c_bar = self.discrete(rate)
        return FrozenS4D(log_a_bar, c_bar[0], self.d.clone())


class FrozenS4D(FrozenLayer):
    """Recurrence x_l = A_bar x_{l-1} + u_l, y_l = Re(C B_bar x_l) + D u_l; B_bar is folded into C.

    `scan` runs in blocks of BLOCK frames: inside a block the output is a small Toeplitz product, the carried
    state enters through powers of A_bar.
    """

    BLOCK = 16

    def __init__(self, log_a_bar: Tensor, c_bar: Tensor, d: Tensor) -> None:
        steps = torch.arange(self.BLOCK + 1, dtype=d.dtype, device=d.device)
        powers = torch.exp(log_a_bar.unsqueeze(-1) * steps)  # (H, N, BLOCK + 1)
        self.a_bar, self.c_bar, self.d = powers[..., 1].contiguous(), c_bar, d
        self.powers = powers
        self.readout = c_bar.unsqueeze(-1) * powers[..., 1:]  # state before the block -> its outputs
        taps = (c_bar.unsqueeze(-1) * powers[..., :-1]).real.sum(1)  # (H, BLOCK)
        taps[:, 0] += d
        lag = torch.arange(self.BLOCK, device=d.device)
        lag = lag.unsqueeze(0) - lag.unsqueeze(1)  # [source, target]
        self.toeplitz = torch.where(lag >= 0, taps[:, lag.clamp(min=0)], torch.zeros((), dtype=d.dtype))

    def init_state(self, batch: int) -> S4DState:
        return S4DState(self.a_bar.new_zeros(batch, *self.a_bar.shape))

    @torch.inference_mode()
    def step(self, x: Tensor, state: S4DState) -> tuple[Tensor, S4DState]:
        hidden = torch.addcmul(x.unsqueeze(-1).to(self.a_bar.dtype), state.hidden, self.a_bar)
        y = torch.linalg.vecdot(self.c_bar.conj(), hidden).real + x * self.d
        return y, S4DState(hidden)

    @torch.inference_mode()
    def scan(self, x: Tensor, state: S4DState) -> tuple[Tensor, S4DState]:
        hidden = state.hidden.transpose(0, 1)  # (H, B, N): channels are the batch of every product
        outputs = []
        for block in torch.split(x.permute(2, 0, 1), self.BLOCK, dim=-1):  # (H, B, t)
            t = block.shape[-1]
            y = block @ self.toeplitz[:, :t, :t] + (hidden @ self.readout[..., :t]).real
            drive = self.powers[..., :t].flip(-1).transpose(1, 2)  # (H, t, N)
            hidden = hidden * self.powers[..., t].unsqueeze(1) + block.to(drive.dtype) @ drive
            outputs.append(y)
        if not outputs or x.shape[1] == 0:
            return x, state
        return torch.cat(outputs, -1).permute(1, 2, 0), S4DState(hidden.transpose(0, 1).contiguous())


def _with_zero(real: Tensor) -> Tensor:
    """(..., 1) -> (..., 2) with a zero imaginary part."""
    return torch.cat([real, torch.zeros_like(real)], -1)
