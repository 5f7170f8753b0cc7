"""The processes of a distributed training."""

import os
from typing import NamedTuple


def processes() -> tuple[int, int]:
    """Rank of this process and their number in torch.distributed; (0, 1) without it."""
    import torch  # what runs the stages of a recipe needs only the rest of this file

    # asked late: loaders are made before the processes of a distributed training know each other
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class Launched(NamedTuple):
    """How this process was started. rank: its number; size: of how many, all with the same command.

    outside: by torchrun or srun, all at once; otherwise the first process of a training starts the others.
    """

    rank: int = 0
    size: int = 1
    outside: bool = False


class TookPart(Exception):
    """This process has trained with the first one, which does everything else."""


def launched() -> Launched:
    """Read from the environment, before torch.distributed runs."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return Launched(int(env["RANK"]), int(env["WORLD_SIZE"]), outside=True)
    # an interactive shell, and the script of a job, are not what srun starts
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Launched(int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"]), outside=True)
    if "LOCAL_RANK" in env:  # Lightning has started this one
        local, node = int(env["LOCAL_RANK"]), int(env.get("NODE_RANK", "0"))
        size = int(env.get("WORLD_SIZE", local + 1))  # which Lightning removes after a training
        # on one machine: more machines take torchrun or srun
        return Launched(node * size + local, size)
    return Launched()
