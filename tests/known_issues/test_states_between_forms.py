"""States that cross from one form, dtype or batch to another: each of these once crashed or was wrong."""

from collections.abc import Callable

import pytest
import torch

from s4speech.layers import DSS, LSSL, S4, S4D, S5, StateSpaceLayer
from tests.oracles.compare import close, frames

D, N = 4, 8
LAYERS: dict[str, Callable[[], StateSpaceLayer]] = {
    "s4d": lambda: S4D(D, N),
    "s4d-real": lambda: S4D(D, N, "real", discretization="bilinear"),
    "s4": lambda: S4(D, N),
    "s4-dense": lambda: S4(D, N, discretization="zoh"),
    "dss": lambda: DSS(D, N),
    "lssl": lambda: LSSL(D, N),
    "s5": lambda: S5(D, N),
    "s5-real": lambda: S5(D, N, "real"),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def make(name: str) -> StateSpaceLayer:
    torch.manual_seed(0)
    return LAYERS[name]()


@each_layer
def test_a_state_of_other_rows_is_refused(name: str) -> None:
    layer, x = make(name), frames(2, 32, D, dtype=torch.float32)
    frozen = layer.freeze()
    for rows in (1, 4):
        state = frozen.init_state(rows)
        with pytest.raises(ValueError, match=f"^state: got {rows} rows, wanted 2"):
            frozen.scan(x, state)
        with pytest.raises(ValueError, match=f"^state: got {rows} rows, wanted 2"):
            frozen.step(x[:, 0], state)
        with pytest.raises(ValueError, match=f"^state: got {rows} rows, wanted 2"):
            layer.forward_state(x, state)
    with pytest.raises(ValueError, match=r"^x: got 1 channels, wanted d_model 4"):
        frozen.step(x[:, 0, :1], frozen.init_state(2))


@each_layer
def test_training_continues_from_a_frozen_state(name: str) -> None:
    layer, x = make(name), frames(2, 50, D, dtype=torch.float32)
    frozen = layer.freeze()
    _, state = frozen.scan(x[:, :20], frozen.init_state(2))
    y, _ = layer.forward_state(x[:, 20:], state)
    close(y, layer(x)[:, 20:], 1e-4)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@each_layer
def test_a_gradient_can_come_through_the_state_alone(name: str) -> None:
    layer, x = make(name), frames(2, 40, D, dtype=torch.float32).requires_grad_()
    zero = layer.freeze().init_state(1)
    expanded = type(zero)(zero[0].clone().expand(2, *zero[0].shape[1:]))
    _, state = layer.forward_state(x, expanded)
    state[0].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    frozen = layer.freeze()
    frozen.step(x[:, 0].detach(), expanded)
    frozen.scan(x.detach(), expanded)


@each_layer
def test_the_recurrence_keeps_its_precision_under_autocast(name: str) -> None:
    layer, x = make(name), frames(2, 21, D, dtype=torch.float32)
    frozen = layer.freeze()
    wanted, end = frozen.scan(x, frozen.init_state(2))
    with torch.autocast("cpu", torch.bfloat16):
        y, state = frozen.scan(x, frozen.init_state(2))
        y_t, _ = frozen.step(x[:, 0], frozen.init_state(2))
        layer.forward_state(x, frozen.init_state(2))[0].float().sum().backward()
    close(y, wanted, 1e-6)
    close(state[0], end[0], 1e-6)
    close(y_t, wanted[:, 0], 1e-4)


@each_layer
def test_other_dtypes_are_taken_and_leave_the_state_alone(name: str) -> None:
    frozen, x = make(name).freeze(), frames(2, 21, D)
    wanted, _ = frozen.scan(x.float(), frozen.init_state(2))
    for dtype, tolerance in ((torch.float64, 1e-5), (torch.bfloat16, 2e-2)):
        y, state = frozen.scan(x.to(dtype), frozen.init_state(2))
        close(y, wanted, tolerance)
        _, stepped = frozen.step(x[:, 0].to(dtype), state)
        assert state[0].dtype == stepped[0].dtype == torch.float32


@each_layer
def test_no_rows_are_no_error(name: str) -> None:
    layer, x = make(name), torch.zeros(0, 5, D)
    frozen = layer.freeze()
    for y, state in (frozen.scan(x, frozen.init_state(0)), layer.forward_state(x, frozen.init_state(0))):
        assert y.shape == (0, 5, D) and len(state[0]) == 0
    assert layer(x).shape == (0, 5, D)
    assert frozen.step(x[:, 0], frozen.init_state(0))[0].shape == (0, D)


@each_layer
def test_a_state_does_not_keep_the_chunk(name: str) -> None:
    frozen, x = make(name).freeze(), frames(1, 4000, D, dtype=torch.float32)
    _, state = frozen.scan(x, frozen.init_state(1))
    assert state[0].is_contiguous()
    assert state[0].untyped_storage().nbytes() == state[0].nbytes


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
@each_layer
def test_a_rate_is_positive_and_finite(name: str, rate: float) -> None:
    with pytest.raises(ValueError, match=r"^rate: got"):
        make(name).freeze(rate)


def test_time_steps_are_positive_and_one_a_frame() -> None:
    layer, x = S5(D, N), frames(2, 6, D, dtype=torch.float32)
    for steps in (torch.ones(6), torch.ones(2), -torch.ones(2, 6), torch.zeros(2, 6)):
        with pytest.raises(ValueError, match=r"^time_steps: got"):
            layer(x, time_steps=steps)
    close(layer(x, time_steps=torch.ones(2, 6, dtype=torch.float64)), layer(x), 1e-5)


@pytest.mark.parametrize("dt", [0.5, 0.125, 0.03125])
def test_a_bilinear_pole_at_zero(dt: float) -> None:
    """dt a = -2 exactly: A_bar is 0 and has no logarithm."""
    layer = S4D(2, 64, "real", discretization="bilinear", dt_min=dt, dt_max=dt)
    near = S4D(2, 64, "real", discretization="bilinear", dt_min=dt, dt_max=dt)
    near.load_state_dict(layer.state_dict())
    with torch.no_grad():
        near.log_dt.add_(1e-5)
    x = frames(1, 40, 2, dtype=torch.float32)
    y = layer(x)
    close(y, near(x), 1e-3)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("growth", [20.0, 50.0, 80.0])
def test_softmax_of_growing_modes(growth: float) -> None:
    """Each row of the kernel is a softmax over norm_length columns, also where its exponent grows."""
    layer = DSS(1, 2, dt_min=0.1, dt_max=0.1, norm_length=100)
    with torch.no_grad():
        layer.a_real.fill_(growth / 10)
        layer.a_imag.fill_(0.3)
    a = torch.complex(layer.a_real, layer.a_imag).detach().to(torch.complex128)[0]
    exponents = a.unsqueeze(-1) * 0.1 * torch.arange(100)
    row = torch.exp(exponents - exponents[:, -1:])
    weights = torch.view_as_complex(layer.c.detach().double())[0]
    wanted = 2 * (weights / a @ (row / row.sum(-1, keepdim=True))).real
    close(layer.kernel(100)[0], wanted, 1e-4)
