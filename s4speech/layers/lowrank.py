"""Pure functions of DPLR state matrices: A = Lambda - sum_r P_r P_r^*, a real system in conjugate pairs.

Every full vector is [v, conj v]; only v is stored. With s = 2 / dt the bilinear rule needs nothing but the
resolvent (s - A)^{-1}, which Woodbury's identity gives in O(N):

    (s - A)^{-1} = R - R P (1 + P^* R P)^{-1} P^* R        R = (s - Lambda)^{-1}
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from s4speech.layers.ssm import fast_fft_size, realify


class LowRankStep(NamedTuple):
    """x_l = A_bar x_{l-1} + B_bar u_l as z + gain z - sum_r left_r (2 Re sum_n right_rn z_n), in O(N rank).

    gain: (H, N / 2) complex, the diagonal of A_bar - I without cancellation. left: (rank, H, N / 2) complex.
    right: (rank, H, N / 2) complex. b_bar: (H, N / 2) complex.
    """

    gain: Tensor
    left: Tensor
    right: Tensor
    b_bar: Tensor


def discretize_bilinear(a: Tensor, p: Tensor, b: Tensor, dt: Tensor) -> LowRankStep:
    """A_bar = -I + 2 s (s - A)^{-1}, B_bar = 2 (s - A)^{-1} B (S4, eq. 3; appendix C.2).

    a, b: (H, N / 2) complex, p: (rank, H, N / 2) complex, dt: (H, 1) real.
    """
    s = 2 / dt
    resolvent = 1 / (s - a)
    rp = resolvent * p  # (rank, H, N / 2): R P_r
    pr = resolvent * p.conj()  # P_r^* R
    small = 2 * torch.einsum("ihn,jhn->hij", p.conj(), rp).real  # P^* R P over both halves
    inverse = torch.linalg.inv(torch.eye(len(p), dtype=small.dtype, device=small.device) + small)
    left = torch.einsum("ihn,hij->jhn", rp, inverse.to(rp.dtype))
    weights = 2 * (pr * b).real.sum(-1, keepdim=True)  # (rank, H, 1)
    b_bar = 2 * (resolvent * b - (left * weights).sum(0))
    return LowRankStep(2 * a * resolvent, 2 * s * left, pr, b_bar)


def dense_transition(step: LowRankStep) -> Tensor:
    """A_bar as a real matrix (H, N, N) on (Re z_0, Im z_0, Re z_1, ...)."""
    gain, left, right, _ = step
    low_rank = torch.einsum("rhm,rhn->hmn", realify(left), 2 * realify(right.conj()))
    return rotations(1 + gain) - low_rank


def rotations(a: Tensor) -> Tensor:
    """Diagonal complex (..., N / 2) -> the same map on reals, block diagonal (..., N, N)."""
    block = torch.stack([torch.stack([a.real, -a.imag], -1), torch.stack([a.imag, a.real], -1)], -2)
    diagonal = torch.diag_embed(block.movedim(-3, -1))  # (..., 2, 2, N / 2, N / 2)
    return diagonal.movedim((-4, -3), (-3, -1)).flatten(-4, -3).flatten(-2)


def continuous_matrix(a: Tensor, p: Tensor) -> Tensor:
    """A = Lambda - sum_r P_r P_r^* as a real matrix (..., N, N); a (..., N / 2), p (rank, ..., N / 2)."""
    # P_r^* x over both halves is 2 Re sum conj(p) z
    low_rank = torch.einsum("r...m,r...n->...mn", realify(p), 2 * realify(p))
    return rotations(a) - low_rank


FREQUENCIES = 1024  # evaluated together: memory of `cauchy_kernel` is H N times this


def cauchy_kernel(a: Tensor, p: Tensor, b: Tensor, c: Tensor, dt: Tensor, length: int) -> Tensor:
    """Convolution kernel of the bilinear rule by its generating function (S4, theorem 3; appendix C.3).

    a, b: (H, N / 2), p: (rank, H, N / 2), c: (directions, H, N / 2) complex128, dt: (H, 1) ->
    (directions, H, length) float64.

        sum_l K_l z^l = C (1 - A_bar z)^{-1} B_bar = 2 / (1 + z) C (g - A)^{-1} B
        g = (2 / dt) (1 - z) / (1 + z)

    Cauchy products over both conjugate halves, and Woodbury for the low rank. S4 takes |z| = 1, which needs
    C (1 - A_bar^L) instead of C, kept up to date as A changes. Here |z| < 1: at M = 2 length points the
    transform gives K_l + |z|^M K_{l+M} + ..., and |z|^length = 5e-6 balances that tail against the rounding
    error that the division by |z|^l enlarges: about 1e-10 of the largest tap remains, in float64.
    """
    size = fast_fft_size(2 * length)
    radius = 5e-6 ** (1 / length)
    angle = torch.arange(size // 2 + 1, dtype=torch.float64, device=a.device) * (-2 * torch.pi / size)
    z = radius * torch.polar(torch.ones_like(angle), angle)

    def evaluate(z: Tensor, dt: Tensor, a: Tensor, p: Tensor, b: Tensor, c: Tensor) -> Tensor:
        g = 2 / dt * (1 - z) / (1 + z)  # (H, F)
        near, far = 1 / (g.unsqueeze(-1) - a.unsqueeze(-2)), 1 / (g.unsqueeze(-1) - a.conj().unsqueeze(-2))

        def cauchy(v: Tensor) -> Tensor:
            """v (..., H, N / 2) -> sum_n v_n / (g - a_n) + conj(v_n) / (g - conj a_n), (..., H, F)."""
            return (near @ v.unsqueeze(-1) + far @ v.conj().unsqueeze(-1)).squeeze(-1)

        ones = torch.eye(len(p), dtype=g.dtype, device=g.device)
        pp = cauchy(p.conj().unsqueeze(1) * p.unsqueeze(0))  # (rank, rank, H, F): P_i^* R P_j
        inverse = torch.linalg.inv(ones + pp.movedim((0, 1), (-2, -1)))
        cp, pb = cauchy(c.unsqueeze(1) * p), cauchy(p.conj() * b)
        low_rank = torch.einsum("dihf,hfij,jhf->dhf", cp, inverse, pb)
        return 2 / (1 + z) * (cauchy(c * b) - low_rank)

    parts = [checkpoint(evaluate, part, dt, a, p, b, c, use_reentrant=False) for part in z.split(FREQUENCIES)]
    spectrum = torch.cat(parts, -1)
    kernel: Tensor = torch.fft.irfft(spectrum, n=size)[..., :length]
    decay: Tensor = radius ** torch.arange(length, dtype=torch.float64, device=a.device)
    return kernel / decay
