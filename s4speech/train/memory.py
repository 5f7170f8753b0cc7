"""What a training step needs of memory, and the largest batch that fits.

Measured, not derived: one forward pass of the real model with autograd's own record of what it keeps for the
backward pass (`torch.autograd.graph.saved_tensors_hooks`), which is the same on every device; on a GPU whole
steps until one runs out of memory.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from s4speech.config.train import TrainerConfig
from s4speech.errors import InputError
from s4speech.models.asr.model import ASRModel
from s4speech.models.asr.streaming_encoder import StreamingEncoder
from s4speech.text.tokenizer import EOS
from s4speech.train.optim import build_optimizer, parameter_groups

GIB = 2**30
# A batch that is less likely than this is not planned for; an epoch of 960 h has some 10^4 batches.
NEVER = 1e-12
# Beside what is saved: gradients of activations and temporary results. Peaks of single steps (VmHWM) were 0
# to 0.14 above, for Conformers with S4D and S4 decoders, float32 and bf16-mixed.
WORKSPACE = 0.25
# The same for step after step on a CPU: batches differ in shape, and one leaves holes in the heap that the
# next do not fit. mini.yaml's training came to 3.2 times what is saved (with free pages given back after
# each step to 1.6 times, but steps then take a third longer).
CPU_WORKSPACE = 2.25
CPU_PROGRAM_GIB = 1.2  # the program itself, with what it reads ahead
STEP = 1.01  # between the batches that are tried
# Of a GPU: for fragments of the allocator and the libraries' own buffers.
GPU_PART = 0.9


class Utterance(NamedTuple):
    """What counts of one: seconds, and tokens of its text."""

    duration_s: float
    tokens: int


class Shape(NamedTuple):
    """A batch: rows of `duration_s` seconds each, padding included, with `tokens` tokens each."""

    rows: int
    duration_s: float
    tokens: int


def bucket_edges(utterances: Sequence[Utterance], buckets: int) -> list[float]:
    """The longest durations of all buckets but the last, as lhotse chooses them: each has as many seconds."""
    durations = sorted(one.duration_s for one in utterances)
    share, edges, total = sum(durations) / max(buckets, 1), list[float](), 0.0
    for duration in durations:
        if total > share:
            edges.append(duration)
            total = 0.0
        total += duration
    return edges


def worst_shapes(
    utterances: Sequence[Utterance], bins: Sequence[float], max_duration_s: float
) -> list[Shape]:
    """The largest batch of each bucket, up to bins[0], then up to bins[1] ..., of at most `max_duration_s`
    seconds of audio a batch.

    A sampler closes a batch when one more row as long as its longest would exceed the limit, so the last row
    may be longer than all others and the batch exceed it. The others are here as short as they will ever all
    be together: a batch of n random rows of its bucket is of shorter ones alone with a probability of 1e-12.
    """
    buckets: list[list[Utterance]] = [[] for _ in range(len(bins) + 1)]
    for one in sorted(utterances):
        buckets[bisect_left(bins, one.duration_s)].append(one)
    shapes = []
    for bucket in filter(None, buckets):
        rows = 1
        # n rows: n - 1 at a duration that leaves room for one more, then the longest of the bucket
        while rows < len(bucket):
            rank = int(NEVER ** (1 / rows) * len(bucket))  # all of `rows` others are below it: never
            if (rows + 1) * bucket[min(rank, len(bucket) - 1)].duration_s > max_duration_s:
                break
            rows += 1
        shapes.append(Shape(rows, bucket[-1].duration_s, max(one.tokens for one in bucket)))
    return shapes


def make_batch(model: ASRModel, shape: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noise of that shape on the model's device, for `model.loss`: features, frames, tokens, counts."""
    device, front = model.mean.device, model.features
    samples = torch.tensor([round(shape.duration_s * front.sample_rate)])
    frames = max(int(front.lengths(samples)), model.encoder.subsampling.context)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, frames, front.n_mels, generator=generator).to(device)
    tokens = torch.randint(
        EOS + 1, max(model.decoder.vocab_size, EOS + 2), (1, shape.tokens), generator=generator
    )
    return (
        features.repeat(shape.rows, 1, 1),
        torch.full((shape.rows,), frames, device=device),
        tokens.clamp(max=model.decoder.vocab_size - 1).to(device).repeat(shape.rows, 1),
        torch.full((shape.rows,), shape.tokens, device=device),
    )


def loss_of(model: ASRModel, shape: Shape, precision: str) -> Tensor:
    """The training loss of a batch of noise, in the precision that a trainer would take."""
    batch = make_batch(model, shape)
    with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        return model.loss(*batch).total


def draws(model: ASRModel) -> Iterator[None]:
    """Fixes what a streaming model draws for each batch: the whole utterance, then its smallest chunk, one of
    which needs the most. Once, for a model that draws nothing."""
    encoder = model.encoder
    if not isinstance(encoder, StreamingEncoder):
        yield
        return
    whole, chunks = encoder.full_probability, encoder.chunks
    try:
        encoder.full_probability = 1.0
        yield
        encoder.full_probability, encoder.chunks = 0.0, (min(chunks),)
        yield
    finally:
        encoder.full_probability, encoder.chunks = whole, chunks


