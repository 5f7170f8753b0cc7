"""Two optimisers: each steps once a batch, and a resume goes on where the training was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from s4speech.config.tts import AdversarialConfig, MelConfig, VocoderConfig
from s4speech.data.vocoder import Pieces, Segments
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.train.optim import lr_factor
from s4speech.train.trainer import best_checkpoints
from s4speech.train.vocoder import AdversarialTask, fit

MEL = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=6)
BATCHES, EPOCHS, FRAMES = 2, 3, 80
STEPS = BATCHES * EPOCHS
CONFIG = AdversarialConfig(
    epochs=EPOCHS, batches=BATCHES, windows=[64], accelerator="cpu", precision="32-true", warmup_steps=0
)


class Pink(Dataset[Segments]):
    """Item i is always the same; at item `stop` the training dies."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.seen = stop, list[int]()

    def __getitem__(self, item: int) -> Segments:
        if item == self.stop:
            raise RuntimeError("killed")
        self.seen.append(item)
        random = torch.Generator().manual_seed(item)
        mel = torch.randn(2, FRAMES, MEL.n_mels, generator=random) - 4
        samples = 0.1 * torch.randn(2, FRAMES * MEL.hop, generator=random)
        return Segments(mel, torch.full((2, FRAMES), 150.0), samples)


class Observed(AdversarialTask):
    """Notes progress and learning rate at each batch, and which parts it changed."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(Vocoder(MEL, VocoderConfig(d_model=8, n_layers=2, d_ff=8, d_state=4)), CONFIG)
        self.batches = list[tuple[float, float]]()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        self.batches.append((self.progress, self.trainer.optimizers[0].param_groups[-1]["lr"]))


def train(folder: Path, stop: int | None = None) -> tuple[Observed, list[int]]:
    task, data = Observed(), Pink(stop)
    loader = DataLoader(data, sampler=Pieces(BATCHES), batch_size=None)
    fit(task, loader, DataLoader(Pink(), sampler=[100], batch_size=None), folder, progress=False)
    return task, data.seen


def test_a_resume_goes_on_where_the_training_was(tmp_path: Path) -> None:
    fresh = {name: value.clone() for name, value in Observed().state_dict().items()}
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, stop=BATCHES + 1)
    task, seen = train(tmp_path)
    assert seen == list(range(BATCHES, STEPS)), "the second epoch, from its beginning"
    wanted = [i / STEPS for i in range(BATCHES, STEPS)]
    rates = [CONFIG.lr * lr_factor("cosine", 0, 0, progress) for progress in wanted]
    assert [progress for progress, _ in task.batches] == pytest.approx(wanted)
    assert [rate for _, rate in task.batches] == pytest.approx(rates)
    folder = tmp_path / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"002-2.0000.ckpt", "last.ckpt"}
    assert [path.name for path in best_checkpoints(folder, 1, "max")] == ["002-2.0000.ckpt"]
    last = torch.load(folder / "last.ckpt", weights_only=True)
    steps = [{int(one["step"]) for one in state["state"].values()} for state in last["optimizer_states"]]
    assert steps == [{STEPS}, {STEPS}]
    parameters = dict(task.named_parameters())
    assert [name for name in parameters if torch.equal(last["state_dict"][name], fresh[name])] == []


def test_ctrl_c_in_a_training_is_ctrl_c(tmp_path: Path) -> None:
    """Lightning makes SystemExit(1) of it, which says nothing of going on."""

    class Stopped(Pink):
        def __getitem__(self, item: int) -> Segments:
            raise KeyboardInterrupt

    loader = DataLoader(Stopped(), sampler=Pieces(BATCHES), batch_size=None)
    with pytest.raises(KeyboardInterrupt):
        fit(
            Observed(),
            loader,
            DataLoader(Pink(), sampler=[100], batch_size=None),
            tmp_path,
            progress=False,
        )
