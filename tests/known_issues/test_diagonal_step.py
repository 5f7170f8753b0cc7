"""A diagonal step for HiPPO-LegS was numerically wrong (FACTS.md section 1, defect 3).

The published S4 could step in the basis of the eigenvectors of A_bar, with one product for each state. For
LegS with N = 64 they are nearly dependent (condition number 2e8): in float32 the kernel was wrong by 0.37 to
0.51. S4 here has no such step; its linear and dense steps are right, and S4D is diagonal by definition.
"""

import pytest
import torch
from torch import Tensor

from s4speech.layers import S4
from tests.oracles import ssm as oracle
from tests.oracles.compare import close, frames, steps
from tests.oracles.variants import frozen_forms

LENGTH = 320


def diagonal_step(layer: S4, dtype: torch.dtype) -> Tensor:
    """The kernel (D, LENGTH) as C V Lambda^l V^-1 B_bar, with V the eigenvectors of A_bar."""
    a, b, c, dt = oracle.system(layer)
    a_bar, b_bar = (part.to(dtype) for part in oracle.discrete(a, b, dt, layer.discretization))
    eigenvalues, vectors = torch.linalg.eig(a_bar)
    weights = (c[0].to(dtype) @ vectors).squeeze(1) * torch.linalg.solve(vectors, b_bar).squeeze(2)
    powers = eigenvalues.unsqueeze(-1) ** torch.arange(LENGTH)
    return (weights.unsqueeze(-1) * powers).sum(1).real


def error(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("init", ["legs", "legt"])
def test_the_diagonal_step_is_wrong_and_ours_are_right(init: str, discretization: str) -> None:
    torch.manual_seed(0)
    layer = S4(4, 64, init, discretization=discretization)
    wanted = oracle.kernel(layer, LENGTH)
    assert error(diagonal_step(layer, torch.complex128), wanted) < 1e-6, "in float64 it is the same kernel"
    assert error(diagonal_step(layer, torch.complex64), wanted) > 0.1
    impulse, x = torch.zeros(1, LENGTH, 4), frames(2, LENGTH, 4, dtype=torch.float32)
    impulse[:, 0] = 1.0
    forms = list(frozen_forms(layer))
    assert [step for step, _ in forms] == (["linear", "dense"] if discretization == "bilinear" else ["dense"])
    for _, frozen in forms:
        response, _ = steps(frozen, impulse, frozen.init_state(1))
        close((response - impulse * layer.d)[0].T, wanted, 1e-4)
        close(steps(frozen, x, frozen.init_state(2))[0], oracle.run(layer, x), 1e-4)


def test_nobody_can_ask_for_it() -> None:
    with pytest.raises(ValueError, match=r"^step: got 'diagonal', wanted one of linear, dense"):
        S4(4, 64).freeze(step="diagonal")
