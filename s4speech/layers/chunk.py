"""A state space model in blocks of Q frames: matrix products inside a block, a recurrence between blocks.

With z the state before a block and u its Q inputs,

    y_j = sum_{i <= j} K_{j-i} u_i + C A_bar^{j+1} z           K_l = C A_bar^l B_bar
    z'  = A_bar^Q z + sum_i A_bar^{Q-1-i} B_bar u_i

which is the convolution, the recurrence, and everything between them, by the choice of Q. All products have
real operands: the complex state of a conjugate pair is two real numbers (real part, imaginary part).
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4speech.layers.ssm import pairs, realify


class Blocks(NamedTuple):
    """The matrices above for H channels with M real state variables each.

    taps: (directions, H, Q), K_l. drive: (H, Q, M), row i is A_bar^{Q-1-i} B_bar.
    readout: (directions, H, M, Q), column j is C A_bar^{j+1}. transition: A_bar^Q, as complex (H, M / 2) or
    real (H, M) if it is diagonal, else (H, M, M) for states as row vectors.
    """

    taps: Tensor
    drive: Tensor
    readout: Tensor
    transition: Tensor

    def with_skip(self, d: Tensor) -> "Blocks":
        """With D (H,) added to K_0 of the forward direction."""
        skip = F.pad(d.unsqueeze(-1), (0, self.taps.shape[-1] - 1)).unsqueeze(0)
        return self._replace(taps=torch.cat([self.taps[:1] + skip, self.taps[1:]]))

    def to(self, dtype: torch.dtype) -> "Blocks":
        """In this real dtype and its complex one."""
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        kinds = [complex_dtype if part.is_complex() else dtype for part in self]
        return Blocks(*(part.to(kind) for part, kind in zip(self, kinds, strict=True)))


def block_size(rows: int, frames: int) -> int:
    """Q for the parallel form of `rows` sequences of `frames` frames, measured on a CPU.

    Larger blocks shorten the loop from block to block, and cost H Q^2 to make.
    """
    return max(1, min(frames, 128 if rows * frames >= 32768 else 64))


def diagonal_blocks(log_a_bar: Tensor, c_bar: Tensor, size: int) -> Blocks:
    """Blocks of y_l = Re sum_n c_n x_n with x_l = A_bar x_{l-1} + u_l.

    log_a_bar: (H, N) complex, c_bar: (directions, H, N) complex, or real where all powers of A_bar are.
    """
    powers = diagonal_powers(log_a_bar, size + 1)  # (H, N, Q + 1)
    if not c_bar.is_complex():
        powers = powers.real  # of a negative A_bar too: its logarithm has the imaginary part pi
    weighted = c_bar.unsqueeze(-1) * powers  # (directions, H, N, Q + 1)
    drive = powers[..., :size].flip(-1).transpose(1, 2)  # (H, Q, N)
    readout = weighted[..., 1:]
    if weighted.is_complex():
        # Re(c z) is the real scalar product of conj(c) and z
        drive = realify(drive)
        readout = torch.view_as_real(readout.conj().resolve_conj()).movedim(-1, -2).flatten(-3, -2)
    return Blocks(weighted[..., :size].real.sum(-2), drive, readout, powers[..., size])


def diagonal_powers(log_a_bar: Tensor, count: int) -> Tensor:
    """log_a_bar (H, N) complex -> A_bar^l for l = 0 .. count-1, (H, N, count).

    As products of two tables of sqrt(count) powers: a complex exponential costs far more than a product.
    """
    inner = math.isqrt(count - 1) + 1
    fine = torch.arange(inner, device=log_a_bar.device, dtype=log_a_bar.real.dtype)
    coarse = torch.arange(0, count, inner, device=log_a_bar.device, dtype=log_a_bar.real.dtype)
    near, far = (torch.exp(log_a_bar.unsqueeze(-1) * steps) for steps in (fine, coarse))
    return (far.unsqueeze(-1) * near.unsqueeze(-2)).flatten(-2)[..., :count]


def dense_blocks(a_bar: Tensor, b_bar: Tensor, c: Tensor, size: int) -> Blocks:
    """Blocks of x_l = A_bar x_{l-1} + B_bar u_l, y = C x, all real.

    a_bar: (H, M, M), b_bar: (H, M), c: (directions, H, M). The powers come by doubling: log2(size) matrix
    products for size of them.
    """
    reached, square = b_bar.unsqueeze(-1), a_bar  # (H, M, count) A_bar^i B_bar; A_bar^count
    observed = c.unsqueeze(-2) @ a_bar  # (directions, H, count, M) C A_bar^{j+1}
    power: Tensor | None = None  # A_bar^(the bits of size seen so far)
    bits = size
    while bits:
        if bits & 1:
            power = square if power is None else power @ square
        bits >>= 1
        if bits:
            reached = torch.cat([reached, square @ reached], -1)
            observed = torch.cat([observed, observed @ square], -2)
            square = square @ square
    assert power is not None  # size >= 1
    if reached.shape[-1] < size:  # the doubling reaches the power of two at or below size
        reached = torch.cat([reached, square @ reached], -1)
        observed = torch.cat([observed, observed @ square], -2)
    reached, observed = reached[..., :size], observed[..., :size, :]
    taps = (c.unsqueeze(-2) @ reached).squeeze(-2)
    return Blocks(taps, reached.flip(-1).transpose(1, 2), observed.transpose(-1, -2), power.transpose(1, 2))


def to_channels(x: Tensor) -> Tensor:
    """(B, T, H) -> (H, B, T)."""
    b, t, h = x.shape
    channels: Tensor = _Transpose.apply(x.reshape(b * t, h))  # type: ignore[no-untyped-call]
    return channels.view(h, b, t)


def to_frames(y: Tensor) -> Tensor:
    """(H, B, T) -> (B, T, H)."""
    h, b, t = y.shape
    frames: Tensor = _Transpose.apply(y.reshape(h, b * t))  # type: ignore[no-untyped-call]
    return frames.view(b, t, h)


class _Transpose(torch.autograd.Function):
    """A matrix transposed in memory, its gradient too: every product with a strided one would copy it again.

    In two dimensions: torch permutes three dimensions twice as slowly (59 ms against 28 for 33 MB).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.t().contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g.t().contiguous()


