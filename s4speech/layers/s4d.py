"""S4D: a diagonal state space model for each channel (Gu et al. 2022, arXiv 2206.11893)."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from s4speech.layers.chunk import Blocks, diagonal_blocks
from s4speech.layers.hippo import diagonal_init
from s4speech.layers.siso import SISO
from s4speech.layers.ssm import diagonal_kernel, discretize


class DiagonalSISO(SISO):
    """An SSM a channel whose A is diagonal. B is folded into C: only their product matters."""

    @abstractmethod
    def discrete(self, rate: float) -> tuple[Tensor, Tensor]:
        """(log A_bar (H, N) complex, C B_bar (directions, H, N)); y = Re sum_n C B_bar x.

        C B_bar is real if all powers of A_bar are.
        Raises ValueError unless rate > 0.
        """

    def blocks(self, size: int, rate: float = 1.0) -> Blocks:
        return diagonal_blocks(*self.discrete(rate), size)

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        return diagonal_kernel(*self.discrete(rate), length)


class S4D(DiagonalSISO):
    """Diagonal SSM, one input and one output a channel, plus a skip D u. Mixing channels is the block's work.

    d_state: N, size of the real state (N/2 conjugate pairs). init: legs | inv | lin, complex eigenvalues, or
    real, N real ones. n_ssm: number of different A; channel h uses A[h mod n_ssm]. discretization: zoh |
    bilinear. dt_min, dt_max: the steps start log-uniform between them. dt_tie: one step a channel, else one
    for each of its eigenvalues. bidirectional: a second readout, of the reversed input, is added; such a
    layer has no state.
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
        dt_tie: bool = True,
        bidirectional: bool = False,
    ) -> None:
        a = diagonal_init(init, d_state)
        super().__init__(
            d_model,
            n_ssm=n_ssm,
            discretization=discretization,
            dt_min=dt_min,
            dt_max=dt_max,
            dt_states=1 if dt_tie else len(a),
            modes=len(a),
            paired=init != "real",
            bidirectional=bidirectional,
        )
        self.d_state, self.init = d_state, init
        a = a.repeat(n_ssm, 1)
        dtype = torch.get_default_dtype()
        self.log_a_real = nn.Parameter(torch.log(-a.real).to(dtype))
        self.a_imag = None if init == "real" else nn.Parameter(a.imag.to(dtype))

    def ssm_parameters(self) -> list[nn.Parameter]:
        return [p for p in (self.log_a_real, self.a_imag, self.log_dt) if p is not None]

    def discrete(self, rate: float) -> tuple[Tensor, Tensor]:
        real = -torch.exp(self.log_a_real)
        imag = torch.zeros_like(real) if self.a_imag is None else self.a_imag
        a = self.per_channel(torch.complex(real, imag))
        log_a_bar, b_bar = discretize(a, self.step_sizes(rate), self.discretization)
        if self.a_imag is None:
            return log_a_bar, self.c * b_bar.real
        return log_a_bar, 2 * torch.view_as_complex(self.c) * b_bar
