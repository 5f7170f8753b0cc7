"""Oracle of the state space layers: dense complex128 matrices, discretised by the book, stepped in a loop.

It reads the parameters of a layer and calls none of its methods, nor anything else of s4speech. A layer that
keeps one half z of a real state has the whole of it here, [z, conj z], so nothing is "2 Re".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from s4speech.layers import DSS, LSSL, S4, S5, StateSpaceLayer


class System(NamedTuple):
    """S systems x' = A x + B u, y = C x with N states, I inputs and O outputs, complex128.

    a: (S, N, N). b: (S, N, I). c: (directions, S, O, N). dt: (S, N, 1), a step for each state variable.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    dt: Tensor


def whole(half: Tensor) -> Tensor:
    """(..., N / 2) complex, or (..., N / 2, 2) real and imaginary parts -> (..., N), the conjugates last."""
    z = half if half.is_complex() else torch.complex(half[..., 0], half[..., 1])
    return torch.cat([z, z.conj()], -1)


def system(layer: StateSpaceLayer) -> System:
    """The continuous system of each channel, or for S5 the one of all channels."""
    p = {name: value.detach().double() for name, value in layer.named_parameters()}
    paired = "a_imag" in p
    c = whole(p["c"]) if paired else p["c"]
    dt = p["log_dt"].exp()
    if paired and dt.shape[-1] > 1:
        dt = torch.cat([dt, dt], -1)  # the conjugate of a mode has its step
    if isinstance(layer, S5):
        eigenvalues = diagonal(layer, p)
        b = whole(p["b"].movedim(1, 0)).T if paired else p["b"]
        found = System(torch.diag(eigenvalues)[None], b[None], c[:, None], dt.expand(len(b))[None, :, None])
    else:
        channels = torch.arange(layer.d_model) % layer.n_ssm
        if isinstance(layer, LSSL):
            a, b = p["a"], p["b"]
        elif isinstance(layer, S4):
            low_rank = whole(p["p"])  # (rank, n_ssm, N)
            a = torch.diag_embed(diagonal(layer, p))
            a = a - sum(torch.einsum("sm,sn->smn", column, column.conj()) for column in low_rank)
            b = whole(p["b"])
        else:
            a = torch.diag_embed(diagonal(layer, p))
            b = torch.ones(a.shape[:2])
        found = System(
            a[channels], b[channels, :, None], c.unsqueeze(-2), dt.expand(-1, c.shape[-1])[..., None]
        )
    return System(*(matrix.to(torch.complex128) for matrix in found))


def diagonal(layer: StateSpaceLayer, p: dict[str, Tensor]) -> Tensor:
    """(..., N) eigenvalues, or those of the normal part."""
    if isinstance(layer, DSS):
        return whole(torch.complex(p["a_real"] if softmax(layer) else -p["a_real"].exp(), p["a_imag"]))
    real = -p["log_a_real"].exp()
    return whole(torch.complex(real, p["a_imag"])) if "a_imag" in p else real


def softmax(layer: StateSpaceLayer) -> bool:
    return isinstance(layer, DSS) and layer.normalization == "softmax"


