"""The step of S4D failed for 1 < n_ssm < H (FACTS.md section 1, defect 4): only 1 and H were ever tried."""

import pytest
import torch

from s4speech.layers import S4D
from tests.oracles import ssm as oracle
from tests.oracles.compare import close, frames


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("n_ssm", [2, 3, 4, 6])
def test_it_steps_and_scans(n_ssm: int, discretization: str) -> None:
    torch.manual_seed(0)
    layer = S4D(12, 8, n_ssm=n_ssm, discretization=discretization).double()
    with torch.no_grad():  # as many different A as n_ssm says
        layer.log_a_real.add_(torch.randn_like(layer.log_a_real))
        assert len({*layer.log_a_real[:, 0].tolist()}) == n_ssm
    x = frames(2, 20, 12)
    wanted = oracle.run(layer, x)
    with torch.no_grad():
        close(layer(x), wanted, 1e-9)
    frozen = layer.freeze()
    state, outputs = frozen.init_state(2), []
    for t in range(20):
        y, state = frozen.step(x[:, t], state)
        outputs.append(y)
    close(torch.stack(outputs, 1), wanted, 1e-9)
    close(frozen.scan(x, frozen.init_state(2))[0], wanted, 1e-9)
