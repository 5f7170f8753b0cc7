"""What a training step needs of memory, and the largest batch that fits, against independent counts."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse import CutSet
from lhotse.testing.dummies import dummy_cut
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from s4speech.config.asr import ASRConfig
from s4speech.config.train import TrainConfig
from s4speech.data.sampler import EpochSampler
from s4speech.models.asr.build import build_asr
from s4speech.models.asr.model import ASRModel
from s4speech.train.memory import (
    CPU_WORKSPACE,
    GIB,
    EstimatedMemory,
    GPUMemory,
    Shape,
    Utterance,
    available_bytes,
    bucket_edges,
    fixed_bytes,
    largest_batch,
    loss_of,
    make_batch,
    saved_bytes,
    worst_shapes,
)
from tests.conftest import message

SIZE: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24}
ENCODERS: dict[str, dict[str, Any]] = {
    "conformer": SIZE | {"kernel_size": 5, "subsampling": "conv1d"},
    "streaming": SIZE
    | {"type": "streaming", "kernel_size": 5, "left_frames": 6, "d_state": 4, "chunks": [4, 8]},
}


def tiny(encoder: str = "conformer", decoder: str = "s4") -> ASRModel:
    config = {
        "vocab_size": 30,
        "features": {"n_mels": 20},
        "encoder": ENCODERS[encoder],
        "decoder": SIZE | {"type": decoder},
    }
    torch.manual_seed(0)
    return build_asr(ASRConfig.model_validate(config)).train()


def training(**options: Any) -> TrainConfig:
    return TrainConfig.model_validate({"precision": "32-true", "accelerator": "cpu"} | options)


def corpus(count: int = 400, seed: int = 0) -> list[Utterance]:
    """Like read speech: most of 12 to 16 s, some short, very few long."""
    rng = random.Random(seed)
    durations = [
        min(35.0, max(1.0, rng.choice([rng.uniform(1, 12), rng.gauss(14, 1)]))) for _ in range(count)
    ]
    durations[7] = 35.0
    return [Utterance(round(d, 2), int(3 * d)) for d in durations]


# Batches


@pytest.mark.filterwarnings("ignore:We have exceeded the max_duration")  # single rows are meant
@pytest.mark.parametrize("limit_s", [20.0, 60.0, 200.0])
def test_no_batch_of_the_sampler_exceeds_the_worst_shapes(limit_s: float) -> None:
    utterances = corpus()
    cuts = CutSet.from_cuts(dummy_cut(i, duration=one.duration_s) for i, one in enumerate(utterances))
    bins = bucket_edges(utterances, 8)
    shapes = worst_shapes(utterances, bins, limit_s)
    assert len(shapes) == len(bins) + 1
    for seed in range(5):
        sampler = EpochSampler(lambda epoch: cuts, max_duration_s=limit_s, shuffle=True, seed=seed, buckets=8)
        for batch in sampler:
            rows, longest = len(batch), max(cut.duration for cut in batch)
            assert any(rows <= shape.rows and longest <= shape.duration_s for shape in shapes)


def test_worst_shapes_by_hand() -> None:
    same = [Utterance(2.0, 5)] * 50
    assert worst_shapes(same, [], 20.0) == [Shape(10, 2.0, 5)]
    assert worst_shapes(same, [], 1000.0) == [Shape(50, 2.0, 5)]
    assert worst_shapes(same, [], 1.0) == [Shape(1, 2.0, 5)]  # one row too long is a batch all the same
    # two short ones and then the long one; in buckets of their own they do not meet
    mixed = [Utterance(1.0, 1), Utterance(1.0, 2), Utterance(1.0, 9), Utterance(5.0, 4)]
    assert worst_shapes(mixed, [], 3.0) == [Shape(3, 5.0, 9)]
    assert worst_shapes(mixed, [1.0], 3.0) == [Shape(3, 1.0, 9), Shape(1, 5.0, 4)]


def test_buckets_hold_as_many_seconds() -> None:
    utterances = corpus()
    edges = [0.0, *bucket_edges(utterances, 8), 1e9]
    shares = [
        sum(one.duration_s for one in utterances if low < one.duration_s <= high)
        for low, high in itertools.pairwise(edges)
    ]
    assert len(shares) == 8
    assert max(shares) < 1.5 * sum(shares) / 8


# What is saved


def test_each_storage_is_counted_once_and_parameters_are_not() -> None:
    linear = nn.Linear(3, 5)
    x = torch.zeros(7, 3, requires_grad=True)

    def forward() -> Tensor:
        h = linear(x).exp()  # exp saves its result
        return (h * h.view(5, 7).t().contiguous().view(5, 7).t()).sum()  # and a product both factors

    # x (7 x 3); h (7 x 5) of exp and of the product are one storage; its copy is another
    assert saved_bytes(forward, linear.parameters()) == 4 * (7 * 3 + 7 * 5 + 7 * 5)


def test_nothing_is_kept_after_counting() -> None:
    linear, alive = nn.Linear(3, 5), list[StorageWeakRef]()

    def forward() -> Tensor:
        h = linear(torch.zeros(7, 3)).exp()
        alive.append(StorageWeakRef(h.untyped_storage()))
        return h.sum()

    saved_bytes(forward, linear.parameters())
    assert alive[0].expired()


def recount(model: ASRModel, shape: Shape, precision: str) -> int:
    """Bytes saved for the backward pass, counted by the addresses of the storages after the forward pass."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return kept[-1]

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"),
    ):
        loss = model.loss(*make_batch(model, shape)).total
    known = {one.untyped_storage().data_ptr() for one in [*model.parameters(), *model.buffers()]}
    sizes = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in kept}
    del loss
    return sum(size for address, size in sizes.items() if address not in known)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("decoder", ["s4", "transformer"])
