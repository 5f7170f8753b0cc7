"""Stages evaluate and package."""

import json
import math
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recipes.lm.context import LMContext
from recipes.lm.ngram import ngram_nats, read_ngrams, save_ngram_package
from s4speech.data.text import read_sentences
from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.models.lm import LanguageModel, LMPackageConfig, save_lm
from s4speech.text.tokenizer import EOS, SOS

IGNORE = -100  # a target that is not asked for; the ignore_index of torch's cross entropy
HELD_OUT = "held out"
Nats = Callable[[Sequence[Tensor]], float]


def evaluate_files(context: LMContext) -> list[Path]:
    """External text that is scored."""
    return [Path(path) for path in context.config.evaluate.texts]


def evaluate(context: LMContext, folder: Path) -> None:
    """Perplexities of the held-out sentences and of each text: a table and results.json."""
    config = context.config
    nats = _nats(context)
    normalize = config.text.normalize == "english"
    # the held-out sentences are kept normalised
    texts = {HELD_OUT: list(read_sentences(context.exp_dir / "prepare" / "held_out.txt", normalize=False))}
    texts |= {path: list(read_sentences(Path(path), normalize=normalize)) for path in config.evaluate.texts}
    results: dict[str, Any] = {}
    table = Table("text", "sentences", "words", "read", "a token", "a word", "bits a character", box=None)
    for name, sentences in texts.items():
        if not sentences:
            raise InputError(f"evaluate.texts: {name} has no sentence, wanted one a line")
        for how, neighbours in (("alone", 1), ("in context", config.evaluate.context)):
            one = perplexities(context, nats, sentences, neighbours)
            results.setdefault(name, {})[how] = one
            table.add_row(
                Path(name).name, str(one["sentences"]), str(one["words"]), how,
                f"{one['perplexity_token']:.2f}", f"{one['perplexity_word']:.1f}",
                f"{one['bits_character']:.3f}",
            )  # fmt: skip
    training = json.loads((context.exp_dir / "train" / "training.json").read_text("utf-8"))
    write_by_rename(folder / "results.json", json.dumps({"texts": results, "training": training}, indent=1))
    context.console.print(table)


def _nats(context: LMContext) -> Nats:
    """-log p of rows (length,) by the model of the train stage."""
    if context.ngram is not None:
        return partial(ngram_nats, read_ngrams(context))
    device = context.evaluate_device
    model = context.trained_model().to(device)
    return lambda rows: row_nats(model, rows, device)


def perplexities(
    context: LMContext, nats_of: Nats, sentences: Sequence[str], neighbours: int
) -> dict[str, int | float]:
    """Of sentences that are read `neighbours` at a time, one after another, from a fresh state.

    The ends of sentences are predicted too: each counts as a token, as a word and as a character.
    """
    ids = [[*context.tokenizer.encode(sentence), EOS] for sentence in sentences]
    rows = [
        torch.tensor([SOS, *(token for sentence in ids[first : first + neighbours] for token in sentence)])
        for first in range(0, len(ids), neighbours)
    ]
    nats = sum(map(nats_of, _batches(rows, context.config.evaluate.batch_tokens)))
    counts = {"sentences": len(sentences), "tokens": sum(map(len, ids))}
    counts["words"] = sum(len(sentence.split()) for sentence in sentences)
    counts["characters"] = sum(map(len, sentences))
    return counts | {
        "nats": nats,
        "perplexity_token": math.exp(nats / counts["tokens"]),
        "perplexity_word": math.exp(nats / (counts["words"] + len(sentences))),
        "bits_character": nats / math.log(2) / (counts["characters"] + len(sentences)),
    }


@torch.inference_mode()
def row_nats(model: LanguageModel, rows: Sequence[Tensor], device: torch.device) -> float:
    """-log p of rows (length,) that begin with <sos>, which is not predicted."""
    inputs = pad_sequence([row[:-1] for row in rows], batch_first=True).to(device)
    targets = pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=IGNORE).to(device)
    losses = F.cross_entropy(
        model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return float(losses.double().sum())


def _batches(rows: Sequence[Tensor], batch_tokens: int) -> Iterator[list[Tensor]]:
    """Rows of like length together."""
    batch: list[Tensor] = []
    for row in sorted(rows, key=len):
        if batch and (len(batch) + 1) * len(row) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def package(context: LMContext, folder: Path) -> None:
    """The model directory, in a folder named as the package."""
    config = context.config.package
    package_config = LMPackageConfig(language=config.language, model=context.model_config())
    target, unfinished = folder / config.name, folder / f".{config.name}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    if context.ngram is not None:
        save_ngram_package(context, unfinished, package_config, _card(context))
    else:
        model = context.trained_model()
        save_lm(unfinished, package_config, model, context.tokenizer_path, _card(context), half=config.half)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    context.say(f"package: the model is in {target}")


def _card(context: LMContext) -> str:
    """The model card."""
    config = context.config.package
    found = json.loads((context.exp_dir / "evaluate" / "results.json").read_text("utf-8"))
    training = found["training"]
    rows = [
        f"| {Path(name).name}, {how} | {one['perplexity_token']:.2f} | {one['perplexity_word']:.1f} |"
        f" {one['bits_character']:.3f} |"
        for name, results in found["texts"].items()
        for how, one in results.items()
    ]
    facts = {
        "Training data": config.data,
        "Training": f"{training['tokens']} tokens, {training['steps']} steps, {training['minutes']} minutes",
        "Licence": config.licence,
        "Credit": config.credit,
        "Command": f"`{training['command']}`",
        "Hardware": f"{platform.machine()}, {training['threads']} threads",
        "Limits": "scores the word pieces of tokenizer.model only; knows the words and the style of its text",
    }
    told = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact is not None)
    kind = {
        "s4": "Language model on S4D layers",
        "transformer": "Transformer language model",
        "ngram": "N-gram language model, modified Kneser-Ney,",
    }[context.config.model.type]
    table = "\n".join(["| text | a token | a word | bits a character |", "|---|---|---|---|", *rows])
    return f"""# {config.name}

{kind} over {context.tokenizer.vocab_size} word pieces, language `{config.language}`,
{training["parameters"]} parameters, made with s4speech. Perplexity; the end of a sentence counts as a word.

{table}

{told}
"""
