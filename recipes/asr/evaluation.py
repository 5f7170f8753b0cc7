"""Stages decode, score and package."""

import json
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from rich.progress import track
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

from recipes.asr.context import ASRContext
from recipes.asr.training import averaged_model
from recipes.context import commit
from s4speech.config.streaming import StreamingConfig
from s4speech.data.asr import ASRDataset
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import listing
from s4speech.metrics.error_rate import score as error_report
from s4speech.metrics.report import format_report, report_as_dict
from s4speech.metrics.trn import write_trn
from s4speech.models.asr.decoder import FrozenDecoder
from s4speech.models.asr.model import ASRModel
from s4speech.models.asr.recognize import Method, hear, search
from s4speech.models.package import ASRPackageConfig, DecodeConfig, save_asr

LABELS: dict[Method, str] = {
    "ctc_greedy": "CTC greedy",
    "ctc_prefix_beam": "CTC prefix",
    "joint": "joint beam",
}


def decode(context: ASRContext, folder: Path) -> None:
    """Every test part by each of `decode.methods` -> PART.jsonl; a written part is not redone."""
    config = context.config.decode
    model = averaged_model(context).to(context.decode_device)
    frozen = model.decoder.freeze()
    for part in context.config.corpus.test:
        target = folder / f"{part}.jsonl"
        if target.exists():
            continue
        cuts = sorted(context.cuts(f"test/{part}"), key=lambda cut: cut.duration)
        batches = list(cut_batches(cuts, config.max_duration_s))
        rows: list[dict[str, Any]] = []
        seconds = dict.fromkeys(("features", "encoder", *config.methods), 0.0)
        for batch in track(
            batches, f"decode {part}", console=context.console, disable=not context.console.is_terminal
        ):
            rows += _decode_batch(context, model, frozen, batch, seconds)
        audio_s = sum(cut.duration for cut in cuts)
        before_s = seconds["features"] + seconds["encoder"]
        rtf = {method: (before_s + seconds[method]) / audio_s for method in config.methods}
        timing = {"part": part, "audio_s": audio_s, "seconds": seconds, "rtf": rtf}
        timing |= {"beam": config.beam, "threads": torch.get_num_threads()}
        timing["device"] = str(context.decode_device)
        write_by_rename(folder / f"{part}.timing.json", json.dumps(timing, indent=1))
        write_by_rename(target, "".join(json.dumps(row) + "\n" for row in rows))
        told = ", ".join(f"{value:.3f} ({LABELS[method]})" for method, value in rtf.items())
        context.say(f"decode {part}: real-time factor {told}")


def _decode_batch(
    context: ASRContext,
    model: ASRModel,
    frozen: FrozenDecoder,
    batch: Sequence[Cut],
    seconds: dict[str, float],
) -> list[dict[str, Any]]:
    config, tokenizer = context.config.decode, context.tokenizer
    rows: list[dict[str, Any]] = [
        {"id": cut.id, "speaker": cut.supervisions[0].speaker, "ref": cut.supervisions[0].text, "nbest": {}}
        for cut in batch
    ]
    device = context.decode_device
    clock = Clock(seconds, device)
    dataset = ASRDataset(model.features, tokenizer.encode)
    mel = [dataset.cut_features(cut) for cut in batch]
    clock.lap("features")
    frames = torch.tensor([len(m) for m in mel])
    heard = hear(model, pad_sequence(mel, batch_first=True).to(device), frames.to(device))
    clock.lap("encoder")
    for method in config.methods:
        nbest = min(3, config.beam)
        found = search(method, frozen, heard, beam=config.beam, ctc_weight=config.ctc_weight, nbest=nbest)
        clock.lap(method)
        for row, best in zip(rows, found, strict=True):
            row[method] = tokenizer.decode(best[0].tokens)
            row["nbest"][method] = [
                {"text": tokenizer.decode(h.tokens), "score": h.score, "scores": h.scores} for h in best
            ]
    return rows


