"""Online function approximation: what the state of a HiPPO system knows of its input.

HiPPO (Gu et al. 2020, arXiv 2008.07669) keeps, at every moment, the first N coefficients of the past input on
an orthonormal basis, updated from those N numbers and the next sample alone. `project` runs the system over a
signal, `reconstruct` turns a state back into a function of time.

    legs     polynomials on the whole past [0, t]; a time-varying system, x' = (A x + B u) / t (theorem 2)
    legt     polynomials on a sliding window [t - window, t] (theorem 1)
    fourier  the Fourier series on the same window (Gu et al. 2022, arXiv 2206.12037, HiPPO-FouT)

A window has to forget what leaves it, which the state knows only by its own reconstruction of u(t - window):
exact for a polynomial of degree < N (legt) or for a period of one window (fourier), else an approximation.

Sample k stands for the time from k dt to (k + 1) dt, as in the recurrence of the layers, so T samples are the
time from 0 to T dt, and a function is best sampled at (k + 1/2) dt.
"""

import math

import torch
from torch import Tensor

from s4speech.layers.hippo import check_pairs, hippo, hippo_rank
from s4speech.layers.ssm import DISCRETIZATIONS, discretize_dense

BLOCK = 256  # steps discretised together: 8 MiB of A_bar at N = 64


def project(
    signal: Tensor, init: str, d_state: int, dt: float, window_s: float = 1.0, method: str = "bilinear"
) -> Tensor:
    """States of the HiPPO system after each sample: signal (T,) -> (T, N) float64 on CPU.

    init: legs | legt | fourier. d_state: N. dt: seconds between samples. window_s: length of the sliding
    window in seconds; legs has none. The signal is 0 before it starts, which only a window can see.
    method: bilinear | zoh (exact for an input that is constant during a sample).
    Raises ValueError naming the option, or unless signal is one-dimensional and real.
    """
    a, b = hippo(init, d_state)
    if signal.dim() != 1 or signal.is_complex():
        raise ValueError(f"signal: got {signal.dtype} {tuple(signal.shape)}, wanted real numbers (T,)")
    if not (0 < dt < math.inf and 0 < window_s < math.inf):
        raise ValueError(f"dt, window_s: got {dt}, {window_s}, wanted both positive and finite")
    if method not in DISCRETIZATIONS:
        raise ValueError(f"method: got {method!r}, wanted one of {', '.join(DISCRETIZATIONS)}")
    u = signal.detach().to("cpu", torch.float64)
    if init == "legs":  # it has no time scale: dt cancels in dt / t
        return _scaled(u, a, b, method)
    a_bar, b_bar = discretize_dense(a[None], b[None], torch.tensor([[dt / window_s]], dtype=a.dtype), method)
    states = u[:, None] * b_bar
    for k in range(1, len(u)):
        states[k] += a_bar[0] @ states[k - 1]
    return states


def reconstruct(state: Tensor, init: str, times: Tensor) -> Tensor:
    """The function that a state stands for: state (..., N), times (K,) -> (..., K) float64 on CPU.

    times: fractions of what is remembered, 1 now and 0 the oldest, which is the start of the signal (legs) or
    now - window (legt, fourier). At these two ends the Fourier series gives the mean of both.
    A layer's state: the kept half z of a DPLR layer (S4) stands for the real state 2 Re(basis z). With step
    dt, legt and fourier have a window of 1 / dt frames. A layer does not divide A by t, so its legs is LegS
    in the logarithm of time: `age` frames ago is at times = exp(-age dt) (arXiv 2206.12037, S4-LegS).
    Raises ValueError for another init, an odd N with fourier, a complex state, or times outside [0, 1].
    """
    if state.is_complex():
        raise ValueError("state: got complex numbers, wanted the real state, 2 Re(basis z) of a DPLR layer")
    return state.detach().to("cpu", torch.float64) @ basis_functions(init, state.shape[-1], times).T


def basis_functions(init: str, d_state: int, times: Tensor) -> Tensor:
    """The orthonormal functions whose coefficients a state holds: times (K,) in [0, 1] -> (K, N) float64.

    legs, legt: (2n+1)^.5 P_n(2 times - 1), Legendre polynomials. fourier: 1, 0, and 2^.5 cos and sin of
    2 pi m (1 - times), m = 1 .. N/2 - 1. Raises ValueError as `reconstruct`.
    """
    hippo_rank(init)  # a known init
    if times.dim() != 1 or not bool(((times >= 0) & (times <= 1)).all()):
        raise ValueError("times: wanted shape (K,) and fractions in [0, 1], 1 for now")
    times = times.to("cpu", torch.float64)
    if init == "fourier":
        check_pairs(d_state)
        phase = 2 * math.pi * (1 - times[:, None]) * torch.arange(d_state // 2)
        waves = math.sqrt(2) * torch.stack([phase.cos(), phase.sin()], -1).flatten(1)
        waves[:, 0] = 1.0
        return waves
    y = 2 * times - 1
    columns = [torch.ones_like(y), y]
    for n in range(1, d_state - 1):  # (n + 1) P_{n+1} = (2n + 1) y P_n - n P_{n-1}
        columns.append(((2 * n + 1) * y * columns[n] - n * columns[n - 1]) / (n + 1))
    return torch.stack(columns[:d_state], 1) * torch.sqrt(2 * torch.arange(d_state, dtype=torch.float64) + 1)


def _scaled(u: Tensor, a: Tensor, b: Tensor, method: str) -> Tensor:
    """x' = (A x + B u) / t: u (T,) -> (T, N). In the time log t the system is invariant, with growing steps.

    The step from t = k dt to (k + 1) dt is log((k + 1) / k), 1 / (k + 1/2) to second order. The first, from
    t = 0, is infinite: the system comes to rest at -A^-1 B u_0 = (u_0, 0, 0, ...), the constant.
    """
    x = torch.zeros_like(b)
    x[0] = 1.0
    states = [x * sample for sample in u[:1]]
    for start in range(1, len(u), BLOCK):
        k = torch.arange(start, min(start + BLOCK, len(u)), dtype=u.dtype)
        a_bars, b_bars = discretize_dense(a[None], b[None], torch.log1p(1 / k)[:, None], method)
        for a_bar, b_bar, sample in zip(a_bars, b_bars, u[start:], strict=False):
            states.append(a_bar @ states[-1] + b_bar * sample)
    return torch.stack(states) if states else u.new_zeros(0, len(b))
