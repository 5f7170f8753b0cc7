"""Stages train and average."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from recipes.asr.context import ASRContext
from recipes.asr.plan import max_duration_s
from recipes.asr.plots import learning_curves, plot_attention
from recipes.plots import plot_learning_curves
from s4speech.config.train import InitConfig, TrainConfig
from s4speech.data.asr import ASRDataset, make_loader
from s4speech.data.cut_augment import CutAugmenter
from s4speech.data.sampler import EpochSampler, training_epochs
from s4speech.errors import InputError
from s4speech.models.asr.encoder import parameter_count
from s4speech.models.asr.model import ASRModel
from s4speech.models.loading import save_tensors
from s4speech.train.asr import ASRTask, fit
from s4speech.train.trainer import average_checkpoints, best_checkpoints


def train(context: ASRContext, folder: Path) -> None:
    """Train, or continue from the last checkpoint; learning curves as learning_curves.png."""
    config: TrainConfig = context.config.train
    torch.manual_seed(config.seed)  # the initial weights
    model = model_with_statistics(context)
    if config.init is not None:
        initialize(model, config.init)
    count = {
        name: parameter_count(part) / 1e6
        for name, part in (("encoder", model.encoder), ("decoder", model.decoder), ("ctc", model.ctc))
    }
    parts = ", ".join(f"{name} {value:.2f} M" for name, value in count.items())
    context.say(f"train: {parameter_count(model) / 1e6:.2f} M parameters ({parts})")
    encode = context.tokenizer.encode
    choose = training_epochs(context.cuts("train"), config.speeds, config.max_s, config.seed)
    planned_s = sum(cut.duration for epoch in range(config.total_epochs) for cut in choose(epoch))
    augment = None
    if config.augment is not None:
        augment = CutAugmenter(config.augment, model.features.sample_rate, config.seed)
    batch_s = max_duration_s(context)
    sampler = EpochSampler(choose, max_duration_s=batch_s, shuffle=True, seed=config.seed, change=augment)
    loader = make_loader(ASRDataset(model.features, encode, config.cache_gib), sampler, config.workers)
    valid_cuts = context.cuts("valid")
    valid = make_loader(
        ASRDataset(model.features, encode, config.cache_gib),
        EpochSampler(lambda epoch: valid_cuts, max_duration_s=batch_s, shuffle=False),
        min(config.workers, 1),
    )
    task = ASRTask(model, config, context.config.model.specaugment, planned_s, context.tokenizer.decode)
    fit(task, loader, valid, folder, progress=context.console.is_terminal)
    panels = learning_curves(context.config.score.unit)
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", panels)


def average(context: ASRContext, folder: Path) -> None:
    """Mean of the best checkpoints -> model.safetensors; attention of one validation utterance as a plot."""
    config, checkpoints = context.config.train, context.checkpoints
    paths = best_checkpoints(checkpoints, config.keep, config.mode)
    if not paths:
        raise InputError(f"{checkpoints}: no checkpoint; delete {checkpoints.parent} and train again")
    save_tensors(folder / "model.safetensors", average_checkpoints(paths))
    context.say(f"average: {len(paths)} checkpoints: {', '.join(path.stem for path in paths)}")
    model = averaged_model(context)
    cut = min(context.cuts("valid"), key=lambda cut: abs(cut.duration - 6.0))
    dataset = ASRDataset(model.features, context.tokenizer.encode)
    mel = dataset.cut_features(cut).unsqueeze(0)
    tokens = context.tokenizer.encode(cut.supervisions[0].text)
    pieces = [context.tokenizer.pieces[i] for i in tokens]
    plot_attention(model, mel, tokens, pieces, f"{cut.id}", folder / "attention.png")


def model_with_statistics(context: ASRContext) -> ASRModel:
    """A fresh model that normalises with the statistics of the stats stage."""
    model = context.build_model()
    statistics = load_file(context.exp_dir / "stats" / "stats.safetensors")
    model.set_statistics(statistics["mean"], statistics["std"])
    return model


def initialize(model: ASRModel, config: InitConfig) -> None:
    """Load some parts of a trained model. Raises InputError naming the file if they do not fit."""
    path = Path(config.path)
    try:
        saved = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"train.init.path: cannot read {path} ({error}); train that model first") from error
    for name in config.parts:
        part: nn.Module = getattr(model, name)
        state = {key.removeprefix(f"{name}."): v for key, v in saved.items() if key.startswith(f"{name}.")}
        try:
            part.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f"train.init: the {name} in {path} is not this model's: {reason}") from error


def averaged_model(context: ASRContext) -> ASRModel:
    """The model of the average stage, in eval mode."""
    model = context.build_model()
    model.load_state_dict(load_file(context.exp_dir / "average" / "model.safetensors"))
    return model.eval().requires_grad_(False)
