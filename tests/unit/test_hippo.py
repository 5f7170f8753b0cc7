"""HiPPO matrices and initial eigenvalues against dense numpy matrices and the published formulas."""

import math

import numpy as np
import pytest
import torch

from s4speech.layers.hippo import DPLR, HIPPOS, INITS, diagonal_init, dplr, hippo, hippo_rank, legs_matrix

SIZES = [2, 4, 8, 32, 64]


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


def legt_by_the_definition(size: int) -> tuple[np.ndarray, np.ndarray]:
    b = np.array([math.sqrt(2 * n + 1) for n in range(size)])
    signs = np.array([[1 if k <= n else (-1) ** (n - k) for k in range(size)] for n in range(size)])
    return -np.outer(b, b) * signs, b


def fourier_by_the_definition(size: int) -> tuple[np.ndarray, np.ndarray]:
    """arXiv 2206.12037, HiPPO-FouT, with the cosine and sine of frequency m at 2m and 2m + 1."""
    a, b = np.zeros((size, size)), np.zeros(size)
    for n in range(0, size, 2):
        b[n] = 2 if n == 0 else 2 * math.sqrt(2)
        for k in range(0, size, 2):
            a[n, k] = -2 if n == k == 0 else -2 * math.sqrt(2) if n == 0 or k == 0 else -4
        a[n, n + 1] = -math.pi * n  # -2 pi m
        a[n + 1, n] = math.pi * n
    return a, b


DEFINITIONS = {
    "legs": legs_by_the_definition,
    "legt": legt_by_the_definition,
    "fourier": fourier_by_the_definition,
}


def full(form: DPLR) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """V (N, N), Lambda (N,), P (N, rank), B (N,) with both halves of every pair."""
    eigenvalues, p, b, basis = (leaf.numpy() for leaf in form)
    both = [np.concatenate([half, half.conj()], -1) for half in (basis, eigenvalues, p, b)]
    return both[0], both[1], both[2].T, both[3]


@pytest.mark.parametrize("init", HIPPOS)
@pytest.mark.parametrize("size", SIZES)
def test_the_dense_matrices(init: str, size: int) -> None:
    a, b = hippo(init, size)
    wanted_a, wanted_b = DEFINITIONS[init](size)
    assert a.dtype == b.dtype == torch.float64
    np.testing.assert_allclose(a.numpy(), wanted_a, rtol=1e-14)
    np.testing.assert_allclose(b.numpy(), wanted_b, rtol=1e-14)


@pytest.mark.parametrize("init", HIPPOS)
@pytest.mark.parametrize("size", SIZES)
def test_diagonal_plus_low_rank_is_the_dense_matrix(init: str, size: int) -> None:
    form = dplr(init, size)
    assert [tuple(leaf.shape) for leaf in form] == [
        (size // 2,), (hippo_rank(init), size // 2), (size // 2,), (size, size // 2)
    ]  # fmt: skip
    assert all(leaf.dtype == torch.complex128 for leaf in form)
    v, eigenvalues, p, b = full(form)
    wanted_a, wanted_b = DEFINITIONS[init](size)
    a = v @ (np.diag(eigenvalues) - p @ p.conj().T) @ v.conj().T
    np.testing.assert_allclose(v.conj().T @ v, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(a, wanted_a, rtol=0, atol=1e-10)
    np.testing.assert_allclose(v @ b, wanted_b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("init", HIPPOS)
@pytest.mark.parametrize("size", SIZES)
def test_the_kept_half(init: str, size: int) -> None:
    form = dplr(init, size)
    imag = form.eigenvalues.imag
    assert (form.eigenvalues.real == (-0.5 if init == "legs" else 0.0)).all()
    assert (imag[1:] > imag[:-1]).all()
    assert imag[0] == 0 if init == "fourier" else imag[0] > 0.2
    assert (form.b.imag == 0).all() and (form.b.real > 0.5).all()
    x = torch.randn(3, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = x.to(torch.complex128) @ form.basis.conj()  # basis^* x
    torch.testing.assert_close(2 * (z @ form.basis.T).real, x)
    if init == "legs":
        torch.testing.assert_close(form.eigenvalues, diagonal_init("legs", size))


def test_the_known_spectra() -> None:
    fourier = dplr("fourier", 8).eigenvalues
    torch.testing.assert_close(fourier.imag, 2 * math.pi * torch.arange(4, dtype=torch.float64))
    # S of LegT with N = 2 is [[0, 3^.5], [-3^.5, 0]]
    torch.testing.assert_close(
        dplr("legt", 2).eigenvalues, torch.tensor([3**0.5 * 1j], dtype=torch.complex128)
    )


@pytest.mark.parametrize("init", HIPPOS)
def test_the_systems_are_stable(init: str) -> None:
    real = torch.linalg.eigvals(hippo(init, 64)[0]).real.sort(descending=True).values
    if init == "fourier":  # the empty sine of frequency 0 stays what it is, 0
        assert real[0] == 0
        real = real[1:]
    assert (real < 0).all()


def test_what_it_refuses() -> None:
    for function in (hippo, dplr):
        with pytest.raises(ValueError, match="init: got 'lin', wanted one of legs, legt, fourier"):
            function("lin", 4)
        with pytest.raises(ValueError, match="d_state: got 0"):
            function("legs", 0)
        with pytest.raises(ValueError, match="d_state: got 5, wanted an even number"):
            function("fourier", 5)
    with pytest.raises(ValueError, match="d_state: got 5, wanted an even number"):
        dplr("legs", 5)
    with pytest.raises(ValueError, match="init: got 'real'"):
        hippo_rank("real")


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
        assert {dplr(init, 64).basis.shape for init in HIPPOS} == {(64, 32)}
