"""What training a recipe's recognition model costs: parameters, memory, arithmetic, and a step of it, here.

    PYTHONPATH=. python tools/training_cost.py egs/librispeech/asr/recipe.yaml --json cost.json

Counted: parameters; bytes of weights, gradients and optimiser; what autograd saves for the backward pass, a
second of audio, in float32 and as bf16-mixed (the same on every device); floating point operations of both
passes, a second of audio (torch.utils.flop_counter: matrix products, convolutions, attention).
Timed: whole optimiser steps on this CPU, on recordings from the corpus if it is there, else on noise.
ESTIMATED, and nothing else: minutes of an epoch on GPUs, operations / (GPUs x peak x utilisation), and the
batch that fits into a GPU. --utilisation 0.06 is what the published training of the 113 M model comes to by
this count: 60 epochs of 960 h at three speeds in 2.5 days on 4 A100. Seconds of a step mean little on a
machine that does other work; its CPU seconds stand beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from recipes.asr.config import ASRRecipe
from recipes.asr.context import MANY
from s4speech.audio.io import read_audio
from s4speech.config.base import load_config
from s4speech.config.train import TrainConfig
from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.models.asr.build import build_asr
from s4speech.models.asr.encoder import parameter_count
from s4speech.models.asr.model import ASRModel
from s4speech.train.memory import (
    GIB,
    GPU_PART,
    WORKSPACE,
    FixedBytes,
    Shape,
    fixed_bytes,
    loss_of,
    make_batch,
    saved_bytes,
    tensors_of,
)
from s4speech.train.optim import build_optimizer

MIB = 2**20
PRECISIONS = ("32-true", "bf16-mixed")
GPUS = (1, 8)


class Cost(NamedTuple):
    """Of a batch whatever it holds (weights in bfloat16, matrices of the SSMs), and of a second of audio."""

    constant: float
    a_second: float


class Step(NamedTuple):
    """Of an optimiser step: seconds, those of them on this CPU, loss before it, norm of the gradient."""

    seconds: float
    cpu_seconds: float
    loss: float
    norm: float


def parts(model: ASRModel) -> dict[str, int]:
    """Parameters."""
    counts = {name: parameter_count(getattr(model, name)) for name in ("encoder", "ctc", "decoder")}
    return counts | {"total": parameter_count(model)}


def by_second(measured: Callable[[Shape], float], shape: Shape) -> Cost:
    """From one row and two of `shape`: rows share nothing else."""
    one, two = (measured(shape._replace(rows=rows)) for rows in (1, 2))
    return Cost(2 * one - two, (two - one) / shape.duration_s)


def saved_cost(model: ASRModel, shape: Shape, precision: str) -> Cost:
    """Bytes that autograd keeps for the backward pass."""
    known = tensors_of(model)
    return by_second(lambda one: saved_bytes(lambda: loss_of(model, one, precision), known), shape)


def flop_cost(model: ASRModel, shape: Shape) -> Cost:
    """Floating point operations of a forward and a backward pass; a product and a sum are two."""

    def count(one: Shape) -> float:
        with FlopCounterMode(display=False) as counter:
            loss_of(model, one, "32-true").backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)
        return float(counter.get_total_flops())

    return by_second(count, shape)


def recordings(root: Path, model: ASRModel, shape: Shape) -> Tensor | None:
    """Samples (rows, S) of that shape: recordings below `root`, joined and cut; None: too few there."""
    wanted = round(shape.duration_s * model.features.sample_rate)
    pieces = (
        torch.from_numpy(read_audio(path, model.features.sample_rate))
        for path in itertools.islice(sorted(root.rglob("*.flac")), 1000)
    )
    rows = list(itertools.islice(_rows(pieces, wanted), shape.rows))
    return torch.stack(rows) if len(rows) == shape.rows else None


def _rows(pieces: Iterator[Tensor], length: int) -> Iterator[Tensor]:
    row: list[Tensor] = []
    for piece in pieces:
        row.append(piece)
        if sum(map(len, row)) >= length:
            yield torch.cat(row)[:length]
            row = []


def optimiser_steps(
    model: ASRModel, config: TrainConfig, shape: Shape, samples: Tensor | None, count: int
) -> list[Step]:
    """`count` steps on the same batch, the first with everything torch does only once."""
    features, frames, tokens, lengths = make_batch(model, shape)
    if samples is not None:
        features, frames = model.features(samples, torch.full((len(samples),), samples.shape[1]))
    optimizer = build_optimizer(model, config)
    steps = []
    for _ in range(count):
        start, cpu = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16-mixed"):
            loss = model.loss(model.normalize(features), frames, tokens, lengths).total
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        steps.append(Step(seconds, cpu_seconds, float(loss.detach()), float(norm)))
    return steps


def epoch_minutes(flop: float, hours: float, gpus: int, tflops: float, utilisation: float) -> float:
    """Estimated: operations of an epoch at a part of the GPUs' peak; padding and constants are in that."""
    return flop * hours * 3600 / (gpus * tflops * 1e12 * utilisation) / 60


