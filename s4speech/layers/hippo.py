"""HiPPO state matrices, and where the eigenvalues of a diagonal SSM start.

Dense: `hippo` gives A and B of HiPPO-LegS, LegT and FouT (Gu et al. 2020, arXiv 2008.07669; Gu et al. 2022,
"How to Train Your HiPPO", arXiv 2206.12037). Each A is a normal matrix minus one of low rank, so in a unitary
basis it is diagonal plus low rank; `dplr` gives that form (S4, arXiv 2111.00396, theorem 1).
Diagonal: `diagonal_init` gives the starts of S4D (Gu et al. 2022, "On the Parameterization and Initialization
of Diagonal State Space Models", section 4).
A real SSM has eigenvalues in conjugate pairs; one of each pair is kept.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

INITS = ("legs", "inv", "lin", "real")
HIPPOS = ("legs", "legt", "fourier")


class DPLR(NamedTuple):
    """A (N, N) and B (N,) of a real SSM in the basis where A is diagonal minus low rank; complex128.

    With V = [basis, conj basis] unitary, Lambda = diag [eigenvalues, conj eigenvalues] and
    P_r = [p_r, conj p_r]: A = V (Lambda - sum_r P_r P_r^*) V^* and B = V [b, conj b].
    The real state x (N,) and the kept half z (N/2,) of the complex one: x = 2 Re(basis z), z = basis^* x.
    """

    eigenvalues: Tensor  # (N/2,) imaginary part ascending, >= 0; real part -1/2 (legs) or 0 (legt, fourier)
    p: Tensor  # (rank, N/2)
    b: Tensor  # (N/2,) positive: it fixes the phase of each basis vector
    basis: Tensor  # (N, N/2)


def legs_matrix(d_state: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS, dense: A (N, N), B (N,), float64 (Gu et al. 2020, theorem 2).

    A_nk = -(2n+1)^.5 (2k+1)^.5 for n > k, -(n+1) for n = k, 0 for n < k; B_n = (2n+1)^.5.
    """
    n = torch.arange(d_state, dtype=torch.float64)
    root = torch.sqrt(2 * n + 1)
    a = -torch.tril(root[:, None] * root[None, :], -1) - torch.diag(n + 1)
    return a, root


