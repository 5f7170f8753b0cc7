"""A recognition training of seconds with everything random in it: dropout, SpecAugment, joined rows, speeds.

Used by the tests and tools of what must not change a training: how many processes make it, and being stopped.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from s4speech.config.asr import ASRConfig
from s4speech.config.train import TrainConfig
from s4speech.data.asr import ASRDataset, Batch, make_loader
from s4speech.data.sampler import EpochSampler, training_epochs
from s4speech.models.asr.build import build_asr
from s4speech.train.asr import ASRTask, fit

LETTERS = "ABC"
SIZE = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24, "dropout": 0.2}


def make_cuts(folder: Path, count: int) -> CutSet:
    """Utterances of 0.4 to 1 s of noise with random texts; the files are of one length each."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    cuts = []
    for i in range(count):
        samples = 0.1 * rng.standard_normal(rng.integers(6400, 16000))
        path = folder / f"{i:03d}.wav"
        soundfile.write(path, samples, 16000)
        recording = Recording.from_file(path)
        text = "".join(rng.choice(list(LETTERS), 4))
        said = SupervisionSegment(path.stem, path.stem, 0.0, recording.duration, text=text)
        cuts.append(MonoCut(path.stem, 0.0, recording.duration, 0, recording=recording, supervisions=[said]))
    return CutSet.from_cuts(cuts)


def encode(text: str) -> list[int]:
    """Letters as token ids, after the special ones."""
    return [3 + LETTERS.index(letter) for letter in text]


def decode(tokens: list[int]) -> str:
    """Token ids as words of one letter."""
    return " ".join(LETTERS[i - 3] for i in tokens if i >= 3)


class RecordingTask(ASRTask):
    """Writes the place and the loss of each micro-batch to losses.RANK.jsonl in `folder`."""

    folder: Path

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        row = {
            "epoch": self.current_epoch,
            "number": self.number_of(batch_idx),
            "loss": float(loss.detach()),
            "ids": batch.ids,
        }
        with (self.folder / f"losses.{self.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return loss


def train(folder: Path, cuts: CutSet, **options: Any) -> RecordingTask:
    """Train in `folder`, or continue. options: of `TrainConfig`. Returns the task with its last weights."""
    config = TrainConfig(
        **{
            "epochs": 2,
            "accumulate": 4,
            "max_duration_s": 3.0,
            "warmup_steps": 3,
            "lr": 5e-3,
            "schedule": "linear",
            "precision": "32-true",
            "accelerator": "cpu",
            "workers": 0,
            "keep": 2,
            "join": 2,
            "curriculum": [{"epochs": 1, "max_s": 0.8}],
            "monitor": "valid/wer",
        }
        | options
    )
    model_config = ASRConfig(
        vocab_size=3 + len(LETTERS),
        specaugment={"time_warp": 2, "freq_masks": 1, "freq_width": 8, "time_masks": 1, "time_ratio": 0.2},
        encoder={"subsampling": "conv1d", "kernel_size": 3, **SIZE},
        decoder={"type": "s4", "d_state": 4, "drop_path": 0.2, **SIZE},
    )
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model = build_asr(model_config)
    valid_cuts = cuts.subset(first=5)
    choose = training_epochs(cuts, config.speeds, config.max_s, config.seed)
    planned_s = sum(cut.duration for epoch in range(config.total_epochs) for cut in choose(epoch))
    sampler = EpochSampler(choose, max_duration_s=config.max_duration_s, shuffle=True, seed=config.seed)
    valid = EpochSampler(lambda epoch: valid_cuts, max_duration_s=1.2, shuffle=False)
    task = RecordingTask(model, config, model_config.specaugment, planned_s, decode)
    task.folder = folder
    data = ASRDataset(model.features, encode, config.cache_gib)
    loader = make_loader(data, sampler, config.workers)
    fit(task, loader, make_loader(data, valid), folder, progress=False)
    return task


def losses(folder: Path) -> dict[tuple[int, int], float]:
    """(epoch, micro-batch) -> the loss of its last run."""
    found = {}
    for path in sorted(folder.glob("losses.*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["epoch"], row["number"]] = row["loss"]
    return dict(sorted(found.items()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The model in the last checkpoint."""
    state: dict[str, torch.Tensor] = torch.load(
        folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True
    )["state_dict"]
    return state
