"""How the processes of a training work together: `train.strategy`, `devices`, `nodes` for Lightning."""

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy

from s4speech.config.train import TrainerConfig
from s4speech.data.processes import launched
from s4speech.errors import InputError
from s4speech.models.asr.decoder import DecoderLayer
from s4speech.models.asr.encoder import ConformerBlock
from s4speech.models.asr.streaming_encoder import StreamingBlock


class PlainFiles(TorchCheckpointIO):
    """Checkpoints written where they are asked for: who asks renames them (Lightning would write each in
    memory first, then under /tmp)."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write one."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, path)


def check_processes(config: TrainerConfig) -> None:
    """Raises InputError: other processes were started than `config` says, or there are no GPUs for fsdp."""
    if config.strategy == "fsdp" and not torch.cuda.is_available():
        raise InputError("train.strategy: got fsdp, which takes GPUs, there are none; set train.strategy=ddp")
    start = launched()
    if start.outside and start.size != config.processes:
        raise InputError(
            f"train.devices x train.nodes: got {config.devices} x {config.nodes}, but {start.size} processes "
            "were started; make both the same (docs/scale.md)"
        )
    if config.nodes > 1 and not start.outside:
        raise InputError(
            f"train.nodes: got {config.nodes}, but neither torchrun nor srun has started this process; "
            "see docs/scale.md for the command, or set train.nodes=1"
        )


def on_gpu(config: TrainerConfig) -> bool:
    """Whether a training takes GPUs."""
    return config.accelerator != "cpu" and torch.cuda.is_available()


def make_strategy(config: TrainerConfig) -> Strategy | str:
    """Lightning's strategy for a training. Raises InputError: see `check_processes`."""
    check_processes(config)
    if config.strategy == "fsdp":
        # whole state dicts: a checkpoint is the same as of any other training
        return FSDPStrategy(
            auto_wrap_policy={ConformerBlock, StreamingBlock, DecoderLayer}, state_dict_type="full"
        )
    if config.processes == 1:
        return "auto"
    # Buffers never change while training, and processes do not evaluate the same number of batches. On a CPU,
    # Lightning's own choice would run the whole recipe again in each process.
    method: Literal["fork", "popen"] = "popen" if on_gpu(config) or launched().outside else "fork"
    return DDPStrategy(start_method=method, broadcast_buffers=False)
