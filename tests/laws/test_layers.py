"""The laws of every sequence layer (s4speech/layers/sequence.py), one file for all of them."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s4speech.layers import (
    DSS,
    LSSL,
    S4,
    S4D,
    S5,
    CausalAttention,
    CausalConv,
    Chain,
    FeedForward,
    GatedMix,
    Residual,
    SequenceLayer,
    StateSpaceLayer,
    cat_rows,
    select_rows,
    split_rows,
    where_rows,
)
from tests.oracles.compare import TOLERANCE, close, frames, scans, steps
from tests.oracles.variants import trained, variants

D = 4
RATES = (0.5, 1.0, 2.0)

# shared state matrices (1 < n_ssm < D); test_ssm.py has the other numbers of them
LAYERS: dict[str, Callable[[], SequenceLayer]] = variants(D, 8, [2]) | {
    "attention": lambda: CausalAttention(D, 2),
    "attention-window1": lambda: CausalAttention(D, 2, window=1),
    "attention-window5": lambda: CausalAttention(D, 2, window=5),
    "conv1": lambda: CausalConv(D, 1),
    "conv7": lambda: CausalConv(D, 7),
    "gated-mix": lambda: GatedMix(D, dropout=0.5),
    "feed-forward": lambda: FeedForward(D, 8, dropout=0.5),
    "feed-forward-tied": lambda: FeedForward(D, 8, dropout=0.5, tied=True),
    "residual-s4": lambda: Residual(
        Chain(S4D(D, 8, discretization="bilinear"), GatedMix(D, 0.5)), dropout=0.5, drop_path=0.5
    ),
    "residual-attention": lambda: Residual(CausalAttention(D, 1, window=9), drop_path=0.5),
    "stack": lambda: Chain(
        Residual(FeedForward(D, 8)),
        Residual(CausalConv(D, 5)),
        Residual(Chain(S4D(D, 8, "inv", n_ssm=2), GatedMix(D))),
        Residual(Chain(S4(D, 8, "legt"), DSS(D, 8), S5(D, 8))),
        Residual(Chain(CausalAttention(D, 2), CausalAttention(D, 2, window=4))),
    ),
}  # fmt: skip


def make(name: str, dtype: torch.dtype = torch.float64) -> SequenceLayer:
    return trained(LAYERS[name], dtype).eval()


def knows_time(layer: SequenceLayer) -> bool:
    return any(isinstance(part, StateSpaceLayer) for part in layer.modules())


def cuts(total: int) -> Iterator[list[int]]:
    """Ways to cut `total` frames: whole, one by one, around the blocks of 16, empty chunks, and at random."""
    yield [total]
    yield [1] * total
    yield [0, 16, 0, 0, total - 16, 0]
    yield [15, 17, total - 32]
    draw = random.Random(total)
    for _ in range(3):
        places = sorted(draw.randint(0, total) for _ in range(6))
        yield [b - a for a, b in itertools.pairwise([0, *places, total])]


def tensors(value: Any) -> list[Tensor]:
    """Every tensor reachable from a frozen layer or a state."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, nn.Module):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, tuple | list):
        return [t for item in value for t in tensors(item)]
    return [t for item in vars(value).values() for t in tensors(item)] if hasattr(value, "__dict__") else []