def legt_matrix(d_state: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegT with a window of 1, dense: A (N, N), B (N,), float64 (Gu et al. 2020, theorem 1).

    The orthonormal form with theta = 1: A_nk = -(2n+1)^.5 (2k+1)^.5, for k > n times (-1)^(n-k);
    B_n = (2n+1)^.5. The published S4 code halves both, which makes the window 2.
    """
    n = torch.arange(d_state, dtype=torch.float64)
    root = torch.sqrt(2 * n + 1)
    lag = n[:, None] - n[None, :]
    sign = torch.where((lag < 0) & (lag % 2 == 1), -1.0, 1.0)
    return -root[:, None] * root[None, :] * sign, root


def fourier_matrix(d_state: int) -> tuple[Tensor, Tensor]:
    """HiPPO-FouT with a window of 1, dense: A (N, N), B (N,), float64 (arXiv 2206.12037, HiPPO-FouT).

    States are the coefficients of 1, 0, 2^.5 cos(2 pi t), 2^.5 sin(2 pi t), 2^.5 cos(4 pi t), ...: the sine
    of frequency 0 keeps a place, always 0, so that every frequency is a pair. A = D - 2 q q^T, B = 2 q: D
    rotates (x_cos' = -2 pi m x_sin, x_sin' = 2 pi m x_cos), q = (1, 0, 2^.5, 0, 2^.5, 0, ...) is the basis at
    both ends of the window, where the series gives the mean of u(t) and u(t - 1); so u(t - 1), which leaves
    the window, is 2 q^T x - u(t). The published S4 code halves A and B, which makes the window 2.
    Raises ValueError for an odd d_state.
    """
    check_pairs(d_state)
    even = torch.arange(d_state) % 2 == 0
    q = even.to(torch.float64) * math.sqrt(2)
    q[0] = 1.0
    omega = 2 * math.pi * torch.arange(d_state // 2, dtype=torch.float64)
    # (omega_0, 0, omega_1, 0, ...) beside the diagonal: cosine and sine of one frequency, nothing between two
    beside = torch.stack([omega, torch.zeros_like(omega)], 1).flatten()[:-1]
    derivative = torch.diag(beside, -1) - torch.diag(beside, 1)
    return derivative - 2 * q[:, None] * q[None, :], 2 * q


def hippo(init: str, d_state: int) -> tuple[Tensor, Tensor]:
    """Dense A (N, N) and B (N,) of x' = A x + B u, float64, for N = d_state.

    legs: polynomials under a measure that decays exponentially into the past (time divided by t: the whole
    past, uniformly). legt, fourier: polynomials, and the Fourier series, on a window of 1 time unit.
    x_n(t) is the coefficient of u on basis function n; s4speech.layers.projection evaluates them.
    Raises ValueError for another init, d_state < 1, or an odd d_state with fourier.
    """
    if d_state < 1:
        raise ValueError(f"d_state: got {d_state}, wanted >= 1")
    if init == "legs":
        return legs_matrix(d_state)
    if init == "legt":
        return legt_matrix(d_state)
    if init == "fourier":
        return fourier_matrix(d_state)
    raise ValueError(f"init: got {init!r}, wanted one of {', '.join(HIPPOS)}")


def hippo_rank(init: str) -> int:
    """Rank of the low-rank part: 1 for legs and fourier, 2 for legt (even and odd polynomials apart).

    Raises ValueError for another init.
    """
    if init not in HIPPOS:
        raise ValueError(f"init: got {init!r}, wanted one of {', '.join(HIPPOS)}")
    return 2 if init == "legt" else 1


def dplr(init: str, d_state: int) -> DPLR:
    """The HiPPO matrix `init` as diagonal minus low rank (S4, theorem 1 and appendix C.1).

    A + sum_r P_r P_r^T is normal: a multiple of the identity plus a skew-symmetric S.
    legs: P_n = (n + 1/2)^.5, real part -1/2.
    legt: P_1 and P_2 are (2n+1)^.5 on even and on odd n, real part 0.
    fourier: P = 2^.5 q, real part 0; S = D is 0 on the constant and the empty sine, which become the pair
    (e_0 -+ i e_1) / 2^.5 with eigenvalue 0.
    A real part of 0 is what the mathematics gives; a layer has to move it below 0 before it trains.
    Raises ValueError for another init, or d_state that is not even and >= 2.
    """
    rank = hippo_rank(init)
    check_pairs(d_state)
    _, b = hippo(init, d_state)
    real = -0.5 if init == "legs" else 0.0
    if init == "fourier":
        low_rank = (b / math.sqrt(2)).unsqueeze(0)
        imag = 2 * math.pi * torch.arange(d_state // 2, dtype=torch.float64)
        # S is block diagonal, and its blocks [[0, -w], [w, 0]] have the eigenvector (1, -i) / 2^.5 for i w
        eye = torch.eye(d_state, dtype=torch.float64)
        basis = torch.complex(eye[:, 0::2], -eye[:, 1::2]) / math.sqrt(2)
    else:
        even = torch.arange(d_state) % 2 == 0
        low_rank = torch.stack([b * even, b * ~even]) if rank == 2 else b.unsqueeze(0) / math.sqrt(2)
        skew = _legendre_skew(init, d_state)
        # -i S is Hermitian, its spectrum real and symmetric about 0
        frequencies, vectors = torch.linalg.eigh(torch.complex(torch.zeros_like(skew), -skew))
        imag, basis = frequencies[d_state // 2 :], vectors[:, d_state // 2 :]
    projected = basis.mH @ b.to(basis.dtype)
    # an eigenvector's phase is free and depends on LAPACK: choose the one that makes b positive
    basis = basis * (projected / projected.abs())
    return DPLR(
        eigenvalues=torch.complex(torch.full_like(imag, real), imag),
        p=low_rank.to(basis.dtype) @ basis.conj(),
        b=projected.abs().to(basis.dtype),
        basis=basis,
    )


def check_pairs(d_state: int) -> None:
    """Raises ValueError unless d_state is even and >= 2."""
    if d_state < 2 or d_state % 2:
        raise ValueError(f"d_state: got {d_state}, wanted an even number >= 2 (conjugate pairs)")


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
    check_pairs(d_state)
    n = torch.arange(d_state // 2, dtype=torch.float64)
    half = torch.full_like(n, -0.5)
    if init == "lin":
        return torch.complex(half, math.pi * n)
    if init == "inv":
        return torch.complex(half, d_state / math.pi * (d_state / (2 * n + 1) - 1))
    skew = _legendre_skew("legs", d_state)
    imag = torch.linalg.eigvalsh(torch.complex(torch.zeros_like(skew), -skew))
    return torch.complex(half, imag[d_state // 2 :])  # ascending, symmetric about 0


def _legendre_skew(init: str, d_state: int) -> Tensor:
    """The skew-symmetric part of HiPPO-LegS or LegT, (N, N) float64, exactly skew.

    legs: -(2n+1)^.5 (2k+1)^.5 sign(n-k) / 2. legt: twice that where n-k is odd, 0 where it is even.
    """
    n = torch.arange(d_state, dtype=torch.float64)
    root, lag = torch.sqrt(2 * n + 1), n[:, None] - n[None, :]
    weight = torch.full_like(lag, 0.5) if init == "legs" else lag % 2
    return -root[:, None] * root[None, :] * torch.sign(lag) * weight
