"""The linear recurrence h_t = a_t h_{t-1} + b_t over whole sequences, by chunks, differentiable."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4speech.layers.chunk import toeplitz


def linear_scan(a: Tensor, b: Tensor, state: Tensor) -> Tensor:
    """h_1 .. h_T (B, T, P) from h_0 = state (B, P).

    a: (P,), or (B, T, P) for a step of its own at each frame; b: (B, T, P). All real or all complex.
    About 2 sqrt(T) vector operations after one another: all chunks of sqrt(T) frames at once, then the
    carry from chunk to chunk (the parallel scan of S5, appendix H, with two levels).
    """
    if b.numel() == 0:
        return b
    h: Tensor = _LinearScan.apply(a, b, state)  # type: ignore[no-untyped-call]
    return h


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, state: Tensor) -> Tensor:
        h = _scan(a, b, state)
        ctx.save_for_backward(a, h, state.clone())  # a state from a frozen layer is an inference tensor
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, state = ctx.saved_tensors
        # the same recurrence backwards in time: g_t = grad_t + conj(a_{t+1}) g_{t+1}
        adjoint = a.conj().resolve_conj()
        previous = torch.cat([state.unsqueeze(1), h[:, :-1]], 1)
        if a.dim() == 1:
            g = _constant_scan(adjoint, grad, torch.zeros_like(state), reverse=True)
            return (g * previous.conj()).sum((0, 1)), g, g[:, 0] * adjoint
        later = F.pad(adjoint[:, 1:], (0, 0, 0, 1)).flip(1)
        g = _scan(later, grad.flip(1), torch.zeros_like(state)).flip(1)
        return g * previous.conj(), g, g[:, 0] * adjoint[:, 0]


def _scan(a: Tensor, b: Tensor, state: Tensor) -> Tensor:
    if a.dim() == 1:
        return _constant_scan(a, b, state)
    rows, t, p = b.shape
    size = math.isqrt(t - 1) + 1
    pad = (0, 0, 0, -t % size)
    h = F.pad(b, pad).reshape(rows, -1, size, p).clone()
    a = F.pad(a, pad).reshape(rows, -1, size, p)
    for j in range(1, size):
        h[:, :, j].addcmul_(a[:, :, j], h[:, :, j - 1])
    decay = a.cumprod(2)  # from before a chunk to each of its frames
    carried = []
    for c in range(h.shape[1]):
        carried.append(state)
        state = torch.addcmul(h[:, c, -1], decay[:, c, -1], state)
    h.addcmul_(decay, torch.stack(carried, 1).unsqueeze(2))
    return h.view(rows, -1, p)[:, :t]


CHUNK = 32


def _constant_scan(a: Tensor, b: Tensor, state: Tensor, *, reverse: bool = False) -> Tensor:
    """Inside a chunk a product with the powers of a, for each state. reverse: from the last frame on."""
    rows, t, p = b.shape
    size = min(CHUNK, t)
    chunks = F.pad(b, (0, 0, 0, -t % size)).reshape(-1, p).t().contiguous().view(p, -1, size)  # (P, B C, Q)
    powers = a.unsqueeze(-1).repeat(1, size).cumprod(-1)  # a^1 .. a^Q
    within = toeplitz(torch.cat([torch.ones_like(a).unsqueeze(-1), powers[:, :-1]], -1))
    h = chunks @ (within.mT if reverse else within)
    ends = h[..., 0 if reverse else -1].view(p, rows, -1)
    carried, z, step = torch.empty_like(ends), state.t(), powers[:, -1:]
    order = range(ends.shape[-1])
    for c in reversed(order) if reverse else order:
        carried[..., c] = z
        z = torch.addcmul(ends[..., c], step, z)
    h = torch.baddbmm(h, carried.view(p, -1, 1), (powers.flip(-1) if reverse else powers).unsqueeze(1))
    return h.view(p, -1).t().contiguous().view(rows, -1, p)[:, :t]
