"""Generated tasks: ListOps, delay, copy."""

import random
import statistics
from collections import Counter

import numpy as np
import pytest
import torch

from s4speech.data.classify import IGNORE, SequenceDataset
from s4speech.data.sequential import LISTOPS_TOKENS, copy_task, delay_task, listops_task
from tests.conftest import message

SIZES = {"train": 300, "valid": 50, "test": 40}


def content(dataset: SequenceDataset) -> list[tuple[bytes, bytes]]:
    return [(x.numpy().tobytes(), y.numpy().tobytes()) for x, y in (dataset[i] for i in range(len(dataset)))]


def evaluate(text: str) -> int:
    """The value of a ListOps expression, by its definition; refuses anything that is not one."""
    functions = {
        "[MIN": min,
        "[MAX": max,
        "[MED": lambda v: int(statistics.median(v)),
        "[SM": lambda v: sum(v) % 10,
    }
    words = text.split()

    def parse(at: int) -> tuple[int, int]:
        if words[at] not in functions:
            assert len(words[at]) == 1
            return int(words[at]), at + 1
        values, end = [], at + 1
        while words[end] != "]":
            value, end = parse(end)
            values.append(value)
        assert len(values) >= 2
        return functions[words[at]](values), end + 1

    value, end = parse(0)
    assert end == len(words)
    return value


def depth(text: str) -> int:
    level, deepest = 0, 0
    for word in text.split():
        level += word.startswith("[")
        deepest = max(deepest, level)
        level -= word == "]"
    return deepest


def written(dataset: SequenceDataset) -> list[tuple[str, int]]:
    examples = (dataset[i] for i in range(len(dataset)))
    return [(" ".join(LISTOPS_TOKENS[i] for i in tokens.tolist()), int(value)) for tokens, value in examples]


def test_the_evaluator_on_examples_worked_by_hand():
    assert evaluate("7") == 7
    assert evaluate("[MAX 2 9 [MIN 4 7 ] 0 ]") == 9
    assert evaluate("[SM 5 [MED 1 2 3 8 ] [MAX 4 9 ] ]") == 6  # 5 + 2 + 9
    assert evaluate("[MED [SM 9 9 ] 0 1 ]") == 1


def test_listops_values_are_those_of_the_expressions():
    task = listops_task(**SIZES, min_length=10, max_length=300, seed=1)
    assert task.classes == tuple("0123456789") and task.vocab_size == 16 and not task.per_frame
    operators = set()
    for dataset in (task.train, task.valid, task.test["test"]):
        for text, value in written(dataset):
            assert evaluate(text) == value
            assert 10 <= len(text.split()) <= 300
            operators |= {word for word in text.split() if word[0] == "["}
        assert [len(text.split()) for text, _ in written(dataset)] == dataset.lengths
    assert operators == {"[MIN", "[MAX", "[MED", "[SM"}
    assert {value for _, value in written(task.train)} == set(range(10))


def test_listops_keeps_to_depth_arguments_and_length():
    task = listops_task(train=300, valid=1, test=1, min_length=5, max_length=60, max_depth=4, max_args=3)
    texts = [text for text, _ in written(task.train)]
    assert max(map(depth, texts)) == 3  # the digits are the fourth level
    assert {len(text.split()) for text in texts} <= set(range(5, 61))
    assert all(evaluate(text) == value for text, value in written(task.train))


def published_lengths(low: int, high: int, count: int) -> list[int]:
    """Lengths from a recursion like that of the published generator, one tree after the other."""
    rng = random.Random(0)

    def grow(level: int) -> int:
        if level == 10 or rng.random() > 0.25:
            return 1
        return 2 + sum(grow(level + 1) for _ in range(rng.randint(2, 10)))

    lengths: list[int] = []
    while len(lengths) < count:
        length = grow(1)
        if low <= length <= high:
            lengths.append(length)
    return lengths


