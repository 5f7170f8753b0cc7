"""Comparing sequences, and making them."""

import torch
from torch import Tensor

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