def saved_bytes(forward: Callable[[], Tensor], known: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps between `forward` and its backward pass, each storage once, without the
    storages of `known` (parameters and buffers)."""
    counted = {tensor.untyped_storage()._cdata for tensor in known}
    total = 0
    kept: list[Tensor] = []  # alive until the end: another one must not get its storage

    def count(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage._cdata not in counted:
            counted.add(storage._cdata)
            total += storage.nbytes()
            kept.append(tensor.detach())
        return tensor.detach()  # an output itself would hold the graph that holds it, for ever

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        forward()
    return total


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


class FixedBytes(NamedTuple):
    """What a training holds whatever the batch."""

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def fixed_bytes(model: nn.Module, config: TrainerConfig) -> FixedBytes:
    """Weights and buffers, gradients, and the states of the config's optimiser: two numbers a parameter of
    AdamW, one of Muon."""
    weights = sum(tensor.nbytes for tensor in tensors_of(model))
    muon_lr = config.muon_lr if config.optimizer == "muon" else None
    states = gradients = 0
    for group in parameter_groups(model, config.lr, config.weight_decay, muon_lr=muon_lr):
        size = sum(parameter.nbytes for parameter in group["params"])
        gradients += size
        states += size if group["name"] == "muon" else 2 * size
    return FixedBytes(weights, gradients, states)


class Memory(Protocol):
    """Says whether training steps on such batches fit."""

    def fits(self, shapes: Sequence[Shape]) -> bool:
        """Each of them, one after another."""


class EstimatedMemory:
    """Of a CPU, where running out of memory ends the process: what steps need, from what autograd saves.

    Bytes of a batch are those of one row and of two, continued: rows do not share activations.
    """

    def __init__(self, model: ASRModel, config: TrainerConfig, limit_bytes: int) -> None:
        self.model, self.precision, self.limit_bytes = model.train(), config.precision, limit_bytes
        self.fixed = fixed_bytes(model, config)
        self._known: dict[tuple[float, int], list[tuple[int, int]]] = {}

    def saved(self, shape: Shape) -> int:
        """Bytes kept between the passes."""
        key = (shape.duration_s, shape.tokens)
        if key not in self._known:
            found = []
            for _ in draws(self.model):
                one, two = (self._measure(shape._replace(rows=rows)) for rows in (1, 2))
                found.append((one, two - one))
            self._known[key] = found
        return max(one + (shape.rows - 1) * more for one, more in self._known[key])

    def _measure(self, shape: Shape) -> int:
        return saved_bytes(lambda: loss_of(self.model, shape, self.precision), tensors_of(self.model))

    def needed(self, shape: Shape) -> int:
        """Bytes of a training with such steps, weights and optimiser included, the program itself not."""
        return self.fixed.total + round((1 + CPU_WORKSPACE) * self.saved(shape))

    def fits(self, shapes: Sequence[Shape]) -> bool:
        return all(self.needed(shape) <= self.limit_bytes for shape in shapes)


class GPUMemory:
    """Of a GPU: whole training steps until one raises torch.OutOfMemoryError. The model's weights are lost.

    limit_bytes: of this process; several processes hold the gradients once more while they exchange them.
    """

    def __init__(self, model: ASRModel, config: TrainerConfig, limit_bytes: int) -> None:
        self.model, self.config, self.limit_bytes = model.train(), config, limit_bytes
        self.optimizer = build_optimizer(model, config)
        self.device = model.mean.device
        self.exchanged: Tensor | None = None

    def fits(self, shapes: Sequence[Shape]) -> bool:
        whole = torch.cuda.get_device_properties(self.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, self.limit_bytes / whole), self.device)
        try:
            if self.config.processes > 1 and self.exchanged is None:
                size = fixed_bytes(self.model, self.config).gradients
                self.exchanged = torch.empty(size, dtype=torch.uint8, device=self.device)
            for shape in sorted(shapes, key=lambda one: -one.rows * one.duration_s):
                for _ in draws(self.model):
                    self.step(shape)
        except torch.OutOfMemoryError:
            return False
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(1.0, self.device)
        return True

    def step(self, shape: Shape) -> None:
        """Forward, backward, optimiser, as in training."""
        loss_of(self.model, shape, self.config.precision).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def available_bytes(device: torch.device, meminfo: Path = Path("/proc/meminfo")) -> int:
    """What a training may take: most of a GPU, or the memory that the system says is available.

    Raises InputError: the system does not say.
    """
    if device.type == "cuda":
        return round(GPU_PART * torch.cuda.get_device_properties(device).total_memory)
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{meminfo}: cannot read MemAvailable; give train.memory_gib") from error


def largest_batch(
    memory: Memory, shapes: Callable[[float], Sequence[Shape]], smallest_s: float, most_s: float
) -> float | None:
    """The most seconds of audio a batch, `smallest_s` to `most_s`, whose `shapes` fit, to 1 % below.

    None: not even `smallest_s`. Larger batches have to need more.
    """
    count = max(1, math.ceil(math.log(max(most_s / smallest_s, 1.0), STEP)) + 1)

    def batch(number: int) -> float:
        return min(smallest_s * STEP**number, max(most_s, smallest_s))

    fits, not_fits, leap = -1, count, 1
    while not_fits - fits > 1:
        # leaps that double, so that what is far too large is hardly tried, then halves
        number = fits + min(leap, (not_fits - fits) // 2)
        if memory.fits(shapes(batch(number))):
            fits, leap = number, 2 * leap
        else:
            not_fits = number
    return None if fits < 0 else batch(fits)
