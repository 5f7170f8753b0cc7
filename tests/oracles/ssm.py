"""Oracle of the state space layers: a dense real state matrix, stepped, in float64; nothing of ssm.py."""

from __future__ import annotations

import torch
from torch import Tensor

from s4speech.layers import S4D


def continuous(layer: S4D, channel: int, direction: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Real A (N, N), B (N,), C (N,) of one channel: a 2 x 2 rotation block for each conjugate pair."""
    own = channel % layer.n_ssm
    real = -layer.log_a_real.detach().double().exp()[own]
    c = layer.c.detach().double()[direction, channel]
    if layer.a_imag is None:
        return torch.diag(real), torch.ones(len(real), dtype=torch.float64), c
    imag = layer.a_imag.detach().double()[own]
    blocks = [torch.tensor([[r, -i], [i, r]], dtype=torch.float64) for r, i in zip(real, imag, strict=True)]
    # z' = a z + u with z = p + iq, and 2 Re(c z) = 2 Re(c) p - 2 Im(c) q
    b = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(len(real))
    return torch.block_diag(*blocks), b, torch.stack([2 * c[:, 0], -2 * c[:, 1]], 1).flatten()


def discrete(a: Tensor, b: Tensor, dt: float, method: str) -> tuple[Tensor, Tensor]:
    """Textbook A_bar, B_bar: the matrix exponential of [[A, B], [0, 0]], or the trapezoidal rule."""
    size = len(b)
    if method == "zoh":
        augmented = torch.zeros(size + 1, size + 1, dtype=torch.float64)
        augmented[:size, :size], augmented[:size, size] = a, b
        power = torch.matrix_exp(dt * augmented)
        return power[:size, :size], power[:size, size]
    one = torch.eye(size, dtype=torch.float64)
    left = one - dt / 2 * a
    return torch.linalg.solve(left, one + dt / 2 * a), torch.linalg.solve(left, dt * b)


def respond(layer: S4D, u: Tensor, rate: float = 1.0, direction: int = 0) -> Tensor:
    """u (T, D) float64 -> y (T, D), without the skip, by the recurrence x = A_bar x + B_bar u, y = C x."""
    columns = []
    for channel in range(layer.d_model):
        a, b, c = continuous(layer, channel, direction)
        dt = float(layer.log_dt.detach().double()[channel, 0].exp()) * rate
        a_bar, b_bar = discrete(a, b, dt, layer.discretization)
        x, column = torch.zeros(len(b), dtype=torch.float64), []
        for value in u[:, channel]:
            x = a_bar @ x + b_bar * value
            column.append(c @ x)
        columns.append(torch.stack(column))
    return torch.stack(columns, 1)


def run(layer: S4D, x: Tensor, rate: float = 1.0) -> Tensor:
    """x (B, T, D) -> what a causal or bidirectional S4D must give, in float64."""
    rows = []
    for u in x.detach().double():
        y = respond(layer, u, rate)
        if layer.bidirectional:
            y = y + respond(layer, u.flip(0), rate, 1).flip(0)
        rows.append(y + u * layer.d.detach().double())
    return torch.stack(rows)


def kernel(layer: S4D, length: int, rate: float = 1.0, direction: int = 0) -> Tensor:
    """The response to an impulse: (D, length)."""
    impulse = torch.zeros(length, layer.d_model, dtype=torch.float64)
    impulse[0] = 1.0
    return respond(layer, impulse, rate, direction).T
