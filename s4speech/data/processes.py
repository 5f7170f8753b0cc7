"""The processes of a distributed training."""

import torch


def processes() -> tuple[int, int]:
    """Rank of this process and their number in torch.distributed; (0, 1) without it."""
    # asked late: loaders are made before the processes of a distributed training know each other
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
