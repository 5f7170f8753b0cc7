"""S4: an SSM a channel whose A is diagonal plus low rank (Gu et al. 2022, arXiv 2111.00396)."""

import torch
from torch import Tensor, nn

from s4speech.layers.chunk import Blocks, to_channels, to_frames
from s4speech.layers.hippo import dplr, hippo_rank
from s4speech.layers.lowrank import (
    LowRankStep,
    cauchy_kernel,
    continuous_matrix,
    dense_transition,
    discretize_bilinear,
)
from s4speech.layers.lssl import DenseSISO
from s4speech.layers.siso import FrozenSISO
from s4speech.layers.ssm import discretize_dense, fft_convolve, pairs, realify

MODES = ("chunked", "cauchy")
STEPS = ("linear", "dense")
SMALLEST_DECAY = 1e-3  # LegT and FouT have a normal part without decay, which -exp() cannot express
EXTRA_RANK_SCALE = 1e-3


class S4(DenseSISO):
    """A = Lambda - P P^* in conjugate pairs, starting from the HiPPO matrices. Mixing channels is the
    block's work.

    d_state: N, even. init: legs | legt | fourier. rank: of the low-rank part; None: what the init needs
    (legt: 2, the others: 1); more columns start near 0. mode: how the parallel form is computed: chunked,
    with dense blocks of A_bar, or cauchy, S4's Cauchy kernel and an FFT (bilinear only, and slower).
    Other options as in `S4D`. There is no diagonal step: the eigenvectors of HiPPO-LegS cannot be inverted.
    Raises ValueError naming the option.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        init: str = "legs",
        *,
        rank: int | None = None,
        n_ssm: int = 1,
        discretization: str = "bilinear",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
        mode: str = "chunked",
    ) -> None:
        smallest = hippo_rank(init)
        start = dplr(init, d_state)
        rank = smallest if rank is None else rank
        if not smallest <= rank <= d_state:
            raise ValueError(f"rank: got {rank}, wanted {smallest} (for init {init}) to d_state {d_state}")
        if mode not in MODES:
            raise ValueError(f"mode: got {mode!r}, wanted one of {', '.join(MODES)}")
        super().__init__(
            d_model,
            n_ssm=n_ssm,
            discretization=discretization,
            dt_min=dt_min,
            dt_max=dt_max,
            dt_states=1,
            modes=d_state // 2,
            paired=True,
            bidirectional=bidirectional,
        )
        if mode == "cauchy" and discretization != "bilinear":
            raise ValueError(f"mode: got 'cauchy' with discretization {discretization!r}, wanted 'bilinear'")
        self.d_state, self.init, self.mode = d_state, init, mode
        dtype = torch.get_default_dtype()
        decay = (-start.eigenvalues.real).clamp(min=SMALLEST_DECAY)
        extra = EXTRA_RANK_SCALE * torch.randn(rank - smallest, d_state // 2, dtype=torch.complex128)
        p = torch.cat([start.p, extra])
        self.log_a_real = nn.Parameter(decay.log().to(dtype).repeat(n_ssm, 1))
        self.a_imag = nn.Parameter(start.eigenvalues.imag.to(dtype).repeat(n_ssm, 1))
        self.p = nn.Parameter(torch.view_as_real(p).to(dtype).unsqueeze(1).repeat(1, n_ssm, 1, 1))
        self.b = nn.Parameter(torch.view_as_real(start.b).to(dtype).repeat(n_ssm, 1, 1))

    def ssm_parameters(self) -> list[nn.Parameter]:
        return [self.log_a_real, self.a_imag, self.p, self.b, self.log_dt]

    def continuous(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lambda (H, N / 2), P (rank, H, N / 2), B (H, N / 2), 2 C (directions, H, N / 2), complex128."""
        a = torch.complex(-torch.exp(self.log_a_real.double()), self.a_imag.double())
        p = torch.stack([self.per_channel(column) for column in torch.view_as_complex(self.p.double())])
        b = torch.view_as_complex(self.b.double())
        return self.per_channel(a), p, self.per_channel(b), 2 * torch.view_as_complex(self.c.double())

    def low_rank_step(self, rate: float) -> LowRankStep:
        """One step of the bilinear rule in O(N), complex128."""
        a, p, b, _ = self.continuous()
        return discretize_bilinear(a, p, b, self.step_sizes(rate).double())

    def discrete(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        a, p, b, c = self.continuous()
        c = realify(c.conj())  # Re(c z) is the real scalar product of conj(c) and z
        if self.discretization == "bilinear":
            step = self.low_rank_step(rate)
            return dense_transition(step), realify(step.b_bar), c
        dt = self.step_sizes(rate).double()
        return *discretize_dense(continuous_matrix(a, p), realify(b), dt, self.discretization), c

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        if self.mode == "chunked" or length == 0:
            return super().kernel(length, rate)
        a, p, b, c = self.continuous()
        # `cauchy_kernel` adds the conjugate half itself
        return cauchy_kernel(a, p, b, c / 2, self.step_sizes(rate).double(), length).to(self.d.dtype)

    def convolve(self, x: Tensor, rate: float) -> Tensor:
        if self.mode == "chunked":
            return super().convolve(x, rate)
        u = to_channels(x.to(self.d.dtype)).transpose(0, 1)  # (B, H, T)
        kernel = self.kernel(u.shape[-1], rate)
        y = fft_convolve(u, kernel[0]) + u * self.d.unsqueeze(-1)
        if self.bidirectional:
            y = y + fft_convolve(u.flip(-1), kernel[1]).flip(-1)
        return to_frames(y.transpose(0, 1)).to(x.dtype)

    @torch.no_grad()
    def freeze(self, rate: float = 1.0, step: str | None = None) -> FrozenSISO:
        """step: linear, A_bar as diagonal plus low rank, O(N) (bilinear only), or dense, O(N^2).

        None: linear where it exists. Raises ValueError naming the option.
        """
        step = step or ("linear" if self.discretization == "bilinear" else "dense")
        if step not in STEPS:
            raise ValueError(f"step: got {step!r}, wanted one of {', '.join(STEPS)}")
        if step == "linear" and self.discretization != "bilinear":
            raise ValueError(
                f"step: got 'linear' with discretization {self.discretization!r}, wanted 'dense'"
            )
        if step == "dense":
            return super().freeze(rate)
        return FrozenLinearS4(*self.recurrence(rate), self.low_rank_step(rate))


class FrozenLinearS4(FrozenSISO):
    """`step` in O(N rank) instead of O(N^2); `scan` as ever."""

    def __init__(self, one: Blocks, many: list[Blocks], step: LowRankStep) -> None:
        super().__init__(one, many)
        dtype = self.readout.dtype
        self.gain, self.left = ((1 + step.gain).to(dtype.to_complex()), step.left.to(dtype.to_complex()))
        self.right = (2 * realify(step.right.conj())).to(dtype)

    def move(self, hidden: Tensor) -> Tensor:
        z = pairs(hidden)
        moved = z * self.gain
        for left, right in zip(self.left, self.right, strict=True):
            moved = torch.addcmul(moved, left, torch.linalg.vecdot(hidden, right).unsqueeze(-1), value=-1)
        return realify(moved)
