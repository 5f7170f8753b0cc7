"""DSS: diagonal state spaces with a normalised kernel (Gupta et al. 2022, arXiv 2203.14343)."""

import torch
from torch import Tensor, nn

from s4speech.layers.hippo import diagonal_init
from s4speech.layers.s4d import DiagonalSISO
from s4speech.layers.ssm import discretize

NORMALIZATIONS = ("softmax", "exp")
EPSILON = 1e-7  # of the reciprocal, near the zeros of e^{L lambda dt} - 1 (DSS, appendix A.2)


class DSS(DiagonalSISO):
    """Diagonal SSM with zero-order hold whose kernel is that of proposition 1.

    normalization: exp (DSS-exp: eigenvalues with negative real part; S4D with zoh is the same model), or
    softmax (DSS-softmax: real parts free; each row e^{lambda dt l} of the kernel is divided by its sum over
    the first `norm_length` frames, L in the paper: the length of the training sequences. It is a constant
    of the layer here, so that a kernel does not depend on how much is heard; at another `rate` it is the
    same time). What grows by more than e^87 over norm_length is beyond float32. init: legs (the paper's
    Skew-HiPPO) | inv | lin. Other options as in `S4D`. Raises ValueError naming the option.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        init: str = "legs",
        *,
        normalization: str = "softmax",
        norm_length: int = 1024,
        n_ssm: int = 1,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
    ) -> None:
        if normalization not in NORMALIZATIONS:
            wanted = ", ".join(NORMALIZATIONS)
            raise ValueError(f"normalization: got {normalization!r}, wanted one of {wanted}")
        if norm_length < 1:
            raise ValueError(f"norm_length: got {norm_length}, wanted a number of frames >= 1")
        if init == "real":
            raise ValueError("init: got 'real', wanted one of legs, inv, lin: DSS is complex")
        a = diagonal_init(init, d_state)
        super().__init__(
            d_model,
            n_ssm=n_ssm,
            discretization="zoh",
            dt_min=dt_min,
            dt_max=dt_max,
            dt_states=1,
            modes=len(a),
            paired=True,
            bidirectional=bidirectional,
        )
        self.d_state, self.init = d_state, init
        self.normalization, self.norm_length = normalization, norm_length
        dtype = torch.get_default_dtype()
        a = a.repeat(n_ssm, 1)
        self.a_real = nn.Parameter((a.real if normalization == "softmax" else torch.log(-a.real)).to(dtype))
        self.a_imag = nn.Parameter(a.imag.to(dtype))

    def ssm_parameters(self) -> list[nn.Parameter]:
        return [self.a_real, self.a_imag, self.log_dt]

    def discrete(self, rate: float) -> tuple[Tensor, Tensor]:
        softmax = self.normalization == "softmax"
        a = self.per_channel(torch.complex(self.a_real if softmax else -self.a_real.exp(), self.a_imag))
        log_a_bar, b_bar = discretize(a, self.step_sizes(rate), "zoh")
        if softmax:  # B = 1 / (e^{L lambda dt} - 1), proposition 1 (b)
            total = a * self.step_sizes(1.0) * self.norm_length
            growing = total.real > 0
            falling = torch.where(growing, -total, total)  # 1 / (e^s - 1) = -e^{-s} / (e^{-s} - 1)
            denominator = torch.expm1(falling)
            reciprocal = denominator.conj() / (denominator.abs().square() + EPSILON)
            b_bar = b_bar * torch.where(growing, -torch.exp(falling) * reciprocal, reciprocal)
        return log_a_bar, 2 * torch.view_as_complex(self.c) * b_bar
