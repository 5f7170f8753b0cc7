"""Every state space layer against a dense float64 oracle: kernel, parallel form, recurrence, directions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from s4speech.layers import DSS, LSSL, S4, S4D, S5, Chain, GatedMix, Residual, StateSpaceLayer, siso
from s4speech.layers.hippo import HIPPOS, dplr
from s4speech.layers.s4 import SMALLEST_DECAY
from s4speech.layers.ssm import DISCRETIZATIONS
from tests.oracles import ssm as oracle
from tests.oracles.compare import TOLERANCE, close, frames, scans, steps
from tests.oracles.variants import frozen_forms, trained, variants

D = 4
VARIANTS = variants(D, 8, [1, 2, D])
SHARED = variants(D, 8, [2])
PUBLISHED = variants(2, 64, [1])
RATES = (0.5, 1.0, 2.0)
FRAMES = 150  # two blocks and some
LENGTHS = (0, 1, 2, 63, 64, 65, 127, 128, 129, 300)

each_variant = pytest.mark.parametrize("name", VARIANTS)
each_shared = pytest.mark.parametrize("name", SHARED)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


@each_variant
@each_dtype
def test_every_form_is_the_dense_recurrence(name: str, dtype: torch.dtype) -> None:
    layer, x = trained(VARIANTS[name], dtype), frames(2, FRAMES, D, dtype=dtype)
    for rate in RATES:
        wanted = oracle.run(layer, x, rate)
        with torch.no_grad():
            close(layer(x, rate=rate), wanted, TOLERANCE[dtype])
        for _, frozen in frozen_forms(layer, rate):
            close(steps(frozen, x, frozen.init_state(2))[0], wanted, TOLERANCE[dtype])
            for sizes in ([FRAMES], [0, 129, 1, 0, 20], [37, 64, 49]):
                close(scans(frozen, x, sizes, frozen.init_state(2))[0], wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.startswith("s5")])
@each_dtype
def test_the_kernel_is_the_response_to_an_impulse(name: str, dtype: torch.dtype) -> None:
    layer = trained(VARIANTS[name], dtype, bidirectional=True)
    for rate in RATES:
        wanted = torch.stack([oracle.kernel(layer, LENGTHS[-1], rate, direction) for direction in (0, 1)])
        for length in LENGTHS if rate == 1 else LENGTHS[-1:]:
            close(layer.kernel(length, rate), wanted[..., :length], TOLERANCE[dtype])


@each_variant
@each_dtype
def test_both_directions_and_their_padding(name: str, dtype: torch.dtype) -> None:
    layer = trained(VARIANTS[name], dtype, bidirectional=True)
    x, lengths = frames(3, 131, D, dtype=dtype), torch.tensor([131, 128, 1])
    for row, n in enumerate(lengths.tolist()):
        x[row, n:] = torch.nan
    for rate in RATES:
        with torch.no_grad():
            together = layer(x, lengths, rate)
        for row, n in enumerate(lengths.tolist()):
            close(together[row, :n], oracle.run(layer, x[row : row + 1, :n], rate)[0], TOLERANCE[dtype])
    for refused in (layer.freeze, Residual(Chain(layer, GatedMix(D))).freeze):
        with pytest.raises(ValueError, match=r"^bidirectional: got true"):
            refused()
    with pytest.raises(ValueError, match=r"^bidirectional: got true"):
        layer.forward_state(x, trained(VARIANTS[name], dtype).freeze().init_state(3))


@each_shared
@each_dtype
def test_the_parallel_form_from_a_state_is_the_recurrence_continued(name: str, dtype: torch.dtype) -> None:
    layer, x = trained(SHARED[name], dtype), frames(2, FRAMES, D, dtype=dtype)
    for rate in RATES:
        wanted = oracle.run(layer, x, rate)
        for _, frozen in frozen_forms(layer, rate):
            start = frozen.init_state(2)
            _, end = frozen.scan(x, start)
            for cut in (0, 1, 64, 129, FRAMES):
                with torch.no_grad():
                    first, parallel = layer.forward_state(x[:, :cut], start, rate)
                    first_scanned, recurrent = frozen.scan(x[:, :cut], start)
                    rest, after = layer.forward_state(x[:, cut:], recurrent, rate)
                    rest_scanned, after_scanned = frozen.scan(x[:, cut:], parallel)
                for pieces in ([first, rest_scanned], [first_scanned, rest]):
                    close(torch.cat(pieces, 1), wanted, TOLERANCE[dtype])
                for state in (after, after_scanned):
                    assert type(state) is type(end) and state.hidden.dtype == dtype
                    close(state.hidden, end.hidden, TOLERANCE[dtype])


@each_shared
def test_gradients_flow_through_the_state(name: str) -> None:
    layer, weight = trained(SHARED[name]), frames(2, FRAMES, D, seed=2)
    x = frames(2, FRAMES, D).requires_grad_()

    def gradients(y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((y * weight).sum(), [x, *layer.parameters()])

    state, outputs = layer.freeze().init_state(2), []
    for part in x.split([1, 129, 0, 20], 1):
        y, state = layer.forward_state(part, state)
        outputs.append(y)
    for got, wanted in zip(gradients(torch.cat(outputs, 1)), gradients(layer(x)), strict=True):
        close(got, wanted, 1e-7 if "cauchy" in name else 1e-9)


class FromState(nn.Module):
    """`forward_state` as a function of tensors."""

    def __init__(self, layer: StateSpaceLayer) -> None:
        super().__init__()
        self.layer, self.kind = layer, type(layer.freeze().init_state(1))

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.layer.forward_state(x, self.kind(hidden))
        return y, state.hidden


def gradcheck(module: nn.Module, *inputs: Tensor) -> None:
    """For the inputs and every parameter."""
    names, count = [name for name, _ in module.named_parameters()], len(inputs)

    def function(*values: Tensor) -> object:
        parameters = dict(zip(names, values[count:], strict=True))
        return torch.func.functional_call(module, parameters, values[:count])

    given = (*(t.requires_grad_() for t in inputs), *module.parameters())
    assert torch.autograd.gradcheck(function, given, fast_mode=True)


SMALL = variants(2, 4, [1])


@pytest.mark.parametrize("name", SMALL)
def test_gradcheck(name: str) -> None:
    build = partial(SMALL[name], dt_min=0.05, dt_max=0.5)  # so that every factor is far from 1
    gradcheck(trained(build, bidirectional=True), frames(1, 70, 2))  # a block of 64 and some
    layer = trained(build)
    hidden = frames(*layer.freeze().init_state(1).hidden.shape, seed=3)
    gradcheck(FromState(layer), frames(1, 70, 2), hidden)


BLOCKS = [name for name in SHARED if not name.startswith("s5") and "cauchy" not in name]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_size_of_the_blocks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [trained(SHARED[name]), trained(SHARED[name], bidirectional=True)]
    x = frames(2, FRAMES, D)
    start = layers[0].freeze().init_state(2)
    wanted = [oracle.run(layer, x) for layer in layers]
    for size in (1, 7, 64, 128, FRAMES):
        monkeypatch.setattr(siso, "block_size", lambda rows, frames, size=size: min(size, frames))
        with torch.no_grad():
            for layer, y in zip(layers, wanted, strict=True):
                close(layer(x), y, 1e-9)
            close(layers[0].forward_state(x, start)[0], wanted[0], 1e-9)


@pytest.mark.parametrize("name", SHARED)
def test_few_frames_and_no_rows(name: str) -> None:
    layer = trained(SHARED[name])
    frozen = layer.freeze()
    for rows, length in ((1, 0), (0, 3), (0, 70), (1, 1), (5, 2), (1, 63), (1, 64), (1, 65)):
        x = frames(rows, length, D)
        with torch.no_grad():
            close(layer(x), oracle.run(layer, x), 1e-9)
            close(layer(x, torch.full((rows,), length)), oracle.run(layer, x), 1e-9)
        y, state = frozen.scan(x, frozen.init_state(rows))
        close(y, oracle.run(layer, x), 1e-9)
        assert state.hidden.shape == frozen.init_state(rows).hidden.shape


def test_the_convolution_does_not_wrap_around() -> None:
    layer = S4(D, 8, "legt", mode="cauchy", dt_min=1e-4, dt_max=1e-4).double()  # a memory far longer than x
    x = torch.zeros(1, 100, D, dtype=torch.float64)
    x[:, -1] = 1.0
    with torch.no_grad():
        assert layer(x)[:, :-1].abs().max() < 1e-12


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", [name for name in SHARED if "-legs-" in name])
def test_an_impossible_rate_is_refused(name: str, rate: float) -> None:
    layer, x = SHARED[name](), torch.zeros(1, 3, D)
    state = layer.freeze().init_state(1)
    for use in (layer.freeze, partial(layer, x, None), partial(layer.forward_state, x, state)):
        with pytest.raises(ValueError, match=r"^rate: got"):
            use(rate)


# bfloat16 has 8 bits: the frames, the matrices and each product are rounded by up to 2^-9
BFLOAT16 = 2**-6


@each_shared
def test_bfloat16_frames_and_autocast(name: str) -> None:
    """Matrices and state are computed in float32 and rounded once, so that errors do not build up."""
    for bidirectional in (False, True):
        layer = trained(SHARED[name], torch.float32, bidirectional=bidirectional)
        x = frames(2, 600, D, dtype=torch.float32).bfloat16()
        wanted = layer(x.float()).detach()
        half = layer(x)
        assert half.dtype == torch.bfloat16
        close(half, wanted, BFLOAT16)
        half.float().square().sum().backward()
        assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in layer.parameters())
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            close(layer(x.float()), wanted, BFLOAT16)


@pytest.mark.parametrize("steps", [torch.ones(3), torch.ones(2, 4), torch.tensor([[1.0, 0.0, 1.0]] * 2)])
def test_impossible_time_steps_are_refused(steps: Tensor) -> None:
    layer, x = S5(D, 8), torch.zeros(2, 3, D)
    frozen = layer.freeze()
    for use in (layer, partial(layer.forward_state, state=frozen.init_state(2)),
                partial(frozen.scan, state=frozen.init_state(2))):  # fmt: skip
        with pytest.raises(ValueError, match=r"^time_steps: got"):
            use(x, time_steps=steps)


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


def largest_tensor(function: Callable[[], Tensor]) -> int:
    with LargestTensor() as seen:
        function().sum().backward()
    return seen.elements


@pytest.mark.parametrize(
    "name",
    [
        "s4d-legs-zoh",
        "s4d-legs-bilinear",
        "dss-legs-softmax",
        "s4-legs-bilinear-chunked",
        "lssl-legs-bilinear",
    ],
)
def test_no_state_is_kept_for_every_frame(name: str) -> None:
    channels, states, length = 8, 64, 16384
    layer = variants(channels, states, [1])[f"{name}-n_ssm1"]()
    x = torch.randn(1, length, channels)
    assert largest_tensor(lambda: layer(x)) <= 4 * channels * length < channels * states * length / 8


def test_the_kernel_of_s4d_needs_little_memory() -> None:
    channels, modes, length = 8, 32, 16384
    kernel = S4D(channels, 2 * modes).kernel
    assert largest_tensor(lambda: kernel(length)) <= 4 * channels * max(length, modes * 128)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("norm_length", [2, 64, 300])
def test_the_softmax_of_dss_is_over_a_time_of_the_layer(norm_length: int, rate: float) -> None:
    """Proposition 1 (b), for kernels shorter and longer than the sum."""
    layer = trained(partial(DSS, D, 8, norm_length=norm_length, n_ssm=2))
    for length in (1, 130):
        close(layer.kernel(length, rate)[0], oracle.kernel(layer, length, rate), 1e-9)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_size_in_float32(name: str) -> None:
    """N = 64, as initialised: where float32 of a badly conditioned basis, or a long product, shows."""
    torch.manual_seed(0)
    layer, x = PUBLISHED[name](), frames(1, 320, 2, dtype=torch.float32)
    wanted = oracle.run(layer, x)
    with torch.no_grad():
        close(layer(x), wanted, 1e-4)
    for _, frozen in frozen_forms(layer):
        close(steps(frozen, x, frozen.init_state(1))[0], wanted, 1e-4)
        close(scans(frozen, x, [100, 1, 219], frozen.init_state(1))[0], wanted, 1e-4)
    if not isinstance(layer, S5):
        close(layer.kernel(320)[0], oracle.kernel(layer, 320), 1e-4)


@pytest.mark.parametrize("discretization", DISCRETIZATIONS)
@pytest.mark.parametrize("init", HIPPOS)
def test_s4_starts_as_the_hippo_system(init: str, discretization: str) -> None:
    """LSSL has the dense matrix itself; the states are x = 2 Re(V z), so C of S4 is V^T C."""
    torch.manual_seed(0)
    dense = LSSL(D, 16, init, discretization=discretization).double()
    s4 = S4(D, 16, init, discretization=discretization).double()
    with torch.no_grad():
        for layer in (dense, s4):
            layer.log_dt.fill_(-4.0)
        s4.c.copy_(torch.view_as_real(dense.c.to(torch.complex128) @ dplr(init, 16).basis))
        if init != "legs":  # a normal part without decay is given a little
            dense.a.sub_(SMALLEST_DECAY * torch.eye(16))
        close(s4.kernel(FRAMES), dense.kernel(FRAMES), 1e-5)  # the parameters were rounded to float32


def test_dss_exp_is_s4d() -> None:
    s4d, dss = S4D(D, 8, "inv", n_ssm=2).double(), DSS(D, 8, normalization="exp", n_ssm=2).double()
    dss.load_state_dict({name.replace("log_a_real", "a_real"): p for name, p in s4d.state_dict().items()})
    close(dss.kernel(FRAMES), s4d.kernel(FRAMES), 1e-12)


@pytest.mark.parametrize("growth", [30, 60, 80])
def test_growing_modes_of_dss(growth: int) -> None:
    """The softmax leaves real parts free: a mode may grow by e^80 over norm_length frames, in float32."""
    layer, x = DSS(D, 8, dt_min=0.05, dt_max=0.05, norm_length=400), frames(1, 400, D, dtype=torch.float32)
    with torch.no_grad():
        layer.a_real.fill_(growth / (0.05 * 400))
    close(layer.kernel(400)[0], oracle.kernel(layer, 400), 1e-4)
    y = layer(x)
    close(y, oracle.run(layer, x), 1e-4)
    y.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


S5_VARIANTS = [name for name in SHARED if name.startswith("s5")]
each_s5 = pytest.mark.parametrize("name", S5_VARIANTS)
each_direction = pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "bidirectional"])


@each_s5
@each_direction
def test_irregular_time_steps_are_the_dense_recurrence(name: str, bidirectional: bool) -> None:
    layer = trained(SHARED[name], bidirectional=bidirectional)
    x, time_steps = frames(2, 70, D), 3 * torch.rand(2, 70, dtype=torch.float64) + 0.1
    for rate in RATES:
        with torch.no_grad():
            close(layer(x, rate=rate, time_steps=time_steps), oracle.run(layer, x, rate, time_steps), 1e-9)
            for constant in (1.0, 1.7):
                same = torch.full((2, 70), constant, dtype=torch.float64)
                close(layer(x, rate=rate, time_steps=same), layer(x, rate=rate * constant), 1e-9)


@each_s5
def test_irregular_time_steps_in_the_recurrence(name: str) -> None:
    layer, x = trained(SHARED[name]), frames(2, 70, D)
    time_steps = 3 * torch.rand(2, 70, dtype=torch.float64) + 0.1
    for rate in RATES:
        with torch.no_grad():
            wanted = layer(x, rate=rate, time_steps=time_steps)
        frozen = layer.freeze(rate)
        first, state = frozen.scan(x[:, :33], frozen.init_state(2), time_steps[:, :33])
        outputs = [first]
        for t in range(33, 50):
            y, state = frozen.step(x[:, t], state, time_steps[:, t])
            outputs.append(y.unsqueeze(1))
        with torch.no_grad():
            outputs.append(layer.forward_state(x[:, 50:], state, rate, time_steps[:, 50:])[0])
        close(torch.cat(outputs, 1), wanted, 1e-9)


@each_s5
@each_direction
def test_irregular_time_steps_and_padding(name: str, bidirectional: bool) -> None:
    layer = trained(SHARED[name], bidirectional=bidirectional)
    lengths = torch.tensor([40, 33, 1, 0])
    x, time_steps = frames(4, 40, D), 3 * torch.rand(4, 40, dtype=torch.float64) + 0.1
    for row, n in enumerate(lengths.tolist()):
        x[row, n:], time_steps[row, n:] = torch.nan, torch.nan
    with torch.no_grad():
        together = layer(x, lengths, time_steps=time_steps)
        for row, n in enumerate(lengths.tolist()):
            own = slice(row, row + 1)
            close(together[own, :n], layer(x[own, :n], time_steps=time_steps[own, :n]), 1e-9)


@each_direction
def test_gradcheck_of_irregular_time_steps(bidirectional: bool) -> None:
    class Irregular(nn.Module):
        def __init__(self, layer: S5) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, time_steps: Tensor) -> Tensor:
            return self.layer(x, torch.tensor([12, 7]), time_steps=time_steps)

    layer = trained(partial(S5, 2, 4, dt_min=0.5, dt_max=1.0, bidirectional=bidirectional))
    gradcheck(Irregular(layer), frames(2, 12, 2), torch.rand(2, 12, dtype=torch.float64) + 0.5)