def discrete(a: Tensor, b: Tensor, dt: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Textbook A_bar, B_bar: the matrix exponential of [[A, B], [0, 0]], or the trapezoidal rule."""
    a, b = dt * a, dt * b  # with a step of 1 now
    n, inputs = b.shape[-2:]
    if method == "zoh":
        augmented = torch.zeros(*a.shape[:-2], n + inputs, n + inputs, dtype=a.dtype)
        augmented[..., :n, :n], augmented[..., :n, n:] = a, b
        power = exponential(augmented)
        return power[..., :n, :n], power[..., :n, n:]
    assert method == "bilinear"
    one = torch.eye(n, dtype=a.dtype)
    return torch.linalg.solve(one - a / 2, one + a / 2), torch.linalg.solve(one - a / 2, b)


def exponential(matrix: Tensor) -> Tensor:
    """By Taylor's series of matrix / 2^k, squared k times.

    torch.matrix_exp of one matrix alone is wrong by up to 1e-9 in float64 (pytorch issue 196592).
    """
    squarings = max(0, math.ceil(math.log2(float(matrix.abs().sum(-1).max()) + 1e-300)) + 1)
    matrix = matrix / 2**squarings  # norm <= 1/2
    term = total = torch.eye(matrix.shape[-1], dtype=matrix.dtype).expand_as(matrix)
    for k in range(1, 16):  # 2^-16 / 16! < 1e-18
        term = term @ matrix / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def step_through(layer: StateSpaceLayer, x: Tensor, steps: Tensor, direction: int) -> Tensor:
    """x (B, T, D) -> y (B, T, D) by x_t = A_bar x_{t-1} + B_bar u_t, y_t = C x_t; steps: (B, T | 1)."""
    a, b, c, dt = system(layer)
    u = x.to(a.dtype).unflatten(-1, (b.shape[0], b.shape[2])).unsqueeze(-1)  # (B, T, S, I, 1)
    method = "zoh" if isinstance(layer, DSS) else layer.discretization
    hidden, states = torch.zeros(len(x), *b.shape[:2], 1, dtype=a.dtype), []
    for t in range(x.shape[1]):
        if t < steps.shape[1]:
            a_bar, b_bar = discrete(a, b, dt * steps[:, t, None, None, None], method)
        hidden = a_bar @ hidden + b_bar @ u[:, t]
        states.append(hidden)
    y = (c[direction] @ torch.stack(states, 1)).flatten(2)
    assert y.imag.abs().max() <= 1e-9 * y.abs().max(), "a real system"
    return y.real


def softmax_kernel(layer: DSS, length: int, rate: float, direction: int) -> Tensor:
    """K = w Lambda^-1 row-softmax(P), P_nk = lambda_n k dt, literally (DSS, proposition 1 (b)): (D, length).

    The sum is over the layer's L = `norm_length` frames of the trained rate, however long the kernel is.
    """
    p = {name: value.detach().double() for name, value in layer.named_parameters()}
    columns = round(layer.norm_length / rate)
    assert columns * rate == layer.norm_length, "as many whole frames as last the same time"
    eigenvalues = diagonal(layer, p)[torch.arange(layer.d_model) % layer.n_ssm]  # (D, N)
    z = eigenvalues * p["log_dt"].exp() * rate
    rows = torch.exp(z.unsqueeze(-1) * torch.arange(max(length, columns)))
    rows = rows / rows[..., :columns].sum(-1, keepdim=True)
    # a reciprocal conj(s) / (|s|^2 + 1e-7) in place of 1 / s, s = e^{L lambda dt} - 1
    near_zero = torch.expm1(z * columns).abs().square()
    w = whole(p["c"])[direction] / eigenvalues * near_zero / (near_zero + 1e-7)
    return torch.einsum("dn,dnl->dl", w, rows)[:, :length].real


def respond(layer: StateSpaceLayer, x: Tensor, steps: Tensor, direction: int) -> Tensor:
    """x (B, T, D) -> y (B, T, D) of one direction, without the skip; steps: (B, T), or (1, 1) for a rate."""
    if x.numel() == 0:
        return x
    if not softmax(layer):
        return step_through(layer, x, steps, direction)
    taps = softmax_kernel(layer, x.shape[1], steps.item(), direction).T  # (T, D)
    return torch.stack([(taps[: t + 1].flip(0) * x[:, : t + 1]).sum(1) for t in range(x.shape[1])], 1)


def run(layer: StateSpaceLayer, x: Tensor, rate: float = 1.0, time_steps: Tensor | None = None) -> Tensor:
    """x (B, T, D) -> what a causal or bidirectional layer must give, float64; time_steps (B, T): of S5."""
    x = x.detach().double()
    steps = torch.tensor([[rate]]).double() if time_steps is None else rate * time_steps.double()
    y = respond(layer, x, steps, 0)
    if layer.bidirectional:
        # backwards, the time before a frame is the time after it; the last frame has the first's
        back = steps if time_steps is None else torch.cat([steps[:, 1:], steps[:, :1]], 1).flip(1)
        y = y + respond(layer, x.flip(1), back, 1).flip(1)
    return y + x * layer.d.detach().double()


def kernel(layer: StateSpaceLayer, length: int, rate: float = 1.0, direction: int = 0) -> Tensor:
    """The response of each channel to an impulse: (D, length). Channels must not see each other (not S5)."""
    impulse = torch.zeros(1, length, layer.d_model, dtype=torch.float64)
    impulse[:, :1] = 1.0
    return respond(layer, impulse, torch.tensor([[rate]]).double(), direction)[0].T