each_layer = pytest.mark.parametrize("name", LAYERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


@each_layer
@each_dtype
def test_forward_is_step_is_scan_under_any_chunking(name: str, dtype: torch.dtype) -> None:
    layer, x = make(name, dtype), frames(2, 41, D, dtype=dtype)
    for rate in RATES if knows_time(layer) else (1.0,):
        with torch.no_grad():
            wanted = layer(x, rate=rate)
        frozen = layer.train().freeze(rate)
        assert layer.training, "freeze() changed the layer's mode"
        layer.eval()
        assert wanted.dtype == dtype
        by_step, end = steps(frozen, x, frozen.init_state(2))
        close(by_step, wanted, TOLERANCE[dtype])
        for sizes in cuts(41):
            y, state = scans(frozen, x, sizes, frozen.init_state(2))
            close(y, wanted, TOLERANCE[dtype])
            for got, leaf in zip(tensors(state), tensors(end), strict=True):
                assert got.shape == leaf.shape and got.dtype == leaf.dtype
        # a state left by step is good for scan, and the other way round
        y, state = scans(frozen, x[:, :20], [7, 13], frozen.init_state(2))
        y2, state = steps(frozen, x[:, 20:30], state)
        y3, _ = frozen.scan(x[:, 30:], state)
        close(torch.cat([y, y2, y3], 1), wanted, TOLERANCE[dtype])


@each_layer
def test_the_rate_is_another_layer_only_for_layers_that_know_time(name: str) -> None:
    layer, x = make(name), frames(1, 20, D)
    with torch.no_grad():
        changed = not torch.allclose(layer(x), layer(x, rate=2.0))
    assert changed == knows_time(layer)


@each_layer
@each_dtype
def test_right_padding_never_changes_valid_frames(name: str, dtype: torch.dtype) -> None:
    layer, x = make(name, dtype), frames(3, 30, D, dtype=dtype)
    lengths = torch.tensor([30, 17, 1])
    padded = torch.cat([x, torch.zeros(3, 9, D, dtype=dtype)], 1)
    for row, n in enumerate(lengths.tolist()):
        padded[row, n:] = 1e6 * frames(39 - n, D, dtype=dtype, seed=2)
    with torch.no_grad():
        together = layer(padded, lengths)
        assert together.isfinite().all()
        for row, n in enumerate(lengths.tolist()):
            close(together[row, :n], layer(x[row : row + 1, :n])[0], TOLERANCE[dtype])


@each_layer
def test_causal_layers_never_look_ahead(name: str) -> None:
    layer, x = make(name), frames(2, 25, D)
    with torch.no_grad():
        wanted = layer(x)
        for t in (0, 1, 16, 24):
            other = x.clone()
            other[:, t + 1 :] = 10 * frames(2, 24 - t, D, seed=3)
            close(layer(other)[:, : t + 1], wanted[:, : t + 1], 1e-9)
            moved = x.clone()
            moved[:, t] += 1.0
            assert not torch.allclose(layer(moved)[:, t], wanted[:, t]), "the present frame has no effect"


@dataclass
class Stream:
    """One user of a batch: what it has said and heard so far."""

    heard: list[Tensor] = field(default_factory=list)
    said: list[Tensor] = field(default_factory=list)


@each_layer
@pytest.mark.parametrize("seed", range(2))
def test_rows_join_pause_leave_fork_and_are_reordered(name: str, seed: int) -> None:
    layer = make(name)
    frozen = layer.freeze()
    draw, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    rows: list[Stream] = [Stream()]
    gone: list[Stream] = []
    state = frozen.init_state(1)
    for action in [*"jsjscpsfspr", *draw.choices("jplrfsc", k=14)]:
        if action == "j":  # join
            state = cat_rows([state, frozen.init_state(2)])
            rows += [Stream(), Stream()]
        elif action == "l" and len(rows) > 1:  # the middle leaves
            at = draw.randrange(len(rows))
            before, own, after = split_rows(state, [at, 1, len(rows) - at - 1])
            gone.append(rows.pop(at))
            state = cat_rows([before, after])
            assert {len(leaf) for leaf in tensors(own)} <= {1}
        elif action == "r":
            order = draw.sample(range(len(rows)), len(rows))
            state, rows = select_rows(state, torch.tensor(order)), [rows[i] for i in order]
        elif action == "f":  # a beam: two continuations of one row
            at = draw.randrange(len(rows))
            order = [*range(len(rows)), at]
            state = select_rows(state, torch.tensor(order))
            rows.append(Stream([*rows[at].heard], [*rows[at].said]))
        else:  # p: a step of some rows, the others pause; s: a step of all; c: a chunk of all
            size = draw.randint(0, 19) if action == "c" else 1
            x = torch.randn(len(rows), size, D, generator=noise, dtype=torch.float64)
            y, new = frozen.scan(x, state) if action == "c" else steps(frozen, x, state)
            awake = [action != "p" or draw.random() < 0.5 for _ in rows]
            state = where_rows(torch.tensor(awake), new, state) if action == "p" else new
            for row in itertools.compress(range(len(rows)), awake):
                rows[row].heard += x[row].unbind()
                rows[row].said += y[row].unbind()
    checked = [stream for stream in [*rows, *gone] if stream.heard]
    assert len({len(stream.heard) for stream in checked}) > 3, "rows of different ages"
    for stream in checked:
        with torch.no_grad():
            alone = layer(torch.stack(stream.heard)[None])[0]
        close(torch.stack(stream.said), alone, 1e-9)


def test_row_functions_refuse_what_is_no_state() -> None:
    with pytest.raises(ValueError, match="cat_rows needs at least one state"):
        cat_rows([])
    with pytest.raises(TypeError, match="a state is made of tensors and tuples, got list"):
        select_rows([torch.zeros(2)], torch.tensor([0]))


@each_layer
def test_a_frozen_layer_is_constant(name: str) -> None:
    layer, x = make(name), frames(3, 20, D)
    frozen = layer.freeze()
    constants = [t.clone() for t in tensors(frozen)]
    assert constants, "nothing is checked"
    assert not any(t.requires_grad for t in tensors(frozen))
    _, state = frozen.scan(frames(3, 6, D), frozen.init_state(3))
    before, given = [t.clone() for t in tensors(state)], x.clone()
    wanted, _ = scans(frozen, x, [18, 2], state)
    with torch.no_grad():  # a training step, in place as optimisers do it
        for p in layer.parameters():
            p.mul_(1.5).add_(0.3)
    for _ in range(2):
        y, _ = scans(frozen, x, [18, 2], state)
        assert torch.equal(y, wanted)
        steps(frozen, x, state)
    with ThreadPoolExecutor(4) as pool:
        for y, _ in pool.map(lambda _: scans(frozen, x, [18, 2], state), range(8)):
            assert torch.equal(y, wanted)
    for now, was in zip([*tensors(frozen), *tensors(state), x], [*constants, *before, given], strict=True):
        assert torch.equal(now, was)
    with torch.no_grad():
        assert not torch.allclose(layer(x), frozen.scan(x, frozen.init_state(3))[0])


@each_layer
def test_gradients_reach_every_parameter_and_the_input(name: str) -> None:
    layer, x = make(name), frames(2, 9, D).requires_grad_()
    weight = frames(2, 9, D, seed=5)
    (layer(x, torch.tensor([9, 6])) * weight).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    for key, p in layer.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ["residual-s4", "stack"])