def batch_that_fits(fixed: FixedBytes, saved: Cost, gib: float) -> float:
    """Estimated: seconds of audio whose activations fit beside weights and optimiser into 9/10 of a GPU."""
    room = (GPU_PART * gib * GIB - fixed.total) / (1 + WORKSPACE)
    return max(0.0, (room - saved.constant) / saved.a_second)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as it is written to --json."""
    recipe = load_config(ASRRecipe, options.config, options.overrides)
    torch.manual_seed(0)
    vocab_size = recipe.tokenizer.vocab_size or MANY
    model = build_asr(recipe.model.model_copy(update={"vocab_size": vocab_size})).train()
    config = recipe.train
    shape = Shape(options.rows, options.duration_s, round(options.tokens_per_s * options.duration_s))
    fixed = fixed_bytes(model, config)
    saved = {precision: saved_cost(model, shape, precision) for precision in PRECISIONS}
    flop = flop_cost(model, shape)
    found = recordings(Path(recipe.corpus.root), model, shape)
    steps = optimiser_steps(model, config, shape, found, options.steps)
    used = saved[config.precision]
    return {
        "config": str(options.config),
        "precision": config.precision,
        "parameters": parts(model),
        "bytes": fixed._asdict(),
        "saved": {precision: value._asdict() for precision, value in saved.items()},
        "flop": flop._asdict(),
        "batch": shape._asdict(),
        "audio": "noise" if found is None else f"recordings of {recipe.corpus.root}",
        "threads": torch.get_num_threads(),
        "steps": [step._asdict() for step in steps],
        "estimate": {
            "hours": options.hours,
            "tflops": options.tflops,
            "utilisation": options.utilisation,
            "minutes_an_epoch": {
                str(gpus): epoch_minutes(
                    flop.a_second, options.hours, gpus, options.tflops, options.utilisation
                )
                for gpus in GPUS
            },
            "batch_s": {f"{gib:g}": batch_that_fits(fixed, used, gib) for gib in options.gpu_gib},
        },
    }


def show(found: dict[str, Any], console: Console) -> None:
    """The table."""
    table = Table("", "", title=f"{found['config']}, {found['precision']}", show_header=False)
    for name, count in found["parameters"].items():
        table.add_row(f"parameters, {name}", f"{count / 1e6:.2f} M")
    for name, size in found["bytes"].items():
        table.add_row(name, f"{size / MIB:.0f} MiB")
    shape, steps = found["batch"], found["steps"]
    for precision, saved in found["saved"].items():
        more = f" + {saved['constant'] / MIB:.0f} MiB" if saved["constant"] > MIB else ""
        table.add_row(
            f"saved activations, {precision}, rows of {shape['duration_s']:g} s",
            f"{saved['a_second'] / MIB:.1f} MiB a second of audio{more}",
        )
    flop = found["flop"]
    more = f" + {flop['constant'] / 1e9:.1f} GFLOP" if flop["constant"] > 1e8 else ""
    table.add_row("forward and backward", f"{flop['a_second'] / 1e9:.1f} GFLOP a second of audio{more}")
    table.add_section()
    audio_s = shape["rows"] * shape["duration_s"]
    best, cpu = (min(step[key] for step in steps) for key in ("seconds", "cpu_seconds"))
    done = flop["constant"] + audio_s * flop["a_second"]
    table.add_row(
        f"optimiser step here, {shape['rows']} x {shape['duration_s']:g} s of {found['audio']}, "
        f"{found['threads']} threads",
        f"{best:.1f} s; CPU {cpu:.1f} s, {cpu / audio_s:.2f} s a second of audio, "
        f"{done / cpu / 1e9:.0f} GFLOP/s",
    )
    table.add_row("loss, step by step", ", ".join(f"{step['loss']:.3f}" for step in steps))
    table.add_section()
    estimate = found["estimate"]
    for gpus, minutes in estimate["minutes_an_epoch"].items():
        table.add_row(
            f"ESTIMATE: epoch of {estimate['hours']:g} h on {gpus} GPU of {estimate['tflops']:g} TFLOP/s, "
            f"{estimate['utilisation']:.0%} used",
            f"{minutes:.0f} min",
        )
    for gib, seconds in estimate["batch_s"].items():
        table.add_row(f"ESTIMATE: batch that fits into a GPU of {gib} GiB", f"{seconds:.0f} s of audio")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; write --json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a recognition recipe")
    parser.add_argument("overrides", nargs="*", help="key=value")
    parser.add_argument("--duration-s", type=_positive, default=10.0, help="of a row (10)")
    parser.add_argument("--rows", type=int, default=1, help="of the batch that is timed (1)")
    parser.add_argument("--steps", type=int, default=2, help="optimiser steps (2)")
    parser.add_argument("--tokens-per-s", type=_positive, default=3.4, help="3.4: English, 5000 word pieces")
    parser.add_argument("--hours", type=_positive, default=960.0, help="of an epoch (960)")
    parser.add_argument(
        "--tflops", type=_positive, default=312.0, help="peak of the GPU (312: A100, bfloat16)"
    )
    parser.add_argument(
        "--utilisation", type=_positive, default=0.06, help="part of the peak that is used (0.06)"
    )
    parser.add_argument("--gpu-gib", type=_positive, nargs="+", default=[24.0, 40.0, 80.0], help="memory")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args(arguments)
    try:
        found = measure(options)
        if options.json is not None:
            write_by_rename(options.json, json.dumps(found, indent=2) + "\n")
    except (InputError, OSError) as error:
        print(f"training_cost: {error}", file=sys.stderr)
        return 2
    show(found, Console())
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text}, wanted more than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