def test_listops_lengths_are_distributed_as_those_of_the_published_generator():
    task = listops_task(train=3000, valid=1, test=1, min_length=32, max_length=512)
    got, wanted = np.sort(task.train.lengths), np.sort(published_lengths(32, 512, 1000))
    values = np.arange(32, 513)
    distance = np.abs(np.searchsorted(got, values) / 3000 - np.searchsorted(wanted, values) / 1000).max()
    assert distance < 1.95 * np.sqrt(1 / 3000 + 1 / 1000)  # Kolmogorov-Smirnov at 0.001


def test_listops_classes_are_not_far_from_even():
    task = listops_task(train=3000, valid=1, test=1)
    share = Counter(value for _, value in written(task.train)).most_common(1)[0][1] / 3000
    assert 0.1 < share < 0.2


def test_delay_asks_for_the_token_so_many_frames_ago():
    task = delay_task(**SIZES, symbols=5, delay=3, length=12)
    assert (task.classes, task.vocab_size, task.per_frame) == (tuple("01234"), 5, True)
    for i in range(len(task.train)):
        tokens, target = task.train[i]
        assert tokens.dtype == target.dtype == torch.int64 and len(tokens) == len(target) == 12
        assert target[:3].tolist() == [IGNORE] * 3
        assert target[3:].tolist() == tokens[:-3].tolist()
    counts = torch.bincount(torch.cat([task.train[i][0] for i in range(300)]), minlength=5)
    assert len(counts) == 5 and (counts - 720).abs().max() < 120  # 5 standard deviations


def test_a_delay_of_nothing_is_the_sequence():
    tokens, target = delay_task(train=1, valid=1, test=1, delay=0, length=20).train[0]
    assert tokens.tolist() == target.tolist()


def test_copy_is_tokens_gap_go_and_the_tokens_again():
    task = copy_task(**SIZES, symbols=4, tokens=6, gap=5)
    assert (task.classes, task.vocab_size, task.per_frame) == (tuple("0123"), 6, True)
    for i in range(len(task.train)):
        inputs, target = (part.tolist() for part in task.train[i])
        assert set(inputs[:6]) <= {0, 1, 2, 3}
        assert inputs[6:] == [4] * 5 + [5] + [4] * 6
        assert target == [IGNORE] * 12 + inputs[:6]


TASKS = {
    "listops": lambda **options: listops_task(**{"min_length": 4, "max_length": 40} | options),
    "delay": lambda **options: delay_task(**{"symbols": 3, "delay": 2, "length": 6} | options),
    "copy": lambda **options: copy_task(**{"symbols": 3, "tokens": 6, "gap": 4} | options),
}


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_parts_have_no_sequence_in_common_and_depend_on_the_seed_alone(make):
    task, again, other = make(**SIZES), make(**SIZES), make(**SIZES, seed=1)
    parts = [content(part) for part in (task.train, task.valid, task.test["test"])]
    assert [len(part) for part in parts] == list(SIZES.values())
    inputs = [example[0] for part in parts for example in part]
    assert len(inputs) == len(set(inputs))
    assert parts == [content(part) for part in (again.train, again.valid, again.test["test"])]
    assert parts[0] != content(other.train)
    smaller = make(train=20, valid=50, test=40)
    assert [content(smaller.valid), content(smaller.test["test"])] == parts[1:]
    assert content(smaller.train) == parts[0][:20]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: listops_task(**SIZES, min_length=50, max_length=40), "min_length: got 50, wanted 1 to 40"),
        (lambda: listops_task(**SIZES, max_args=1), "max_args: got 1, wanted at least 2"),
        (lambda: listops_task(**SIZES, min_length=3, max_length=3), "test: found 0 sequences"),
        (lambda: delay_task(**SIZES, delay=50, length=50), "delay: got 50, wanted 0 to 49"),
        (
            lambda: delay_task(train=9, valid=4, test=4, symbols=2, delay=1, length=4),
            "train: found 8 sequences",
        ),
        (lambda: copy_task(**SIZES, tokens=0), "tokens: got 0, wanted at least 1"),
        (lambda: copy_task(train=5, valid=0, test=1), "valid: got 0, wanted at least 1"),
    ],
)
def test_tasks_that_cannot_be_made(make, told):
    assert message(make).startswith(told)
