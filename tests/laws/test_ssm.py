"""S4D alone: convolution and recurrence against a dense float64 oracle, both directions, memory."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from s4speech.layers import S4D, Chain, GatedMix, Residual
from s4speech.layers.hippo import INITS
from s4speech.layers.ssm import DISCRETIZATIONS
from tests.oracles import ssm as oracle
from tests.oracles.compare import TOLERANCE, close, frames

D = 4
OPTIONS = list(itertools.product(INITS, DISCRETIZATIONS, (1, 2, D)))
RATES = (0.5, 1.0, 2.0)


def make(
    init: str, method: str, n_ssm: int, dtype: torch.dtype = torch.float64, *, bidirectional: bool = False
) -> S4D:
    torch.manual_seed(0)
    layer = S4D(D, 8, init, n_ssm=n_ssm, discretization=method, bidirectional=bidirectional).to(dtype)
    with torch.no_grad():  # away from the special values of a fresh layer
        for p in layer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return layer


def steps(layer: S4D, x: Tensor, rate: float) -> Tensor:
    frozen, outputs = layer.freeze(rate), []
    state = frozen.init_state(len(x))
    for t in range(x.shape[1]):
        y, state = frozen.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("init, method, n_ssm", OPTIONS)
@pytest.mark.parametrize("rate", RATES)
def test_s4d_is_the_dense_recurrence(init: str, method: str, n_ssm: int, rate: float) -> None:
    length = 33
    for dtype, tolerance in TOLERANCE.items():
        layer = make(init, method, n_ssm, dtype)
        wanted = oracle.kernel(layer, length, rate)
        x = frames(1, length, D, dtype=dtype)
        with torch.no_grad():
            close(layer.kernel(length, rate)[0], wanted, tolerance)
            close(layer(x, rate=rate), oracle.run(layer, x, rate), tolerance)
        close(steps(layer, x, rate), oracle.run(layer, x, rate), tolerance)


@pytest.mark.parametrize("init, method", list(itertools.product(INITS, DISCRETIZATIONS)))
def test_the_kernel_of_the_published_size(init: str, method: str) -> None:
    torch.manual_seed(0)
    layer = S4D(2, 64, init, discretization=method)  # float32
    for length in (0, 1, 2, 3, 300):
        assert layer.kernel(length).shape == (1, 2, length)
    with torch.no_grad():
        close(layer.kernel(300)[0], oracle.kernel(layer, 300), 1e-4)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 15, 16, 17, 48, 49, 50, 127])
def test_every_length_of_the_convolution(length: int) -> None:
    layer, x = make("lin", "zoh", 2), frames(1, length, D)
    with torch.no_grad():
        close(layer(x), oracle.run(layer, x), 1e-9)


def test_the_convolution_does_not_wrap_around() -> None:
    layer = S4D(D, 8, "real", dt_min=1e-4, dt_max=1e-4).double()  # a memory far longer than the input
    x = torch.zeros(1, 100, D, dtype=torch.float64)
    x[:, -1] = 1.0
    with torch.no_grad():
        assert layer(x)[:, :-1].abs().max() < 1e-12


@pytest.mark.parametrize("init, method, n_ssm", OPTIONS)
def test_bidirectional_s4d(init: str, method: str, n_ssm: int) -> None:
    layer = make(init, method, n_ssm, bidirectional=True)
    x, lengths = frames(2, 20, D), torch.tensor([20, 11])
    x[1, 11:] *= 1e6
    with torch.no_grad():
        together = layer(x, lengths)
        close(together[0], oracle.run(layer, x[:1])[0], 1e-9)
        close(together[1, :11], oracle.run(layer, x[1:, :11])[0], 1e-9)
    for whole in (layer, Residual(Chain(layer, GatedMix(D)))):
        with pytest.raises(ValueError, match=r"^bidirectional: got true"):
            whole.freeze()


def test_s4d_under_autocast_computes_in_float32() -> None:
    layer, x = make("legs", "zoh", 1, torch.float32), frames(1, 20, D, dtype=torch.float32)
    with torch.no_grad():
        wanted = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x), wanted)
            half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    close(half, layer(x.bfloat16().float()), 2**-8)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest number of elements that any operation gave back."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [out] if isinstance(out, Tensor) else out if isinstance(out, tuple | list) else []
        for t in made:
            if isinstance(t, Tensor):
                self.elements = max(self.elements, t.numel())
        return out


@pytest.mark.parametrize("method", DISCRETIZATIONS)
def test_memory_of_the_kernel_is_bounded(method: str) -> None:
    channels, modes, length = 8, 32, 16384
    layer = S4D(channels, 2 * modes, discretization=method)
    with LargestTensor() as kernel:
        layer.kernel(length).sum().backward()
    assert kernel.elements <= 4 * channels * max(length, modes * 128)
    with LargestTensor() as whole:
        layer(torch.randn(1, length, channels)).sum().backward()
    assert whole.elements <= 4 * channels * length < channels * modes * length / 4


@pytest.mark.parametrize("init, method, n_ssm", OPTIONS)
def test_gradcheck_of_s4d(init: str, method: str, n_ssm: int) -> None:
    torch.manual_seed(0)
    layer = S4D(D, 4, init, n_ssm=n_ssm, discretization=method, bidirectional=n_ssm == 2).double()
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (frames(1, 5, D).requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