def toeplitz(taps: Tensor) -> Tensor:
    """taps (H, Q) -> (H, Q, Q), row i (source), column j (target): K_{j-i}, 0 for j < i."""
    size = taps.shape[-1]
    return F.pad(taps, (size - 1, 0)).unfold(-1, size, 1).flip(-2)


def diagonal_sums(matrix: Tensor) -> Tensor:
    """matrix (H, Q, Q) -> (H, Q), element k the sum over j - i = k: the adjoint of `toeplitz`."""
    h, size, _ = matrix.shape
    upper = matrix.triu()
    # with rows of Q + 1 elements a diagonal stands in a column; what wraps round is below the diagonal, so 0
    sums = upper.as_strided((h, size - 1, size), (size * size, size + 1, 1)).sum(1)
    sums[:, 0] += upper[:, -1, -1]
    return sums


def convolve_one(u: Tensor, blocks: Blocks, both: bool) -> Tensor:
    """u (H, B, Q) -> (H, B, Q), in both directions or forwards: one block from nothing needs no state."""
    return u @ _local(blocks.taps, both).to(u.dtype)


def convolve_blocks(u: Tensor, blocks: Blocks, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """u (H, B, T), T a multiple of Q, state (H, B, M) before it (None: 0) -> y (H, B, T), state after it."""
    h, b, _ = u.shape
    if state is None:
        state = blocks.drive.new_zeros(h, b, blocks.drive.shape[-1])
    ahead = blocks._replace(taps=blocks.taps[:1], readout=blocks.readout[:1])
    y, after = _Convolve.apply(u, *ahead, state, False)  # type: ignore[no-untyped-call]
    return y, after


def convolve_both(u: Tensor, blocks: Blocks) -> Tensor:
    """The sum of both directions: u (H, B, T) with T a multiple of Q -> y (H, B, T).

    Backwards every matrix is turned round instead of the input, and the products of the two are one.
    """
    h, b, _ = u.shape
    state = blocks.drive.new_zeros(h, b, 2 * blocks.drive.shape[-1])
    y: Tensor = _Convolve.apply(u, *blocks, state, True)[0]  # type: ignore[no-untyped-call]
    return y


class _Convolve(torch.autograd.Function):
    """All of it with a backward pass of its own, so that no array of the size of u is kept or made twice.

    Products are in the dtype of u, the carry in that of the state. both: M is doubled, forwards beside
    backwards.
    """

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        taps: Tensor,
        drive: Tensor,
        readout: Tensor,
        transition: Tensor,
        state: Tensor,
        both: bool,
    ) -> tuple[Tensor, Tensor]:
        local, inward, outward = products(Blocks(taps, drive, readout, transition), u.dtype, both)
        framed = u.reshape(len(u), -1, local.shape[-1])
        y, before, after = run_blocks(framed, local, inward, outward, transition, state, both)
        ctx.save_for_backward(framed, taps, inward, outward, transition, before)
        ctx.both = both
        return y.view(u.shape), after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_y: Tensor, g_after: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(g_y.device.type, enabled=False):
            return _Convolve._gradients(ctx, g_y, g_after)

    @staticmethod
    def _gradients(ctx: Any, g_y: Tensor, g_after: Tensor) -> tuple[Tensor | None, ...]:
        framed, taps, inward, outward, transition, before = ctx.saved_tensors
        both, wide = ctx.both, before.dtype
        g_y = g_y.reshape(framed.shape)
        g_local = (framed.mT @ g_y).to(wide)
        g_taps = [diagonal_sums(g_local)] + ([diagonal_sums(g_local.mT)] if both else [])
        del g_local
        g_outward = (before.flatten(1, 2).to(g_y.dtype).mT @ g_y).to(wide)
        g_before = (g_y @ outward.mT).to(wide).view(before.shape)
        adjoint = transition.mT if transition.dim() == 3 else transition.conj().resolve_conj()
        g_inflow, g_state = _carry(g_before, adjoint, g_after, both, reverse=True)
        del g_before
        g_transition = _transition_gradient(before, g_inflow, transition, both)
        g_inflow = g_inflow.flatten(1, 2).to(g_y.dtype)
        g_inward = (framed.mT @ g_inflow).to(wide)
        g_u = None
        if ctx.needs_input_grad[0]:
            local = _local(taps, both).to(g_y.dtype)  # again: it is as large as all the other matrices
            g_u = (g_y @ local.mT).baddbmm_(g_inflow, inward.mT).view(len(framed), before.shape[1], -1)
        if both:
            (drive, back), (readout, back_out) = g_inward.chunk(2, -1), g_outward.chunk(2, 1)
            g_inward, g_readout = drive + back.flip(1), torch.stack([readout, back_out.flip(-1)])
        else:
            g_readout = g_outward.unsqueeze(0)
        return g_u, torch.stack(g_taps), g_inward, g_readout, g_transition, g_state, None