def test_rows_continue_those_of_one_and_two(decoder: str, precision: str) -> None:
    model = tiny(decoder=decoder)
    memory = EstimatedMemory(model, training(precision=precision), GIB)
    for shape in (Shape(1, 1.5, 9), Shape(7, 1.5, 9), Shape(6, 0.3, 2)):
        assert memory.saved(shape) == pytest.approx(recount(model, shape, precision), rel=0.02)


def test_a_streaming_model_is_measured_at_its_most_costly_chunk() -> None:
    model = tiny("streaming")
    before = (model.encoder.full_probability, list(model.encoder.chunks))
    shape = Shape(3, 3.0, 12)
    planned = EstimatedMemory(model, training(), GIB).saved(shape)
    assert (model.encoder.full_probability, list(model.encoder.chunks)) == before
    drawn = [recount(model, shape, "32-true") for _ in range(8)]
    assert len(set(drawn)) > 1
    assert max(drawn) == pytest.approx(planned, rel=0.02)


def test_fixed_bytes_are_those_of_a_step() -> None:
    model = tiny()
    for options in ({}, {"optimizer": "muon"}):
        config = training(**options)
        fixed = fixed_bytes(model, config)
        trained = 4 * sum(parameter.numel() for parameter in model.parameters())
        assert fixed.weights == trained + sum(buffer.nbytes for buffer in model.buffers())
        assert fixed.gradients == trained
        assert (fixed.optimizer == 2 * trained) == (config.optimizer == "adamw")
    model.encoder.requires_grad_(False)
    assert fixed_bytes(model, config).gradients < trained


# The largest batch


def plan(
    model: ASRModel, limit_bytes: int, utterances: list[Utterance]
) -> tuple[float | None, EstimatedMemory]:
    memory = EstimatedMemory(model, training(), limit_bytes)
    bins = bucket_edges(utterances, 2)
    return largest_batch(memory, lambda limit_s: worst_shapes(utterances, bins, limit_s), 3.0, 900.0), memory


