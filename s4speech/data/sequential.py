"""Generated tasks that ask for a long memory: ListOps, delay, copy. Made in memory, a function of the seed.

No sequence is in two parts, nor twice in one. Test and validation do not change with the size of training.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from s4speech.data.classify import IGNORE, Example, SequenceDataset, TaskData
from s4speech.errors import InputError

Ints: TypeAlias = NDArray[np.int64]
Tokens: TypeAlias = NDArray[np.int16]
Target: TypeAlias = int | Tokens
Draw: TypeAlias = Callable[[np.random.Generator], Iterable[tuple[Tokens, Target]]]  # some random sequences

LISTOPS_TOKENS = ("PAD", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
_DIGIT, _OPERATOR, _CLOSE = 1, 11, 15  # ids of "0", "[MIN", "]"
OPERATOR_PROBABILITY = 0.25
_TREES = 4096  # drawn at once
_ROWS = 512
_MAX_IDLE_DRAWS = 50


class TokenDataset(SequenceDataset):
    """Token sequences with a class each, or one a frame."""

    def __init__(self, sequences: Sequence[tuple[Tokens, Target]]) -> None:
        self._sequences = sequences
        self.lengths = [len(tokens) for tokens, _ in sequences]

    def example(self, index: int, epoch: int) -> Example:
        """Tokens (T,) int64; target () or (T,) int64. The same in every epoch."""
        tokens, target = self._sequences[index]
        return torch.from_numpy(tokens).long(), torch.as_tensor(target).long()


def listops_task(
    *,
    train: int,
    valid: int,
    test: int,
    min_length: int = 32,
    max_length: int = 512,
    max_depth: int = 10,
    max_args: int = 10,
    seed: int = 0,
) -> TaskData:
    """ListOps (Nangia & Bowman 2018) as in the Long Range Arena (Tay et al. 2021): evaluate an expression.

    `[MAX 2 9 [MIN 4 7 ] 0 ]` is 9. MED is the median rounded down, SM the sum modulo 10. A node is an
    operator with probability 0.25, with 2 to `max_args` arguments, otherwise a digit, as all are at depth
    `max_depth`. (The published generator calls the 0.25 VALUE_P, but a draw above it gives the digit.)
    Expressions have `min_length` to `max_length` tokens; the arena has 500 to 2000, both ends left out, and
    96,000 / 2000 / 2000 of them. Tokens are `LISTOPS_TOKENS`: brackets, no parentheses; 0 pads.

    Raises InputError: lengths or sizes out of range, or fewer different expressions than asked for.
    """
    _check("min_length", min_length, 1, max_length)
    _check("max_depth", max_depth, 1, None)
    _check("max_args", max_args, 2, None)

    def draw(rng: np.random.Generator) -> Iterator[tuple[Tokens, Target]]:
        return draw_listops(rng, min_length, max_length, max_depth, max_args)

    parts = _distinct(draw, train, valid, test, seed)
    digits = LISTOPS_TOKENS[_DIGIT:_OPERATOR]
    return _task(parts, classes=digits, vocab_size=len(LISTOPS_TOKENS), per_frame=False)


def delay_task(
    *, train: int, valid: int, test: int, symbols: int = 8, delay: int = 100, length: int = 500, seed: int = 0
) -> TaskData:
    """Uniform random tokens; the target at frame t is the token at t - delay, and nothing before.

    Raises InputError: a delay not shorter than the sequence, or fewer different sequences than asked for.
    """
    _check("symbols", symbols, 2, 1 << 15)
    _check("delay", delay, 0, length - 1)

    def draw(rng: np.random.Generator) -> Iterator[tuple[Tokens, Target]]:
        for tokens in rng.integers(symbols, size=(_ROWS, length), dtype=np.int16):
            target = np.full(length, IGNORE, np.int16)
            target[delay:] = tokens[: length - delay]
            yield tokens, target

    parts = _distinct(draw, train, valid, test, seed)
    return _task(parts, classes=_names(symbols), vocab_size=symbols, per_frame=True)


def copy_task(
    *, train: int, valid: int, test: int, symbols: int = 8, tokens: int = 10, gap: int = 100, seed: int = 0
) -> TaskData:
    """The copying memory task (Hochreiter & Schmidhuber 1997, as in Arjovsky et al. 2016).

    Input: `tokens` random symbols, `gap` blanks, a go marker, and as many blanks as symbols, over which the
    symbols are the targets, in order; nothing is asked before, where Arjovsky et al. ask for blanks.
    T = 2 tokens + gap + 1. Ids: symbols, blank, go.

    Raises InputError: fewer different sequences than asked for.
    """
    _check("symbols", symbols, 2, (1 << 15) - 2)
    _check("tokens", tokens, 1, None)
    _check("gap", gap, 0, None)
    blank, go = symbols, symbols + 1
    length = 2 * tokens + gap + 1

    def draw(rng: np.random.Generator) -> Iterator[tuple[Tokens, Target]]:
        for remembered in rng.integers(symbols, size=(_ROWS, tokens), dtype=np.int16):
            inputs, target = np.full(length, blank, np.int16), np.full(length, IGNORE, np.int16)
            inputs[:tokens] = target[-tokens:] = remembered
            inputs[tokens + gap] = go
            yield inputs, target

    parts = _distinct(draw, train, valid, test, seed)
    return _task(parts, classes=_names(symbols), vocab_size=symbols + 2, per_frame=True)


class _Level(NamedTuple):
    """The nodes of one depth, in order. tree: which tree each is of; args: its arguments, 0 for a digit."""

    tree: Ints
    args: Ints


def draw_listops(
    rng: np.random.Generator, min_length: int, max_length: int, max_depth: int, max_args: int
) -> Iterator[tuple[Tokens, Target]]:
    """Some random expressions of min_length to max_length tokens, and their values.

    All trees grow together, a depth at a time: 10 to 40 times faster than one by one.
    """
    levels, length = _grow(rng, max_length, max_depth, max_args)
    fits = (length >= min_length) & (length <= max_length)
    levels = [_Level(level.tree[fits[level.tree]], level.args[fits[level.tree]]) for level in levels]
    length = length[fits]
    sizes, ids, values = _evaluate(rng, levels)
    ends = length.cumsum()
    tokens = np.empty(length.sum(), np.int16)
    at = ends - length  # where each node of this depth starts
    for depth, level in enumerate(levels):
        operator = level.args > 0
        tokens[at] = ids[depth]
        tokens[(at + sizes[depth] - 1)[operator]] = _CLOSE
        if depth + 1 < len(levels):
            below = sizes[depth + 1].cumsum() - sizes[depth + 1]
            args = level.args[operator]
            at = below + np.repeat(at[operator] + 1 - below[args.cumsum() - args], args)
    for start, end, value in zip(ends - length, ends, values, strict=True):
        yield tokens[start:end].copy(), int(value)  # a view would keep all of them in memory


def _grow(
    rng: np.random.Generator, max_length: int, max_depth: int, max_args: int
) -> tuple[list[_Level], Ints]:
    """The shape of the trees, and their lengths in tokens; those beyond max_length stop growing."""
    tree, length = np.arange(_TREES), np.zeros(_TREES, np.int64)
    levels = []
    for depth in range(1, max_depth + 1):
        args = rng.integers(2, max_args + 1, len(tree))
        args[rng.random(len(tree)) >= (OPERATOR_PROBABILITY if depth < max_depth else 0.0)] = 0
        levels.append(_Level(tree, args))
        np.add.at(length, tree, np.where(args > 0, 2, 1))
        tree = np.repeat(tree, args)
        tree = tree[length[tree] <= max_length]
    return levels, length


def _evaluate(rng: np.random.Generator, levels: Sequence[_Level]) -> tuple[list[Ints], list[Ints], Ints]:
    """Draw the operators and digits, and evaluate from the leaves up.

    Returns tokens below and at each node, and its own token id, by depth; and the values of the roots.
    """
    sizes: list[Ints] = []
    ids: list[Ints] = []
    below, size = np.zeros(0, np.int64), np.zeros(0, np.int64)  # values and sizes of the depth below
    for _, args in reversed(levels):
        operator = args > 0
        value = rng.integers(10, size=len(args))
        token = value + _DIGIT
        here = np.ones(len(args), np.int64)
        if operator.any():
            counts = args[operator]
            starts = counts.cumsum() - counts
            kind = rng.integers(4, size=len(counts))
            token[operator] = kind + _OPERATOR
            value[operator] = np.choose(
                kind,
                [
                    np.minimum.reduceat(below, starts),
                    np.maximum.reduceat(below, starts),
                    _medians(below, starts, counts),
                    np.add.reduceat(below, starts) % 10,
                ],
            )
            here[operator] = 2 + np.add.reduceat(size, starts)
        sizes.append(here)
        ids.append(token)
        below, size = value, here
    return sizes[::-1], ids[::-1], below


def _medians(values: Ints, starts: Ints, counts: Ints) -> Ints:
    """Medians, rounded down, of groups of values that follow each other."""
    group = np.repeat(np.arange(len(counts)), counts)
    ordered = values[np.lexsort((values, group))]
    middle: Ints = (ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2]) // 2
    return middle


def _distinct(
    draw: Draw, train: int, valid: int, test: int, seed: int
) -> dict[str, list[tuple[Tokens, Target]]]:
    """Draw the parts, each with its own random numbers, leaving out what was drawn before."""
    seen: set[bytes] = set()
    parts = {}
    # training last, so that the others stay what they are when its size changes
    for number, (name, wanted) in enumerate([("test", test), ("valid", valid), ("train", train)]):
        _check(name, wanted, 1, None)
        rng = np.random.default_rng((seed, number))
        found: list[tuple[Tokens, Target]] = []
        idle = 0
        while len(found) < wanted:
            before = len(found)
            for tokens, target in draw(rng):
                key = hashlib.blake2b(tokens.tobytes(), digest_size=16).digest()
                if key not in seen and len(found) < wanted:
                    seen.add(key)
                    found.append((tokens, target))
            idle = idle + 1 if len(found) == before else 0
            if idle == _MAX_IDLE_DRAWS:
                raise InputError(
                    f"{name}: found {len(found)} sequences that are not in other parts, wanted {wanted}; "
                    "ask for fewer, or allow more different ones"
                )
        parts[name] = found
    return parts


def _task(
    parts: dict[str, list[tuple[Tokens, Target]]],
    *,
    classes: tuple[str, ...],
    vocab_size: int,
    per_frame: bool,
) -> TaskData:
    data = {name: TokenDataset(sequences) for name, sequences in parts.items()}
    return TaskData(
        data["train"], data["valid"], {"test": data["test"]}, classes, vocab_size, per_frame=per_frame
    )


def _names(symbols: int) -> tuple[str, ...]:
    return tuple(map(str, range(symbols)))


def _check(name: str, got: int, low: int, high: int | None) -> None:
    if got < low or (high is not None and got > high):
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        raise InputError(f"{name}: got {got}, wanted {wanted}; correct the task's configuration")
