"""Pure functions of diagonal state space models.

x'(t) = A x(t) + B u(t), y(t) = C x(t) + D u(t), with A diagonal. Discretised with step dt:
x_l = A_bar x_{l-1} + B_bar u_l, y_l = C x_l + D u_l, which is a convolution with K_l = C A_bar^l B_bar.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

DISCRETIZATIONS = ("zoh", "bilinear")


def discretize(a: Tensor, dt: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Diagonal A and step sizes -> (log A_bar, B_bar) for B = 1, elementwise over broadcast shapes.

    zoh: A_bar = exp(dt A), B_bar = (A_bar - 1) / A (S4D, eq. 5).
    bilinear: A_bar = (1 + dt A / 2) / (1 - dt A / 2), B_bar = dt / (1 - dt A / 2) (S4, eq. 3).
    The logarithm is returned because powers A_bar^l are exp(l log A_bar).
    Raises ValueError for another method.
    """
    z = dt * a
    if method == "zoh":
        return z, torch.expm1(z) / a
    if method == "bilinear":
        half = z / 2
        # A_bar is 0 at -1, which has no logarithm
        half = torch.where(half == -1, half * (1 - torch.finfo(half.dtype).eps), half)
        return torch.log1p(half) - torch.log1p(-half), dt / (1 - half)
    raise ValueError(f"discretization: got {method!r}, wanted one of {', '.join(DISCRETIZATIONS)}")


def pairs(real: Tensor) -> Tensor:
    """(..., N) real, real and imaginary parts side by side -> (..., N / 2) complex."""
    if real.stride(-1) != 1:  # an expanded gradient or state
        real = real.contiguous()
    return torch.view_as_complex(torch.unflatten(real, -1, (-1, 2)))


def realify(z: Tensor) -> Tensor:
    """(..., N / 2) complex -> (..., N) real, real and imaginary parts side by side."""
    return torch.view_as_real(z.resolve_conj()).flatten(-2)


def discretize_dense(a: Tensor, b: Tensor, dt: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Dense A (H, N, N), B (H, N), dt (H, 1) -> A_bar (H, N, N), B_bar (H, N).

    zoh: exp(dt [[A, B], [0, 0]]) = [[A_bar, B_bar], [0, 1]], which needs no inverse of A.
    bilinear: A_bar = (1 - dt A / 2)^{-1} (1 + dt A / 2), B_bar = (1 - dt A / 2)^{-1} dt B (S4, eq. 3).
    Raises ValueError for another method.
    """
    size = b.shape[-1]
    scaled = dt.unsqueeze(-1) * torch.cat([a, b.unsqueeze(-1)], -1)  # (H, N, N + 1)
    if method == "zoh":
        power = torch.linalg.matrix_exp(F.pad(scaled, (0, 0, 0, 1)))
        return power[..., :size, :size], power[..., :size, size]
    if method == "bilinear":
        one = torch.eye(size, dtype=a.dtype, device=a.device)
        half = scaled[..., :size] / 2
        solved = torch.linalg.solve(one - half, torch.cat([one + half, scaled[..., size:]], -1))
        return solved[..., :size], solved[..., size]
    raise ValueError(f"discretization: got {method!r}, wanted one of {', '.join(DISCRETIZATIONS)}")


def diagonal_kernel(log_a_bar: Tensor, c: Tensor, length: int) -> Tensor:
    """Re sum_n c_n A_bar_n^l for l = 0 .. length-1.

    log_a_bar: (..., H, N) complex, c: (..., H, N) -> (..., H, length) real.
    With l = i b + j the Vandermonde product splits into two tables of about sqrt(length) columns and one
    batched matrix product, so memory is O(H N sqrt(length) + H length) and there are 2 H N sqrt(length)
    exponentials instead of H N length.
    """
    inner = max(1, math.isqrt(length - 1) + 1) if length else 1
    outer = -(-length // inner)
    steps = torch.arange(inner, device=c.device, dtype=c.real.dtype)
    jumps = torch.arange(outer, device=c.device, dtype=c.real.dtype) * inner
    fine = torch.exp(log_a_bar.unsqueeze(-1) * steps)  # (..., H, N, inner)
    coarse = torch.exp(jumps.unsqueeze(-1) * log_a_bar.unsqueeze(-2)) * c.unsqueeze(-2)  # (..., H, outer, N)
    # Re(P Q) = Re P Re Q - Im P Im Q as one real product over 2N
    left = torch.cat([coarse.real, -coarse.imag], -1)
    right = torch.cat([fine.real, fine.imag], -2)
    return (left @ right).flatten(-2)[..., :length]


def fft_convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution: u (B, H, T), kernel (H, T) -> (B, H, T), by FFT of length >= 2T."""
    length = u.shape[-1]
    size = fast_fft_size(2 * length)
    product = torch.fft.rfft(u, n=size) * torch.fft.rfft(kernel, n=size)
    y: Tensor = torch.fft.irfft(product, n=size)
    return y[..., :length]


def fast_fft_size(minimum: int) -> int:
    """The smallest 2^a 3^b 5^c >= minimum (even), so that the FFT has only small factors."""
    best = 1 << max(1, (minimum - 1).bit_length())
    for five in (1, 5, 25):
        for three in (1, 3, 9, 27):
            size = 2 * five * three
            while size < minimum:
                size *= 2
            best = min(best, size)
    return best
