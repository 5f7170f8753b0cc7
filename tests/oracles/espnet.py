"""Oracle of ESPnet's S4 decoder: numpy, float64, one token at a time, by the names of its own state_dict.

It knows nothing of s4speech: complex pairs are whole (a number and its conjugate), matrices dense, and the
bilinear rule is solved, not expanded.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]
KERNEL = "layer.kernel.kernel"


class Shape(NamedTuple):
    """Sizes of a decoder; kernel_length: what its C is stored for, 0 for C itself."""

    vocab: int = 11
    d_model: int = 6
    layers: int = 2
    d_ff: int = 10
    d_state: int = 8
    n_ssm: int = 1
    rank: int = 1
    kernel_length: int = 0


def random_weights(shape: Shape, seed: int) -> Weights:
    """A decoder with random weights, in the layout of ESPnet's state_dict."""
    rng, d, half = np.random.default_rng(seed), shape.d_model, shape.d_state // 2
    weights: Weights = {}

    def linear(name: str, rows: int, columns: int) -> None:
        weights[f"{name}.weight"] = rng.normal(size=(rows, columns)) / math.sqrt(columns)
        weights[f"{name}.bias"] = 0.3 * rng.normal(size=rows)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = 1 + 0.2 * rng.normal(size=d)
        weights[f"{name}.bias"] = 0.2 * rng.normal(size=d)

    weights["embed.weight"] = rng.normal(size=(shape.vocab, d))
    for number in range(3 * shape.layers):
        name = f"decoder.layers.{number}"
        norm(f"{name}.norm.norm")
        if number % 3 == 0:
            kernel = f"{name}.{KERNEL}"
            weights[f"{kernel}.inv_w_real"] = 0.3 * rng.normal(size=(shape.n_ssm, half)) - 0.7
            weights[f"{kernel}.w_imag"] = 5 * rng.normal(size=(shape.n_ssm, half))
            weights[f"{kernel}.P"] = rng.normal(size=(shape.rank, shape.n_ssm, half, 2))
            weights[f"{kernel}.B"] = rng.normal(size=(1, shape.n_ssm, half, 2))
            weights[f"{kernel}.C"] = rng.normal(size=(1, d, half, 2))
            weights[f"{kernel}.log_dt"] = rng.uniform(math.log(0.01), math.log(0.3), size=d)
            weights[f"{kernel}.L"] = np.array(0)
            weights[f"{name}.layer.D"] = rng.normal(size=(1, d))
            linear(f"{name}.layer.output_linear.0", 2 * d, d)
            store_for_length(weights, name, shape.kernel_length)
        elif number % 3 == 1:
            for part in ("q", "k", "v", "out"):
                linear(f"{name}.layer.linear_{part}", d, d)
        else:
            linear(f"{name}.layer.ff.0.0", shape.d_ff, d)
            linear(f"{name}.layer.ff.2", d, shape.d_ff)
    norm("decoder.norm.norm")
    linear("output", shape.vocab, d)
    return weights


def whole(pairs: Array) -> NDArray[np.complex128]:
    """(..., N / 2, 2) -> (..., N): each number, then each conjugate."""
    z = pairs[..., 0] + 1j * pairs[..., 1]
    return np.concatenate([z, z.conj()], -1)


def systems(weights: Weights, name: str) -> list[tuple[NDArray[np.complex128], NDArray[np.complex128]]]:
    """(A_bar, B_bar) of every channel; channel h has the SSM h mod n_ssm."""
    kernel = {key: weights[f"{name}.{KERNEL}.{key}"] for key in ("inv_w_real", "w_imag", "P", "B", "log_dt")}
    found = []
    for channel, log_dt in enumerate(kernel["log_dt"]):
        ssm = channel % len(kernel["w_imag"])
        half = np.stack([-np.exp(kernel["inv_w_real"][ssm]), kernel["w_imag"][ssm]], -1)
        a = np.diag(whole(half))
        for column in whole(kernel["P"][:, ssm]):
            a = a - np.outer(column, column.conj())
        step, one = math.exp(log_dt) / 2 * a, np.eye(len(a))
        b = math.exp(log_dt) * whole(kernel["B"][0, ssm])
        found.append((np.linalg.solve(one - step, one + step), np.linalg.solve(one - step, b)))
    return found


def store_for_length(weights: Weights, name: str, length: int) -> None:
    """Replace C by C~ = C (1 - A_bar^length), as a module that has seen sequences holds it; 0: leave it."""
    if length == 0:
        return
    c = weights[f"{name}.{KERNEL}.C"]
    for channel, (a_bar, _) in enumerate(systems(weights, name)):
        cut = whole(c[0, channel]) @ (np.eye(len(a_bar)) - np.linalg.matrix_power(a_bar, length))
        half = cut[: len(cut) // 2]
        c[0, channel] = np.stack([half.real, half.imag], -1)
    weights[f"{name}.{KERNEL}.L"] = np.array(length)


def true_c(weights: Weights, name: str) -> NDArray[np.complex128]:
    """C (H, N) of the recurrence, from what is stored."""
    length = int(weights[f"{name}.{KERNEL}.L"])
    stored = whole(weights[f"{name}.{KERNEL}.C"][0])
    if length == 0:
        return stored
    cuts = [np.eye(len(a)) - np.linalg.matrix_power(a, length) for a, _ in systems(weights, name)]
    return np.stack([np.linalg.solve(cut.T, c) for cut, c in zip(cuts, stored, strict=True)])


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_probs(weights: Weights, tokens: NDArray[np.int64], memory: Array, heads: int) -> Array:
    """tokens (U,), memory (T, D) of one utterance -> (U, V)."""

    def linear(name: str, x: Array) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def s4(name: str, x: Array) -> Array:
        y = np.zeros_like(x)
        for channel, (a_bar, b_bar) in enumerate(systems(weights, name)):
            c, state = true_c(weights, name)[channel], np.zeros(len(b_bar), complex)
            for t, u in enumerate(x[:, channel]):
                state = a_bar @ state + b_bar * u
                y[t, channel] = (c @ state).real + weights[f"{name}.layer.D"][0, channel] * u
        first, gate = np.split(linear(f"{name}.layer.output_linear.0", gelu(y)), 2, -1)
        return first / (1 + np.exp(-gate))

    def attention(name: str, x: Array) -> Array:
        q, k, v = (
            linear(f"{name}.layer.linear_{part}", source).reshape(len(source), heads, -1)
            for part, source in (("q", x), ("k", memory), ("v", memory))
        )
        seen = softmax(np.einsum("uhd,thd->hut", q, k) / math.sqrt(q.shape[-1]))
        return linear(f"{name}.layer.linear_out", np.einsum("hut,thd->uhd", seen, v).reshape(len(x), -1))

    def feed_forward(name: str, x: Array) -> Array:
        return linear(f"{name}.layer.ff.2", gelu(linear(f"{name}.layer.ff.0.0", x)))

    x = weights["embed.weight"][tokens]
    blocks = sum(f"decoder.layers.{n}.norm.norm.weight" in weights for n in range(1000))
    for number in range(blocks):
        name = f"decoder.layers.{number}"
        x = x + (s4, attention, feed_forward)[number % 3](name, norm(f"{name}.norm.norm", x))
    return np.log(softmax(linear("output", norm("decoder.norm.norm", x))))
