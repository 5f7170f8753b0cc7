"""The card of a voice: what it was made of, how, and how good it is."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from recipes.context import commit
from recipes.tts.context import TTSContext
from s4speech.models.asr.encoder import parameter_count
from s4speech.models.tts.parallel import ParallelModel
from s4speech.models.vocoder.vocoder import Vocoder


def voice_card(
    context: TTSContext,
    model: ParallelModel,
    vocoder: Vocoder,
    rows: Sequence[Mapping[str, str]],
    notes: Sequence[str],
) -> str:
    """Markdown. rows: the table of the score stage; notes: its lines."""
    config, speakers = context.config.package, list(context.speakers)
    sizes = [parameter_count(part) / 1e6 for part in (model, vocoder)]
    facts: dict[str, Any] = {
        "Training data": config.data,
        "Licence": config.licence,
        "Credit": config.credit,
        "Speakers": ", ".join(speakers),
        "Training": trained(context),
        "Input": f"English text as {context.config.text.unit}; output at {context.config.mel.sample_rate} Hz",
        "Command": f"`{context.command}`",
        "Commit": commit(),
        "Hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "Limits": "a voice of read speech: no emotions, no other languages; names that the lexicon lacks are "
        "guessed from their letters",
        "Use": "speech made with it is synthetic: say so where people could take it for a recording",
    }
    told = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact is not None)
    notes_told = "\n".join(f"- {note}" for note in notes)
    return f"""# {config.name}

Text to speech, language `{config.language}`: phones with predicted durations, a causal S4D decoder of
log-mel frames ({sizes[0]:.1f} M parameters) and a streaming S4D vocoder ({sizes[1]:.1f} M).

{markdown(rows)}

{notes_told}

{told}
"""


def trained(context: TTSContext) -> str | None:
    """Epochs and minutes of each training, those that were interrupted included; None: not known."""
    told = []
    for stage in ("align", "train", "vocoder", "finetune"):
        path = context.exp_dir / stage / "checkpoints" / "last.ckpt"
        if path.exists():
            last = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            told.append(f"{stage} {last['epoch'] + 1} epochs, {last['trained_s'] / 60:.0f} minutes")
    return "; ".join(told) or None


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """A table, the columns in the order in which rows name them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns), *([row.get(name, "") for name in columns] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
