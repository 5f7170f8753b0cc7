"""Every state space layer that the constructors can make, by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import torch

from s4speech.layers import DSS, LSSL, S4, S4D, S5, FrozenLayer, SequenceLayer, StateSpaceLayer
from s4speech.layers.dss import NORMALIZATIONS
from s4speech.layers.hippo import HIPPOS, INITS
from s4speech.layers.s4 import MODES, STEPS
from s4speech.layers.ssm import DISCRETIZATIONS

L = TypeVar("L", bound=SequenceLayer)
Build = Callable[..., StateSpaceLayer]  # of the options that are in no name: bidirectional


def variants(d_model: int, d_state: int, n_ssm: list[int]) -> dict[str, Build]:
    """Each kind with each combination of its options; of n_ssm (S5: n_blocks) those given."""
    found: dict[str, Build] = {}

    def add(kind: type[StateSpaceLayer], init: str, name: str, **options: object) -> None:
        found[f"{kind.__name__.lower()}-{init}-{name}"] = partial(kind, d_model, d_state, init, **options)

    for n, method in itertools.product(n_ssm, DISCRETIZATIONS):
        rule = {"discretization": method}
        for init, tie in itertools.product(INITS, (True, False)):
            dt = "" if tie else "-untied"
            add(S4D, init, f"{method}{dt}-n_ssm{n}", **rule, dt_tie=tie, n_ssm=n)
            add(S5, init, f"{method}{dt}-n_blocks{n}", **rule, dt_tie=tie, n_blocks=n)
        for init in HIPPOS:
            add(LSSL, init, f"{method}-n_ssm{n}", **rule, n_ssm=n)
            for mode, rank in itertools.product(MODES, (None, 3 if init == "legt" else 2)):
                if (mode, method) != ("cauchy", "zoh"):
                    more = "" if rank is None else f"-rank{rank}"
                    add(S4, init, f"{method}-{mode}{more}-n_ssm{n}", **rule, mode=mode, rank=rank, n_ssm=n)
    for n, init, rows in itertools.product(n_ssm, [i for i in INITS if i != "real"], NORMALIZATIONS):
        add(DSS, init, f"{rows}-n_ssm{n}", normalization=rows, n_ssm=n)
    return dict(sorted(found.items()))


def trained(build: Callable[..., L], dtype: torch.dtype = torch.float64, **options: object) -> L:
    """A layer away from the special values of a fresh one (norms of 1, equal A), the same every time."""
    torch.manual_seed(0)
    layer = build(**options).to(dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return layer


def frozen_forms(layer: StateSpaceLayer, rate: float = 1.0) -> Iterator[tuple[str, FrozenLayer]]:
    """Every recurrent form of a layer, by name."""
    if not isinstance(layer, S4):
        yield "", layer.freeze(rate)
    else:
        for step in STEPS if layer.discretization == "bilinear" else ("dense",):
            yield step, layer.freeze(rate, step=step)
