"""Stage plan: the most seconds of audio a batch that fits into memory, found once (max_duration_s: auto)."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recipes.asr.context import ASRContext
from recipes.fingerprint import config_part
from recipes.stage import Stage
from s4speech.config.train import TrainConfig
from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.train.memory import (
    CPU_PROGRAM_GIB,
    CPU_WORKSPACE,
    GIB,
    EstimatedMemory,
    GPUMemory,
    Memory,
    Shape,
    Utterance,
    available_bytes,
    bucket_edges,
    fixed_bytes,
    largest_batch,
    worst_shapes,
)
from s4speech.train.strategy import on_gpu

PLAN = "plan.json"
BUCKETS, UTTERANCES = 20, 8  # of `EpochSampler`: buckets, and how many utterances each has at least
# of `train`; not the devices, which may change in the middle of a training
KEYS = ("max_duration_s", "memory_gib", "speeds", "curriculum", "join", "precision", "optimizer", "freeze")


def plan(context: ASRContext, folder: Path) -> None:
    """Write plan.json: the batch, what it was found for, and the batches of each bucket.

    On a GPU whole training steps of the largest batch of each bucket are tried; on a CPU, where too much
    memory ends the process, it is estimated from what autograd saves (`s4speech.train.memory`).
    Raises InputError: the longest utterance alone does not fit.
    """
    config = context.config.train
    gpu = on_gpu(config)
    device = torch.device("cuda" if gpu else "cpu")
    model = context.build_model().to(device)
    for name in config.freeze:
        getattr(model, name).requires_grad_(False)
    available = available_bytes(device) if config.memory_gib is None else round(config.memory_gib * GIB)
    if config.memory_gib is None and not gpu:  # the processes share it, and each is a program
        available = available // config.devices - round(CPU_PROGRAM_GIB * GIB)
    limit = max(0, available - (0 if gpu else round(config.cache_gib * GIB)))
    memory: Memory = (GPUMemory if gpu else EstimatedMemory)(model, config, limit)
    utterances = _utterances(context)
    limits_s = {*(step.max_s for step in config.curriculum), math.inf}
    phases = []
    for limit_s in sorted(limits_s):
        heard = [one for one in utterances if one.duration_s <= limit_s]
        buckets = min(BUCKETS, len(heard) // len(config.speeds) // UTTERANCES)
        phases.append((heard, bucket_edges(heard, buckets)))

    def shapes(max_duration_s: float) -> list[Shape]:
        found = [worst_shapes(heard, edges, max_duration_s) for heard, edges in phases]
        return [shape for one in found for alone in one for shape in _joined(alone, config.join)]

    longest_s = max(one.duration_s for one in utterances)
    seconds = sum(one.duration_s for one in utterances) / len(config.speeds)
    found = largest_batch(memory, shapes, longest_s, max(seconds, longest_s))
    if found is None:
        raise InputError(
            f"train.max_duration_s: auto: one utterance of {longest_s:.1f} s does not fit into "
            f"{limit / GIB:.2f} GiB; give more train.memory_gib, a smaller model, or shorter utterances"
        )
    where = torch.cuda.get_device_name(device) if gpu else "CPU"
    result = {
        "max_duration_s": math.floor(100 * found) / 100,
        "device": where,
        "limit_gib": limit / GIB,
        "fixed_gib": fixed_bytes(model, config).total / GIB,
        "shapes": [shape._asdict() for shape in shapes(found)],
    }
    write_by_rename(folder / PLAN, json.dumps(result, indent=2) + "\n")
    context.say(
        f"plan: {found:.1f} s of audio a batch fit into {limit / GIB:.2f} GiB ({where}); an optimiser step "
        f"hears up to {found * config.accumulate:.0f} s (train.accumulate={config.accumulate})"
    )


def max_duration_s(context: ASRContext) -> float:
    """Seconds of audio a batch: the recipe's number, or what the plan stage found."""
    wanted = context.config.train.max_duration_s
    if wanted != "auto":
        return wanted
    return float(json.loads((context.exp_dir / "plan" / PLAN).read_text())["max_duration_s"])


def with_plan(stages: tuple[Stage[ASRContext], ...], config: TrainConfig) -> tuple[Stage[ASRContext], ...]:
    """The stages, with `plan` before `train` where the recipe says auto; else as they are."""
    if config.max_duration_s != "auto":
        return stages
    planning = Stage(
        "plan", plan, config=_fingerprint, needs=("prepare", "tokenizer"), check=ASRContext.check_trainer
    )
    found: list[Stage[ASRContext]] = []
    for stage in stages:
        found += (
            [planning, replace(stage, needs=(*stage.needs, "plan"))] if stage.name == "train" else [stage]
        )
    return tuple(found)


def _fingerprint(context: ASRContext) -> dict[str, Any]:
    """The plans of a GPU do not depend on the constants that a CPU's are made with."""
    constants = {} if on_gpu(context.config.train) else {"cpu": [CPU_WORKSPACE, CPU_PROGRAM_GIB]}
    return config_part(context.config, ("model", *(f"train.{key}" for key in KEYS))) | constants


def _utterances(context: ASRContext) -> list[Utterance]:
    """The training part at all of its speeds."""
    encode, speeds = context.tokenizer.encode, context.config.train.speeds
    return [
        Utterance(cut.duration / speed, tokens)
        for cut in context.cuts("train")
        for tokens in [len(encode(cut.supervisions[0].text))]
        for speed in speeds
    ]


def _joined(shape: Shape, join: int) -> list[Shape]:
    """The batch as it is, and with every `join` of its rows as one."""
    count = min(join, shape.rows)
    together = Shape(-(-shape.rows // count), count * shape.duration_s, count * (shape.tokens + 1))
    return [shape] if count == 1 else [shape, together]
