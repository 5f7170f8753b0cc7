"""Stage prepare."""

import json
from pathlib import Path

import numpy as np

from recipes.lm.context import LMContext
from s4speech.data.text import read_text
from s4speech.files import write_by_rename
from s4speech.text.tokenizer import Tokenizer


def text_files(context: LMContext) -> list[Path]:
    """What prepare reads."""
    return [Path(context.config.text.path), Path(context.config.tokenizer)]


def prepare(context: LMContext, folder: Path) -> None:
    """train.npy and valid.npy, rows of token ids (uint16); held_out.txt, the sentences; tokenizer.model."""
    text, source = context.config.text, Path(context.config.tokenizer)
    tokenizer = Tokenizer.load(source)
    parts = read_text(
        Path(text.path),
        tokenizer,
        normalize=text.normalize == "english",
        length=text.length,
        block=text.block,
        hold_out=text.hold_out,
        max_tokens=text.max_tokens,
    )
    for name in ("train", "valid"):
        np.save(folder / f"{name}.npy", getattr(parts, name), allow_pickle=False)
    write_by_rename(folder / "held_out.txt", "".join(f"{line}\n" for line in parts.held_out))
    write_by_rename(folder / "tokenizer.model", source.read_bytes())
    held_out = len(parts.held_out)
    counts = {"sentences": parts.sentences, "held_out": held_out, "unknown_tokens": parts.unknown}
    counts |= {"train_tokens": parts.train.size, "valid_tokens": parts.valid.size}
    write_by_rename(folder / "text.json", json.dumps(counts, indent=1))
    context.say(
        f"prepare: {parts.sentences} sentences, of which {held_out} are held out; rows of {text.length}"
        f" tokens: {len(parts.train)} and {len(parts.valid)}; {parts.unknown} tokens are unknown"
    )
