"""S5: one multi-input multi-output SSM for all channels (Smith et al. 2023, arXiv 2208.04933)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s4speech.layers.hippo import diagonal_init, dplr
from s4speech.layers.scan import linear_scan
from s4speech.layers.sequence import (
    FrozenLayer,
    StateSpaceLayer,
    check_causal,
    check_rate,
    check_rows,
    length_mask,
    recurrent,
)
from s4speech.layers.siso import check_ssm_options, log_uniform
from s4speech.layers.ssm import discretize, pairs, realify


class S5State(NamedTuple):
    """hidden: (B, N) real; a conjugate pair is two neighbours, real part and imaginary part."""

    hidden: Tensor


class S5(StateSpaceLayer):
    """x' = A x + B u, y = C x + D u: A diagonal; B (N, D), C (D, N) dense, so channels mix in the state.

    d_state: N, the size of the whole state. init: legs (n_blocks blocks of HiPPO-N, the normal part of LegS),
    inv, lin (the same, in blocks), complex eigenvalues in conjugate pairs; real: N real ones. dt_tie: one
    step for all states, else one each. discretization: zoh | bilinear. bidirectional: a second C reads the
    states of the reversed input; such a layer has no state. Raises ValueError naming the option.

    `time_steps` (B, T): the time since the frame before, as a multiple of the trained step, for irregular
    samples (the paper, on irregular sampling).
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        init: str = "legs",
        *,
        n_blocks: int = 1,
        discretization: str = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        dt_tie: bool = False,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if n_blocks < 1 or d_state % n_blocks:
            raise ValueError(f"n_blocks: got {n_blocks}, wanted a divisor of d_state {d_state}")
        check_ssm_options(d_model, 1, discretization, dt_min, dt_max)
        self.d_model, self.d_state, self.init, self.n_blocks = d_model, d_state, init, n_blocks
        self.discretization, self.bidirectional = discretization, bidirectional
        self.paired = init != "real"
        a = diagonal_init(init, d_state // n_blocks)
        n_b = torch.randn(n_blocks, d_state // n_blocks, d_model) * d_model**-0.5
        directions = 2 if bidirectional else 1
        n_c = torch.randn(directions, d_model, n_blocks, d_state // n_blocks) * d_state**-0.5
        if self.paired:
            # LegS: real B and C of the HiPPO basis; other eigenvalues have no such basis, any unitary one
            # will do
            basis = dplr("legs", d_state // n_blocks).basis.to(torch.get_default_dtype().to_complex())
            n_b, n_c = (
                torch.view_as_real(v) for v in (basis.mH @ n_b.to(basis.dtype), n_c.to(basis.dtype) @ basis)
            )
        modes = n_blocks * len(a)
        dtype = torch.get_default_dtype()
        self.log_a_real = nn.Parameter(torch.log(-a.real).to(dtype).repeat(n_blocks))
        self.a_imag = nn.Parameter(a.imag.to(dtype).repeat(n_blocks)) if self.paired else None
        self.log_dt = nn.Parameter(log_uniform((1 if dt_tie else modes,), dt_min, dt_max))
        self.b = nn.Parameter(n_b.flatten(0, 1).contiguous())  # (modes, D[, 2])
        self.c = nn.Parameter(n_c.flatten(2, 3).contiguous())  # (directions, D, modes[, 2])
        self.d = nn.Parameter(torch.randn(d_model))

    def ssm_parameters(self) -> list[nn.Parameter]:
        return [p for p in (self.log_a_real, self.a_imag, self.b, self.log_dt) if p is not None]

    def continuous(self, rate: float) -> tuple[Tensor, Tensor]:
        """A (modes,) complex, dt times rate (modes,) or (1,). Raises ValueError unless 0 < rate < inf."""
        check_rate(rate)
        real = -torch.exp(self.log_a_real)
        imag = torch.zeros_like(real) if self.a_imag is None else self.a_imag
        return torch.complex(real, imag), torch.exp(self.log_dt) * rate

    def matrices(self) -> tuple[Tensor, Tensor]:
        """B (D, N) and C (directions, N, D) on real states, times 2 for the conjugate halves."""
        if not self.paired:
            return self.b.t(), self.c.transpose(1, 2)
        b = self.b.transpose(0, 1).flatten(1)  # neighbours: real and imaginary part of the drive
        c = self.c * self.c.new_tensor([2.0, -2.0])  # 2 Re(c z)
        return b, c.flatten(2).transpose(1, 2)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        time_steps: Tensor | None = None,
    ) -> Tensor:
        """As every sequence layer; time_steps (B, T) > 0 as in the class."""
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.d.dtype)
            if lengths is not None:
                mask = ~length_mask(lengths, u.shape[1])
                u = u.masked_fill(mask.unsqueeze(-1), 0.0)
                if time_steps is not None:  # the frame after the last wraps round to the first, see below
                    first = time_steps[:, :1].masked_fill(mask[:, :1], 1.0)  # of no frames: anything > 0
                    time_steps = torch.where(mask, first, time_steps)
            start = u.new_zeros(len(u), self.d_state)
            y, _ = self._read(u, start, rate, time_steps, 0)
            if self.bidirectional:
                # backwards, the time before a frame is the time after it; the last frame has the first's
                steps = None if time_steps is None else time_steps.roll(-1, 1).flip(1)
                back, _ = self._read(u.flip(1), start, rate, steps, 1)
                y = y + back.flip(1)
            return (y + u * self.d).to(x.dtype)

    def forward_state(
        self, x: Tensor, state: S5State, rate: float = 1.0, time_steps: Tensor | None = None
    ) -> tuple[Tensor, S5State]:
        check_causal(self.bidirectional)
        check_rows(x, state.hidden, self.d_model)
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.d.dtype)
            y, hidden = self._read(u, state.hidden, rate, time_steps, 0)
            return (y + u * self.d).to(x.dtype), S5State(hidden)

    def _read(
        self, u: Tensor, hidden: Tensor, rate: float, time_steps: Tensor | None, direction: int
    ) -> tuple[Tensor, Tensor]:
        """u (B, T, D), hidden (B, N) before it -> C x (B, T, D), hidden after it."""
        a, dt = self.continuous(rate)
        b, c = self.matrices()
        return run(u, hidden, Constants(a, dt, b, c[direction], self.discretization, self.paired), time_steps)

    @torch.no_grad()
    def freeze(self, rate: float = 1.0) -> "FrozenS5":
        check_causal(self.bidirectional)
        a, dt = self.continuous(rate)
        b, c = self.matrices()
        constants = Constants(a, dt, b.clone(), c[0].clone(), self.discretization, self.paired)
        return FrozenS5(constants, self.d.clone())


class Constants(NamedTuple):
    """a (modes,), dt (modes,) or (1,), b (D, N), c (N, D) on real states; the rule; in pairs or not."""

    a: Tensor
    dt: Tensor
    b: Tensor
    c: Tensor
    discretization: str
    paired: bool


def run(u: Tensor, hidden: Tensor, constants: Constants, time_steps: Tensor | None) -> tuple[Tensor, Tensor]:
    """The recurrence over u (B, T, D) from hidden (B, N) -> C x (B, T, D), hidden after it.

    Raises ValueError: time_steps of another shape than (B, T), or not all of them > 0.
    """
    a, dt, b, c, discretization, paired = constants
    if time_steps is not None:
        if time_steps.shape != u.shape[:2] or not bool((time_steps > 0).all()):
            wanted = f"{tuple(u.shape[:2])}, all > 0"
            raise ValueError(f"time_steps: got shape {tuple(time_steps.shape)}, wanted {wanted}")
        dt = dt * time_steps.to(dt.dtype).unsqueeze(-1)  # (B, T, modes)
    log_a_bar, scale = discretize(a, dt, discretization)
    a_bar = torch.exp(log_a_bar)
    if not paired:
        a_bar, scale = a_bar.real, scale.real
    if time_steps is None:  # B_bar, small, instead of a product at every frame
        drive = u @ (realify(pairs(b) * scale) if paired else b * scale)
        drive = pairs(drive) if paired else drive
    else:
        drive = u @ b
        drive = (pairs(drive) if paired else drive) * scale
    h = linear_scan(a_bar, drive, pairs(hidden) if paired else hidden)
    h = realify(h) if paired else h
    # not a view, which would keep all of h
    return h @ c, (h[:, -1].clone() if h.shape[1] else hidden)


class FrozenS5(FrozenLayer):
    """The recurrence; `time_steps` as in `S5`."""

    def __init__(self, constants: Constants, d: Tensor) -> None:
        self.constants, self.d = constants, d
        log_a_bar, scale = discretize(constants.a, constants.dt, constants.discretization)
        self.a_bar, self.scale = torch.exp(log_a_bar), scale
        if not constants.paired:
            self.a_bar, self.scale = self.a_bar.real.clone(), self.scale.real.clone()

    def init_state(self, batch: int) -> S5State:
        return S5State(self.d.new_zeros(batch, self.constants.b.shape[1]))

    @recurrent
    def step(self, x: Tensor, state: S5State, time_steps: Tensor | None = None) -> tuple[Tensor, S5State]:
        """time_steps: (B,), the time before this frame."""
        check_rows(x, state.hidden, len(self.d))
        x = x.to(self.d.dtype)
        if time_steps is not None:
            y, state = self.scan(x.unsqueeze(1), state, time_steps.unsqueeze(1))
            return y.squeeze(1), state
        drive = x @ self.constants.b
        if self.constants.paired:
            z = torch.addcmul(pairs(drive) * self.scale, pairs(state.hidden), self.a_bar)
            hidden = realify(z)
        else:
            hidden = torch.addcmul(drive * self.scale, state.hidden, self.a_bar)
        return torch.addmm(x * self.d, hidden, self.constants.c), S5State(hidden)

    @recurrent
    def scan(self, x: Tensor, state: S5State, time_steps: Tensor | None = None) -> tuple[Tensor, S5State]:
        """time_steps: (B, T)."""
        check_rows(x, state.hidden, len(self.d))
        x = x.to(self.d.dtype)
        y, hidden = run(x, state.hidden, self.constants, time_steps)
        return y + x * self.d, S5State(hidden)
