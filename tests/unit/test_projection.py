"""Online function approximation against quadrature, exact cases and the recurrence of the layers."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from torch import Tensor

from s4speech.layers.hippo import HIPPOS, dplr
from s4speech.layers.projection import basis_functions, project, reconstruct
from tools.hippo_demo import main as demo

DT = 1e-3
TIMES = torch.linspace(0, 1, 201, dtype=torch.float64)


def middles(samples: int) -> Tensor:
    """The time in the middle of each sample, seconds."""
    return (torch.arange(samples, dtype=torch.float64) + 0.5) * DT


def band_limited(t: Tensor) -> Tensor:
    """24 cosines below 4 Hz: 8 periods in the two seconds of most tests."""
    generator = torch.Generator().manual_seed(0)
    hz, phase = 4 * torch.rand(24, generator=generator), 2 * math.pi * torch.rand(24, generator=generator)
    return torch.cos(2 * math.pi * t[:, None] * hz + phase).mean(1)


def remembered(init: str, now: float, window_s: float = 1.0) -> Tensor:
    """The moments, in seconds, that TIMES stand for."""
    return now * TIMES if init == "legs" else now + window_s * (TIMES - 1)


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


def coefficients_by_quadrature(init: str, size: int, now: float, points: int = 400) -> np.ndarray:
    """Inner products of the past with each basis function, from the definition (Gauss-Legendre)."""
    nodes, weights = legendre.leggauss(points)
    fraction = (nodes + 1) / 2  # of the past, 1 is now
    moments = now * fraction if init == "legs" else now - 1 + fraction
    u = band_limited(torch.from_numpy(moments)).numpy() * weights / 2
    if init != "fourier":
        rows = [math.sqrt(2 * n + 1) * legendre.legval(nodes, np.eye(size)[n]) for n in range(size)]
    else:
        age = 1 - fraction
        rows = [np.ones(points), np.zeros(points)]
        for m in range(1, size // 2):
            rows += [math.sqrt(2) * np.cos(2 * np.pi * m * age), math.sqrt(2) * np.sin(2 * np.pi * m * age)]
    return np.array(rows) @ u


@pytest.mark.parametrize("init", HIPPOS)
def test_the_basis_is_orthonormal(init: str) -> None:
    nodes, weights = legendre.leggauss(200)
    basis = basis_functions(init, 32, torch.from_numpy((nodes + 1) / 2)).numpy()
    gram = (basis * weights[:, None] / 2).T @ basis
    wanted = np.eye(32)
    if init == "fourier":
        wanted[1, 1] = 0  # the sine of frequency 0
    np.testing.assert_allclose(gram, wanted, atol=1e-12)


@pytest.mark.parametrize("method", ["bilinear", "zoh"])
@pytest.mark.parametrize(("init", "tolerance"), [("legs", 3e-4), ("legt", 3e-4), ("fourier", 0.05)])
def test_the_state_is_the_projection(init: str, tolerance: float, method: str) -> None:
    state = project(band_limited(middles(2000)), init, 64, DT, method=method)[-1]
    wanted = torch.from_numpy(coefficients_by_quadrature(init, 64, now=2.0))
    assert relative(state, wanted) < tolerance


@pytest.mark.parametrize(
    ("init", "errors"),
    # measured: legs 0.85 0.33 1.2e-4 2.1e-4, legt 0.70 2.0e-3 2.1e-4 2.1e-4, fourier 0.38 0.19 0.12 0.087;
    # below 3e-4 is the staircase of the samples
    [
        ("legs", (0.9, 0.4, 3e-4, 3e-4)),
        ("legt", (0.8, 3e-3, 3e-4, 3e-4)),
        ("fourier", (0.4, 0.25, 0.15, 0.1)),
    ],
)
def test_a_band_limited_signal_comes_back_and_better_with_more_states(
    init: str, errors: tuple[float, ...]
) -> None:
    signal, wanted = band_limited(middles(2000)), band_limited(remembered(init, now=2.0))
    got = [
        relative(reconstruct(project(signal, init, size, DT)[-1], init, TIMES), wanted)
        for size in (8, 16, 32, 64)
    ]
    assert all(error < limit for error, limit in zip(got, errors, strict=True)), got
    assert all(more < max(less, 3e-4) for less, more in pairwise(got)), got


def test_the_error_of_the_fourier_window_is_of_the_order_of_one_over_n() -> None:
    """The state knows u(now - 1), which leaves the window, only up to the truncation of its own series."""
    signal = band_limited(middles(2000))
    got = [
        relative(
            project(signal, "fourier", size, DT)[-1],
            torch.from_numpy(coefficients_by_quadrature("fourier", size, now=2.0)),
        )
        for size in (16, 32, 64, 128)
    ]
    assert all(0.4 < more / less < 0.65 for less, more in pairwise(got)), got


@pytest.mark.parametrize("method", ["bilinear", "zoh"])
@pytest.mark.parametrize("init", ["legs", "legt"])
def test_a_polynomial_of_lower_degree_comes_back_at_every_moment(init: str, method: str) -> None:
    def cubic(t: Tensor) -> Tensor:
        return 1 - 2 * t + 3 * (t / 2) ** 2 - (t / 3) ** 3

    states = project(cubic(middles(6000)), init, 4, DT, method=method)
    # a window still has traces of the jump at the start of the signal: they decay as exp(-3.2 t) with N = 4
    for frame in (99, 499, 1999, 5999) if init == "legs" else (5999,):
        wanted = cubic(remembered(init, now=(frame + 1) * DT))
        torch.testing.assert_close(reconstruct(states[frame], init, TIMES), wanted, rtol=0, atol=1e-4)


def test_legs_remembers_a_constant_exactly_from_the_first_sample() -> None:
    for method in ("bilinear", "zoh"):
        states = project(torch.full((600,), 3.0), "legs", 16, DT, method=method)
        torch.testing.assert_close(reconstruct(states, "legs", TIMES), torch.full((600, 201), 3.0).double())


def test_legs_knows_no_time_scale() -> None:
    signal = band_limited(middles(300))
    torch.testing.assert_close(project(signal, "legs", 8, DT), project(signal, "legs", 8, 60.0, window_s=5.0))


def test_fourier_is_exact_for_a_period_of_one_window() -> None:
    def tone(t: Tensor) -> Tensor:
        return 0.5 + torch.cos(2 * math.pi * t) - torch.sin(6 * math.pi * t)

    state = project(tone(middles(6000)), "fourier", 16, DT)[-1]
    assert relative(reconstruct(state, "fourier", TIMES), tone(remembered("fourier", now=6.0))) < 1e-3


@pytest.mark.parametrize(("init", "left"), [("legt", 1e-6), ("fourier", 0.05)])
def test_a_window_forgets_and_legs_does_not(init: str, left: float) -> None:
    """Half a second of signal, then silence: gone when the window has passed it."""
    signal = band_limited(middles(3000)) * (middles(3000) < 0.5)
    norms = project(signal, init, 32, DT).norm(dim=1)
    assert norms[2999] < left * norms[:500].max()
    past = reconstruct(project(signal, "legs", 32, DT)[-1], "legs", TIMES)
    assert past[TIMES < 0.15].norm() > 5 * past[TIMES > 0.3].norm()


@pytest.mark.parametrize("init", ["legt", "fourier"])
def test_the_window_may_have_any_length(init: str) -> None:
    signal = band_limited(middles(2000))
    got = project(signal, init, 32, DT, window_s=0.4)
    torch.testing.assert_close(got, project(signal, init, 32, DT / 0.4))
    wanted = band_limited(remembered(init, now=2.0, window_s=0.4))
    assert relative(reconstruct(got[-1], init, TIMES), wanted) < (1e-3 if init == "legt" else 0.15)


@pytest.mark.parametrize("init", HIPPOS)
def test_the_state_of_a_diagonal_plus_low_rank_layer_is_the_same_function(init: str) -> None:
    """Bilinear recurrence in the DPLR basis, the other half of each pair implied, then 2 Re(basis z)."""
    form, step = dplr(init, 32), DT
    diagonal = torch.cat([form.eigenvalues, form.eigenvalues.conj()])
    p, b = torch.cat([form.p, form.p.conj()], 1).T, torch.cat([form.b, form.b.conj()])
    a, eye = torch.diag(diagonal) - p @ p.mH, torch.eye(32, dtype=torch.complex128)
    left = eye - step / 2 * a
    a_bar, b_bar = torch.linalg.solve(left, eye + step / 2 * a), torch.linalg.solve(left, step * b)
    samples = 2000 if init != "legs" else 6000  # its memory is long: exp(-6) is left of the start
    signal = band_limited(middles(samples)).to(torch.complex128)
    z = torch.zeros(32, dtype=torch.complex128)
    for sample in signal:
        z = a_bar @ z + b_bar * sample
    torch.testing.assert_close(z[16:], z[:16].conj())
    state = 2 * (form.basis @ z[:16]).real
    if init != "legs":
        torch.testing.assert_close(state, project(signal.real, init, 32, DT)[-1], rtol=1e-9, atol=1e-9)
        return
    # LegS in the logarithm of time: the last second is times 1/e .. 1, and the rest of the past below it
    ages = torch.linspace(0, 1, 101, dtype=torch.float64)
    got = reconstruct(state, "legs", torch.exp(-ages))
    assert relative(got, band_limited(samples * DT - ages)) < 0.1


def test_short_and_single_precision_signals() -> None:
    for init in HIPPOS:
        for samples in (0, 1, 2):
            states = project(torch.ones(samples), init, 4, DT)
            assert states.shape == (samples, 4) and states.dtype == torch.float64
        assert reconstruct(torch.zeros(2, 3, 4), init, TIMES).shape == (2, 3, 201)
    assert reconstruct(torch.ones(1), "legs", TIMES).tolist() == [1.0] * 201


def test_what_it_refuses() -> None:
    signal = torch.ones(4)
    for kwargs, named in (
        ({"init": "lin"}, "init: got 'lin', wanted one of legs, legt, fourier"),
        ({"init": "fourier", "d_state": 5}, "d_state: got 5"),
        ({"dt": 0.0}, "dt, window_s: got 0.0"),
        ({"window_s": math.inf}, "dt, window_s"),
        ({"method": "euler"}, "method: got 'euler'"),
        ({"signal": torch.ones(2, 2)}, "signal: got"),
        ({"signal": torch.ones(2, dtype=torch.complex64)}, "signal: got"),
    ):
        options = {"signal": signal, "init": "legt", "d_state": 4, "dt": DT, **kwargs}
        with pytest.raises(ValueError, match=named.replace("(", r"\(")):
            project(**options)
    for state, init, times, named in (
        (torch.ones(4), "inv", TIMES, "init"),
        (torch.ones(5), "fourier", TIMES, "d_state"),
        (torch.ones(4), "legs", TIMES + 0.1, "times"),
        (torch.ones(4), "legs", TIMES.unsqueeze(0), "times"),
        (torch.ones(4, dtype=torch.complex64), "legs", TIMES, "state"),
    ):
        with pytest.raises(ValueError, match=named):
            reconstruct(state, init, times)


def test_the_demo_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "hippo.png"
    assert (
        demo(["-o", str(target), "--d-state", "8", "--seconds", "1", "--init", "legs", "--init", "legt"]) == 0
    )
    assert target.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [target]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["legs", "legt", str(target)]


@pytest.mark.parametrize(
    "options",
    ["--init lin", "--d-state 5", "--d-state x", "--seconds nan", "--seed -1", "--size 3", "-o /no/a.png"],
)
def test_the_demo_refuses_in_one_line(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "hippo.png"
    try:
        code = demo(["-o", str(target), "--seconds", "0.1", *options.split()])
    except SystemExit as stop:  # argparse
        code = int(str(stop.code))
    assert code == 2 and not target.exists()
    message = capsys.readouterr().err
    assert message.startswith("hippo_demo: ") and message.count("\n") == 1
