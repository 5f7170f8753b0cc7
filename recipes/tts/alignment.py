"""Stage align: frames of each phone of every utterance."""

from pathlib import Path

import torch
from torch import Tensor

from recipes.plots import Panels, plot_learning_curves
from recipes.tts.context import TTSContext
from recipes.tts.data import PARTS
from recipes.tts.loaders import planned_s, speech_loader, utterances
from recipes.tts.plots import plot_alignment
from s4speech.data.problems import raise_problems
from s4speech.models.asr.encoder import parameter_count
from s4speech.models.loading import save_tensors
from s4speech.models.tts.aligner import Aligner, best_path
from s4speech.text.phonemes import BEGIN, END, PAUSES
from s4speech.train.aligner import AlignerTask
from s4speech.train.speech import fit

LEARNING_CURVES: Panels = {"forward sum, nats a frame": ("train/loss", "valid/loss")}
PLOTTED = 4


def align(context: TTSContext, folder: Path) -> None:
    """Train the aligner, or continue; then durations.safetensors, and plots of some alignments."""
    config = context.config.align
    _check_lengths(context)
    torch.manual_seed(config.seed)  # the initial weights
    aligner = _build(context)
    context.say(f"align: {parameter_count(aligner) / 1e6:.2f} M parameters")
    train = speech_loader(context, "train", config, shuffle=True)
    task = AlignerTask(aligner, config, planned_s(context, config), context.config.mel.hop_s)
    fit(task, train, speech_loader(context, "valid", config), folder, progress=context.console.is_terminal)
    context.say(f"align: {task.trained_s / 60:.1f} minutes")
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", LEARNING_CURVES)
    aligner.load_state_dict(context.best("align", config.keep))
    aligner.eval()
    durations: dict[str, Tensor] = {}
    for part in PARTS:
        for batch in utterances(context, part):
            with torch.inference_mode():
                log_probs = aligner(
                    batch.tokens, batch.token_lengths, batch.mel, batch.lengths, batch.speaker
                )[0]
            name = batch.ids[0]
            durations[name] = torch.from_numpy(best_path(log_probs.numpy()))
            if part == "valid" and len(list(folder.glob("*.alignment.png"))) < PLOTTED:
                symbols = [str(token) for token in context.spoken[name]["tokens"]]
                plot_alignment(log_probs, durations[name], symbols, folder / f"{name}.alignment.png")
    save_tensors(folder / "durations.safetensors", durations)


def _check_lengths(context: TTSContext) -> None:
    """Raises InputError, before the training: utterances with fewer frames than phones."""
    tokens, pitch = context.token_ids, context.pitch
    short = [name for name in tokens if len(pitch[name]) < len(tokens[name])]
    raise_problems(
        [f"{name}: {len(pitch[name])} frames for {len(tokens[name])} phones" for name in short],
        "the text is not what is said: correct or remove these utterances",
    )


def _build(context: TTSContext) -> Aligner:
    aligner = Aligner(
        len(context.symbols),
        context.config.mel.n_mels,
        context.config.aligner,
        len(context.speakers),
        n_quiet=len((BEGIN, END, *PAUSES)),  # they come first
    )
    aligner.set_statistics(context.statistics["mean"], context.statistics["std"])
    return aligner
