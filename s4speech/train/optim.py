"""Optimiser groups and the learning rate schedule."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from s4speech.layers import S4D

SSM_LR = 1e-3  # the dynamics of an SSM are unstable at larger rates (Gu et al. 2022, appendix)


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, ssm_lr: float | None = None
) -> list[dict[str, Any]]:
    """Three groups: SSM dynamics (A, dt) at `ssm_lr` (default min(lr, 1e-3)) without weight decay; biases,
    norms, embeddings and other SSM parameters without weight decay; everything else with it.

    Each group carries `base_lr`, which the schedule scales.
    """
    dynamics, plain = set(), set()
    for module in model.modules():
        if isinstance(module, S4D):
            dynamics |= set(module.ssm_parameters())
            plain |= set(module.parameters(recurse=False))
        elif isinstance(module, nn.Embedding | nn.LayerNorm):
            plain |= set(module.parameters(recurse=False))
    groups: dict[str, list[Tensor]] = {"ssm": [], "plain": [], "decay": []}
    for parameter in _trainable(model.parameters()):
        undecayed = parameter in plain or parameter.dim() < 2
        kind = "ssm" if parameter in dynamics else "plain" if undecayed else "decay"
        groups[kind].append(parameter)
    ssm_lr = min(lr, SSM_LR) if ssm_lr is None else ssm_lr
    settings = {"ssm": (ssm_lr, 0.0), "plain": (lr, 0.0), "decay": (lr, weight_decay)}
    return [
        {"params": groups[kind], "lr": rate, "base_lr": rate, "weight_decay": decay, "name": kind}
        for kind, (rate, decay) in settings.items()
        if groups[kind]
    ]


def lr_factor(schedule: str, step: int, warmup_steps: int, progress: float) -> float:
    """What the base learning rate is multiplied with at optimiser step `step` (from 0).

    linear: up over the warm-up, times 1 - progress (0 .. 1, the part of the training that is over).
    inverse_sqrt: up over the warm-up, then sqrt(warmup_steps / step) (Vaswani et al. 2017, eq. 3).
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "linear":
        return warm * max(0.0, 1.0 - progress)
    if schedule == "inverse_sqrt":
        return min(warm, math.sqrt(max(1, warmup_steps) / (step + 1)))
    raise ValueError(f"schedule: got {schedule!r}, wanted linear or inverse_sqrt")


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's base learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad]
