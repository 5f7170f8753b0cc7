"""The Cauchy kernel forgot the conjugate half (FACTS.md section 1, defect 2).

Without a compiled kernel the published fallback summed over the half of the state that is stored, as if the
other did not exist; the recurrence had both. So the convolution trained one model and the recurrence decoded
another (relative kernel error about 1).
"""

import pytest
import torch
from torch import Tensor

from s4speech.layers import S4
from tests.oracles import ssm as oracle
from tests.oracles.compare import close, frames, steps
from tests.oracles.variants import frozen_forms

LENGTH = 200


def kernel_of_the_half(layer: S4) -> Tensor:
    """2 Re of the system that the stored half would be alone: (D, LENGTH)."""
    a, b, c, dt = oracle.system(layer)
    half = a.shape[-1] // 2
    a_bar, x = oracle.discrete(a[:, :half, :half], b[:, :half], dt[:, :half], "bilinear")
    taps = []
    for _ in range(LENGTH):
        taps.append(2 * (c[0, ..., :half] @ x).flatten().real)
        x = a_bar @ x
    return torch.stack(taps, 1)


@pytest.mark.parametrize("init", ["legs", "legt", "fourier"])
def test_every_form_has_both_halves(init: str) -> None:
    torch.manual_seed(0)
    cauchy, chunked = (S4(4, 64, init, mode=mode).double() for mode in ("cauchy", "chunked"))
    chunked.load_state_dict(cauchy.state_dict())
    wanted = oracle.kernel(cauchy, LENGTH)
    assert (kernel_of_the_half(cauchy) - wanted).norm() > 0.3 * wanted.norm(), "the check would see it"
    x = frames(1, LENGTH, 4)
    for layer in (cauchy, chunked):
        close(layer.kernel(LENGTH)[0], wanted, 1e-9)
        close(layer(x), oracle.run(cauchy, x), 1e-9)
        for _, frozen in frozen_forms(layer):
            close(steps(frozen, x, frozen.init_state(1))[0], oracle.run(cauchy, x), 1e-9)