def _local(taps: Tensor, both: bool) -> Tensor:
    return toeplitz(taps[0]) + toeplitz(taps[1]).mT if both else toeplitz(taps[0])


def products(blocks: Blocks, dtype: torch.dtype, both: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The three matrices that frames are multiplied with, in `dtype`: (H, Q, Q), (H, Q, M), (H, M, Q)."""
    local, inward, outward = _local(blocks.taps, both), blocks.drive, blocks.readout[0]
    if both:
        inward = torch.cat([inward, inward.flip(1)], -1)
        outward = torch.cat([outward, blocks.readout[1].flip(-1)], 1)
    return local.to(dtype), inward.to(dtype), outward.to(dtype)


def run_blocks(
    framed: Tensor,
    local: Tensor,
    inward: Tensor,
    outward: Tensor,
    transition: Tensor,
    state: Tensor,
    both: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """framed (H, B C, Q), `products`, state (H, B, M) -> y (H, B C, Q), states before each block, after."""
    h, b, m = state.shape
    inflow = (framed @ inward).to(state.dtype).view(h, b, -1, m)
    before, after = _carry(inflow, transition, state, both)
    y = (framed @ local).baddbmm_(before.flatten(1, 2).to(framed.dtype), outward)
    return y, before, after


def advance(state: Tensor, transition: Tensor) -> Tensor:
    """state (H, B, M) real times a transition of `Blocks`."""
    if transition.dim() == 3:
        return state @ transition
    if transition.is_complex():
        return realify(pairs(state) * transition.unsqueeze(1))
    return state * transition.unsqueeze(1)


def _carry(
    inflow: Tensor, transition: Tensor, state: Tensor, both: bool, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """z_{c+1} = A z_c + inflow_c from z_0 = state: inflow (H, B, C, M) -> z_0 .. z_{C-1} (H, B, C, M), z_C.

    reverse: from the last block on. both: the second half of M in the other direction.
    """
    before = torch.empty_like(inflow)
    half = inflow.shape[-1] // 2
    parts = (slice(0, half), slice(half, None)) if both else (slice(None),)
    ends = []
    for part, backwards in zip(parts, (reverse, not reverse), strict=False):
        z = state[..., part]
        count = range(inflow.shape[2])
        for c in reversed(count) if backwards else count:
            before[:, :, c, part] = z
            z = advance(z, transition).add_(inflow[:, :, c, part])
        ends.append(z)
    return before, torch.cat(ends, -1)


def _transition_gradient(before: Tensor, g_inflow: Tensor, transition: Tensor, both: bool) -> Tensor:
    if both:
        halves = zip(before.chunk(2, -1), g_inflow.chunk(2, -1), strict=True)
        ahead, back = (_transition_gradient(z, g, transition, False) for z, g in halves)
        return ahead + back
    if transition.dim() == 3:
        return before.flatten(1, 2).mT @ g_inflow.flatten(1, 2)
    if transition.is_complex():
        return (pairs(before).conj() * pairs(g_inflow)).sum((1, 2))
    return (before * g_inflow).sum((1, 2))