def test_gradcheck_of_compositions(name: str) -> None:
    layer = make(name)
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (frames(2, 5, D).requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


Options = dict[str, object]
ALL: dict[str, Options] = {  # refused by every state space layer
    "d_state: got 0": {"d_state": 0},
    "d_state: got -2": {"d_state": -2},
    "init: got 'hippo'": {"init": "hippo"},
    "discretization: got 'euler'": {"discretization": "euler"},
    "dt_min, dt_max: got 0.1, 0.01": {"dt_min": 0.1, "dt_max": 0.01},
    "dt_min, dt_max: got 0.0, 0.1": {"dt_min": 0.0},
    "dt_min, dt_max: got nan, 0.1": {"dt_min": math.nan},
    "dt_min, dt_max: got 0.001, inf": {"dt_max": math.inf},
    "d_model: got 0": {"d_model": 0},
}
SHARED: dict[str, Options] = {"n_ssm: got 3": {"n_ssm": 3}, "n_ssm: got 0": {"n_ssm": 0}}
ODD: dict[str, Options] = {"d_state: got 7": {"d_state": 7}}
OWN: dict[type[StateSpaceLayer], dict[str, Options]] = {
    S4D: SHARED | ODD | {
        "init: got 'fourier'": {"init": "fourier"},
        "d_state: got 0, wanted >= 1": {"d_state": 0, "init": "real"},
    },
    DSS: SHARED | ODD | {
        "init: got 'real'": {"init": "real"},
        "init: got 'legt'": {"init": "legt"},
        "normalization: got 'sum'": {"normalization": "sum"},
        "norm_length: got 0": {"norm_length": 0},
    },
    LSSL: SHARED | {"d_state: got 7": {"d_state": 7, "init": "fourier"}, "init: got 'inv'": {"init": "inv"}},
    S4: SHARED | ODD | {
        "init: got 'inv'": {"init": "inv"},
        "rank: got 0": {"rank": 0},
        "rank: got 1": {"rank": 1, "init": "legt"},
        "rank: got 9": {"rank": 9},
        "mode: got 'fft'": {"mode": "fft"},
        "mode: got 'cauchy'": {"mode": "cauchy", "discretization": "zoh"},
    },
    S5: ODD | {
        "init: got 'legt'": {"init": "legt"},
        "n_blocks: got 3": {"n_blocks": 3},
        "n_blocks: got 0": {"n_blocks": 0},
    },
}  # fmt: skip
INVALID: list[tuple[str, Callable[[], object]]] = [
    (message, partial(kind, **{"d_model": D, "d_state": 8} | options))
    for kind, own in OWN.items()
    for message, options in (ALL | own).items()
    if (kind, message) != (DSS, "discretization: got 'euler'")  # it has no such option
]
INVALID += [
    ("step: got 'diagonal'", lambda: S4(D, 8).freeze(step="diagonal")),
    ("step: got 'linear'", lambda: S4(D, 8, discretization="zoh").freeze(step="linear")),
    ("n_heads: got 3", lambda: CausalAttention(D, 3)),
    ("n_heads: got 0", lambda: CausalAttention(D, 0)),
    ("window: got 0", lambda: CausalAttention(D, 2, window=0)),
    ("kernel_size: got 0", lambda: CausalConv(D, 0)),
    ("Chain needs at least one layer", lambda: Chain()),
    ("d_model: got 6", lambda: Chain(GatedMix(4), GatedMix(6))),
]


@pytest.mark.parametrize("message, build", INVALID)
def test_an_invalid_option_is_named(message: str, build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