def test_the_planned_batch_fits_and_a_third_more_does_not() -> None:
    model, rng = tiny(), random.Random(1)
    utterances = [Utterance(round(rng.uniform(1, 3), 1), 6) for _ in range(300)]
    fixed = fixed_bytes(model, training()).total
    limit = fixed + 12 * 2**20
    found, memory = plan(model, limit, utterances)
    assert found is not None and 3.0 < found < 900.0

    def bytes_of(limit_s: float) -> int:
        shapes = worst_shapes(utterances, bucket_edges(utterances, 2), limit_s)
        return max(fixed + round((1 + CPU_WORKSPACE) * recount(model, shape, "32-true")) for shape in shapes)

    assert bytes_of(found) <= 1.01 * limit < bytes_of(1.3 * found)
    assert memory.fits(worst_shapes(utterances, bucket_edges(utterances, 2), found))


def test_more_memory_is_never_a_smaller_batch() -> None:
    model = tiny()
    utterances = [Utterance(1.0 + i % 5 / 2, 3 + i % 5) for i in range(200)]
    fixed = fixed_bytes(model, training()).total
    found = [plan(model, fixed + extra * 2**20, utterances)[0] or 0.0 for extra in (0, 2, 3, 5, 8, 20, 500)]
    assert found == sorted(found)
    assert found[0] == 0.0 and found[-1] == 900.0 and len(set(found)) >= 5


class Enough:
    """Memory for batches of at most so many seconds."""

    def __init__(self, most_s: float) -> None:
        self.most_s, self.tried = most_s, list[float]()

    def fits(self, shapes: Any) -> bool:
        (shape,) = shapes
        self.tried.append(shape.duration_s)
        return shape.duration_s <= self.most_s


@pytest.mark.parametrize("most_s", [0.5, 10.0, 10.05, 37.0, 400.0, 1e4, 2e6])
def test_the_search_ends_within_one_per_cent(most_s: float) -> None:
    memory = Enough(most_s)
    found = largest_batch(memory, lambda limit_s: [Shape(1, limit_s, 1)], 10.0, 1e6)
    if most_s < 10.0:
        assert found is None
    else:
        assert found is not None and min(most_s, 1e6) / 1.011 <= found <= most_s
    assert len(memory.tried) <= 22
    assert max(memory.tried) <= max(20.0, 30 * most_s)  # a real step of the whole corpus is not tried


class FakeGPU:
    """torch.cuda as far as the planner uses it, with a limit on what it is allowed to hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fractions: list[float] = []
        properties = type("Properties", (), {"total_memory": 100})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda part, device: self.fractions.append(part)
        )


def test_steps_on_a_gpu_until_one_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGPU(monkeypatch)
    model = tiny()
    memory = GPUMemory(model, training(), 80)
    tried: list[Shape] = []
    real: Callable[[Shape], None] = memory.step

    def step(shape: Shape) -> None:
        tried.append(shape)
        if shape.rows * shape.duration_s > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(shape)

    monkeypatch.setattr(memory, "step", step)
    assert memory.fits([Shape(1, 1.0, 3), Shape(2, 2.0, 3)])
    assert [shape.rows for shape in tried] == [2, 1]  # the largest first
    assert memory.optimizer.state_dict()["state"]  # whole steps, with the states of the optimiser
    assert not memory.fits([Shape(1, 1.0, 3), Shape(4, 2.0, 3)])
    assert gpu.fractions == [0.8, 1.0, 0.8, 1.0]  # and the limit is lifted also after an error
    assert all(parameter.grad is None for parameter in model.parameters())
    assert available_bytes(torch.device("cuda")) == 90


def test_available_memory(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  9 kB\nMemAvailable:   2048 kB\n")
    assert available_bytes(torch.device("cpu"), path) == 2 * 2**20
    path.write_text("MemTotal:  9 kB\n")
    for missing in (path, tmp_path / "none"):
        assert "train.memory_gib" in message(
            lambda missing=missing: available_bytes(torch.device("cpu"), missing)
        )  # type: ignore[misc]


def test_a_batch_of_noise_is_one_that_training_takes() -> None:
    model = tiny()
    features, frames, tokens, counts = make_batch(model, Shape(2, 1.0, 4))
    assert features.shape == (2, 98, 20) and frames.tolist() == [98, 98]  # 25 ms every 10 ms
    assert tokens.shape == (2, 4) and counts.tolist() == [4, 4]
    assert float(loss_of(model, Shape(1, 0.001, 1), "32-true").detach()) > 0  # shorter than the subsampling
