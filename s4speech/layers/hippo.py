"""Initial state matrices: where the eigenvalues of a diagonal SSM start.

Only the diagonal initialisations of S4D (Gu et al. 2022, "On the Parameterization and Initialization of
Diagonal State Space Models", section 4) are here. A real SSM has eigenvalues in conjugate pairs; one of each
pair is kept.
"""

import math

import torch
from torch import Tensor

INITS = ("legs", "inv", "lin", "real")


def legs_matrix(d_state: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS, dense: A (N, N), B (N,), float64 (Gu et al. 2020, theorem 2).

    A_nk = -(2n+1)^.5 (2k+1)^.5 for n > k, -(n+1) for n = k, 0 for n < k; B_n = (2n+1)^.5.
    """
    n = torch.arange(d_state, dtype=torch.float64)
    root = torch.sqrt(2 * n + 1)
    a = -torch.tril(root[:, None] * root[None, :], -1) - torch.diag(n + 1)
    return a, root


def diagonal_init(init: str, d_state: int) -> Tensor:
    """Eigenvalues of the state matrix, complex128.

    init: legs (the normal part of HiPPO-LegS), inv (S4D-Inv, eq. 8), lin (S4D-Lin, eq. 9): (d_state / 2,),
    the halves with positive imaginary part; real (S4D-Real): (d_state,) on the negative real axis.
    Raises ValueError for another init, d_state < 1, or an odd d_state where pairs are needed.
    """
    if init not in INITS:
        raise ValueError(f"init: got {init!r}, wanted one of {', '.join(INITS)}")
    if d_state < 1:
        raise ValueError(f"d_state: got {d_state}, wanted >= 1")
    if init == "real":
        return -(torch.arange(d_state, dtype=torch.float64) + 1).to(torch.complex128)
    if d_state < 2 or d_state % 2:
        raise ValueError(f"d_state: got {d_state}, wanted an even number >= 2 (conjugate pairs)")
    n = torch.arange(d_state // 2, dtype=torch.float64)
    half = torch.full_like(n, -0.5)
    if init == "lin":
        return torch.complex(half, math.pi * n)
    if init == "inv":
        return torch.complex(half, d_state / math.pi * (d_state / (2 * n + 1) - 1))
    a, b = legs_matrix(d_state)
    # A + P P* with P_n = (n + 1/2)^.5 is -1/2 I plus a skew-symmetric part S; -i S is Hermitian
    skew = a + 0.5 * b[:, None] * b[None, :] + 0.5 * torch.eye(d_state, dtype=torch.float64)
    imag = torch.linalg.eigvalsh(torch.complex(torch.zeros_like(skew), -skew))
    return torch.complex(half, imag[d_state // 2 :])  # ascending, and symmetric about 0
