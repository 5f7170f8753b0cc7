"""LSSL: a linear state space layer with a dense state matrix (Gu et al. 2021, arXiv 2110.13985)."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from s4speech.layers.chunk import Blocks, dense_blocks
from s4speech.layers.hippo import hippo
from s4speech.layers.siso import SISO
from s4speech.layers.ssm import discretize_dense


class DenseSISO(SISO):
    """An SSM a channel whose A is dense and real. Its matrices are made in float64.

    float32 loses the 1e-4 that the laws want: powers by repeated squaring double the error at each turn.
    """

    @abstractmethod
    def discrete(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """A_bar (H, N, N), B_bar (H, N), C (directions, H, N), float64. Raises ValueError unless rate > 0."""

    def blocks(self, size: int, rate: float = 1.0) -> Blocks:
        return dense_blocks(*self.discrete(rate), size).to(self.d.dtype)

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        if length == 0:
            return self.c.new_zeros(self.c.shape[0], self.d_model, 0)
        return self.blocks(length, rate).taps


class LSSL(DenseSISO):
    """The general case: A is any N x N matrix, trained as such. O(N^3) a channel: an oracle, and for small N.

    d_state: N. init: legs | legt | fourier. Other options as in `S4D`. Raises ValueError naming the option.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        init: str = "legs",
        *,
        n_ssm: int = 1,
        discretization: str = "bilinear",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
    ) -> None:
        a, b = hippo(init, d_state)
        super().__init__(
            d_model,
            n_ssm=n_ssm,
            discretization=discretization,
            dt_min=dt_min,
            dt_max=dt_max,
            dt_states=1,
            modes=d_state,
            paired=False,
            bidirectional=bidirectional,
        )
        self.d_state, self.init = d_state, init
        dtype = torch.get_default_dtype()
        self.a = nn.Parameter(a.to(dtype).repeat(n_ssm, 1, 1))
        self.b = nn.Parameter(b.to(dtype).repeat(n_ssm, 1))

    def ssm_parameters(self) -> list[nn.Parameter]:
        return [self.a, self.b, self.log_dt]

    def discrete(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        a, b = self.per_channel(self.a.double()), self.per_channel(self.b.double())
        a_bar, b_bar = discretize_dense(a, b, self.step_sizes(rate).double(), self.discretization)
        return a_bar, b_bar, self.c.double()