def score(context: ASRContext, folder: Path) -> None:
    """WER and CER of every part and method: tables, alignment listings, TRN files, results.json."""
    results: dict[str, Any] = {}
    # fits a terminal of 80 columns
    table = Table("part", "decoding", "words", "WER %", "95 %", "sub", "del", "ins", "CER %", box=None)
    for part in context.config.corpus.test:
        lines = (context.exp_dir / "decode" / f"{part}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        refs = {row["id"]: row["ref"] for row in rows}
        speakers = {row["id"]: row["speaker"] for row in rows}
        write_trn(folder / f"{part}.ref.trn", refs)
        for method in context.config.decode.methods:
            report = error_report(refs, {row["id"]: row[method] for row in rows}, speakers)
            write_trn(folder / f"{part}.{method}.trn", {row["id"]: row[method] for row in rows})
            text = f"{format_report(report)}\n{listing(report.alignments)}"
            write_by_rename(folder / f"{part}.{method}.txt", text)
            results[f"{part}/{method}"] = report_as_dict(report)
            w, (low, high) = report.words, report.wer_interval
            counts = [str(n) for n in (w.substitutions, w.deletions, w.insertions)]
            table.add_row(
                part, LABELS[method], str(w.reference),
                f"{100 * report.wer:.2f}", f"{100 * low:.1f}-{100 * high:.1f}",
                *counts, f"{100 * report.cer:.2f}",
            )  # fmt: skip
    write_by_rename(folder / "results.json", json.dumps(results, indent=1))
    context.console.print(table)


def package(context: ASRContext, folder: Path) -> None:
    """The model directory, in a folder named as the package."""
    results = json.loads((context.exp_dir / "score" / "results.json").read_text("utf-8"))
    rows = [f"| {name} | {100 * one['wer']:.2f} | {100 * one['cer']:.2f} |" for name, one in results.items()]
    table = "\n".join(["| part / decoding | WER % | CER % |", "|---|---|---|", *rows])
    write_package(context, folder, None, card(context, "Conformer encoder", table))


def write_package(
    context: ASRContext, folder: Path, streaming: StreamingConfig | None, model_card: str
) -> None:
    """Save the averaged model; how it streams, and its language model, are part of its config."""
    config, lm = context.config, context.language_model
    package_config = ASRPackageConfig(
        language=config.package.language,
        model=context.model_config(),
        decode=DecodeConfig(beam=config.decode.beam, ctc_weight=config.decode.ctc_weight),
        streaming=streaming,
        lm=None if lm is None else lm.config,
    )
    target = folder / config.package.name
    unfinished = folder / f".{config.package.name}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    model, half = averaged_model(context), config.package.half
    save_asr(unfinished, package_config, model, context.tokenizer_path, model_card, lm=lm, half=half)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    context.say(f"package: the model is in {target}")


def card(context: ASRContext, encoder: str, results: str, limits: Sequence[str] = ()) -> str:
    """The model card: results are Markdown; limits, of this kind of model, come after those of all."""
    config = context.config
    facts = {
        "Training data": config.package.data,
        "Licence": config.package.licence,
        "Credit": config.package.credit,
        "Command": f"`{context.command}`",
        "Commit": commit(),
        "Hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "Limits": "; ".join(
            [
                f"trained on read speech of {config.corpus.name}",
                "other microphones, accents and noise will do worse",
                *limits,
            ]
        ),
    }
    told = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact is not None)
    return f"""# {config.package.name}

Speech recognition, language `{config.package.language}`: {encoder}, CTC and
{config.model.decoder.type} decoder, made with s4speech.

{results}

{told}
"""


def cut_batches(cuts: Sequence[Cut], max_duration_s: float) -> Iterator[list[Cut]]:
    """Cuts in order of duration -> batches of at most so many seconds with padding."""
    batch: list[Cut] = []
    for cut in cuts:
        if batch and cut.duration * (len(batch) + 1) > max_duration_s:
            yield batch
            batch = []
        batch.append(cut)
    if batch:
        yield batch


class Clock:
    """Adds the time since the last lap to a named total; a GPU has then done its work."""

    def __init__(self, seconds: dict[str, float], device: torch.device) -> None:
        self.seconds, self.device, self.last = seconds, device, time.perf_counter()

    def lap(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now
