"""Initial eigenvalues against dense numpy matrices and the published formulas."""

import math

import numpy as np
import pytest
import torch

from s4speech.layers.hippo import INITS, diagonal_init, legs_matrix


def legs_by_the_definition(size: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.zeros((size, size))
    for n in range(size):
        for k in range(n):
            a[n, k] = -math.sqrt(2 * n + 1) * math.sqrt(2 * k + 1)
        a[n, n] = -(n + 1)
    return a, np.array([math.sqrt(2 * n + 1) for n in range(size)])


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_the_dense_legs_matrix(size: int) -> None:
    a, b = legs_matrix(size)
    wanted_a, wanted_b = legs_by_the_definition(size)
    np.testing.assert_allclose(a.numpy(), wanted_a, rtol=1e-14)
    np.testing.assert_allclose(b.numpy(), wanted_b, rtol=1e-14)


@pytest.mark.parametrize("size", [2, 4, 16, 64, 256])
def test_legs_is_half_of_the_spectrum_of_the_normal_part(size: int) -> None:
    a, b = legs_by_the_definition(size)
    p = b / math.sqrt(2)  # P_n = (n + 1/2)^.5
    normal = a + np.outer(p, p)
    np.testing.assert_allclose(normal @ normal.T, normal.T @ normal, rtol=1e-9, atol=1e-9 * size**3)
    eigenvalues = np.linalg.eigvals(normal)
    upper = np.sort_complex(eigenvalues[eigenvalues.imag > 0])
    upper = upper[np.argsort(upper.imag)]
    got = diagonal_init("legs", size).numpy()
    assert got.shape == (size // 2,) and got.dtype == np.complex128
    np.testing.assert_array_equal(got.real, -0.5)
    np.testing.assert_allclose(got, upper, rtol=1e-9)


def test_the_formulas() -> None:
    lin, inv, real = (diagonal_init(init, 8).numpy() for init in ("lin", "inv", "real"))
    np.testing.assert_allclose(lin, [-0.5 + 1j * math.pi * n for n in range(4)], rtol=1e-15)
    wanted = [-0.5 + 1j * 8 / math.pi * (8 / (2 * n + 1) - 1) for n in range(4)]
    np.testing.assert_allclose(inv, wanted, rtol=1e-15)
    np.testing.assert_array_equal(real, [-(n + 1) for n in range(8)])


@pytest.mark.parametrize("init", INITS)
def test_every_init_decays(init: str) -> None:
    assert (diagonal_init(init, 64).real < 0).all()


def test_it_works_without_memory() -> None:
    with torch.device("meta"):
        assert {diagonal_init(init, 64).shape for init in INITS} == {(32,), (64,)}
