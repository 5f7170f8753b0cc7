"""Making sequences, running layers over them, comparing."""

import torch
from torch import Tensor

from s4speech.layers import FrozenLayer, State

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # relative, of the laws


def frames(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Normal noise of this shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    """The same shape, and no element further off than `tolerance` times the largest wanted one."""
    assert got.shape == wanted.shape
    if wanted.numel():
        scale = max(float(wanted.detach().abs().max()), 1e-30)
        error = float((got.detach().double() - wanted.detach().double()).abs().max()) / scale
        assert error <= tolerance, f"relative error {error:.1e}"


def steps(frozen: FrozenLayer, x: Tensor, state: State) -> tuple[Tensor, State]:
    """x (B, T, D), T > 0, frame by frame."""
    outputs = []
    for t in range(x.shape[1]):
        y, state = frozen.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def scans(frozen: FrozenLayer, x: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
    """x (B, T, D) in chunks of these sizes."""
    assert sum(sizes) == x.shape[1]
    outputs = []
    for chunk in x.split(sizes, 1):
        y, state = frozen.scan(chunk, state)
        outputs.append(y)
    return torch.cat(outputs, 1), state
