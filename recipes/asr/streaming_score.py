"""Stages score and package of a streaming model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from recipes.asr.calibration import calibrated, expected_error, judged
from recipes.asr.context import ASRContext
from recipes.asr.evaluation import card, write_package
from recipes.asr.gains import add_gains, gain_table, gains
from recipes.asr.plots import plot_streaming
from recipes.asr.report import report as write_pages
from recipes.asr.streaming import CTC, FUSED, ONE_PASS, RESCORED, methods, streaming_config
from recipes.asr.streaming_lms import compared_chunks, fused_key
from s4speech.config.streaming import Calibration
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import listing
from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.error_rate import score as error_report
from s4speech.metrics.report import format_report, report_as_dict
from s4speech.metrics.trn import write_trn

LABELS = {CTC: "CTC", ONE_PASS: "+ decoder, one pass", RESCORED: "+ rescoring", FUSED: "+ LM"}
Rows = list[dict[str, Any]]


def score(context: ASRContext, folder: Path) -> None:
    """Error rates by chunk and method, delays, recordings, calibration: tables, TRN files, results.json."""
    results: dict[str, Any] = {"decode": {}, "compare": {}, "delay": {}, "longform": {}, "calibration": {}}
    rates = Table("part", "chunk", "decoding", "WER %", "95 %", "sub", "del", "ins", "CER %", box=None)
    late = Table("part", "chunk", "decoding", "words", "delay p50 s", "p90 s", box=None)
    gained = gain_table()
    joined = Table("part", "utterances", "recordings", "WER %", "95 %", "x single", box=None)
    reports: dict[str, dict[str, ErrorReport]] = {}
    for part in context.streaming_parts:
        reports[part] = {}
        rows = _read(context.exp_dir / "decode" / f"{part}.jsonl")
        _write(folder, f"{part}.ref", {row["id"]: row["ref"] for row in rows})
        for chunk in context.chunks:
            for method in methods(context, chunk):
                key = f"{chunk}/{method}"
                report = _report(folder, f"{part}.{chunk}.{method}", rows, key)
                results["decode"][f"{part}/{key}"] = report_as_dict(report)
                reports[part][f"{chunk} {LABELS[method]}"] = report
                counts = (report.words.substitutions, report.words.deletions, report.words.insertions)
                rates.add_row(
                    part, chunk, LABELS[method], *_rate(report), *map(str, counts), f"{100 * report.cer:.2f}"
                )
                found = [value for row in rows for value in row["delays_s"].get(key, ())]
                if found:
                    p50, p90 = np.percentile(found, [50, 90]).tolist()
                    results["delay"][f"{part}/{key}"] = {"words": len(found), "p50_s": p50, "p90_s": p90}
                    late.add_row(part, chunk, LABELS[method], str(len(found)), f"{p50:.2f}", f"{p90:.2f}")
        results["compare"] |= _compared(context, folder, part, rows, gained, reports[part])
        results["calibration"][part] = _calibration(context, rows)
        single = 0.0
        for count in context.config.streaming.groups:
            rows = _read(context.exp_dir / "longform" / f"{part}.{count}.jsonl")
            _write(folder, f"{part}.long{count}.ref", {row["id"]: row["ref"] for row in rows})
            report = _report(folder, f"{part}.long{count}", rows, "text")
            single = single or report.wer
            relative = report.wer / single if single else 1.0
            results["longform"][f"{part}/{count}"] = report_as_dict(report) | {"relative": relative}
            joined.add_row(part, str(count), str(len(rows)), *_rate(report), f"{relative:.3f}")
        plot_streaming(*_curves(context, part, results), folder / f"{part}.streaming.png")
    write_by_rename(folder / "results.json", json.dumps(results, indent=1))
    for table in (rates, late, joined, *((gained,) if gained.row_count else ())):
        context.console.print(table)
    for part, found in results["calibration"].items():
        context.say(
            f"calibration: {part}, {found['words']} words, expected error "
            f"{found['ece_before']:.3f} -> {found['ece_after']:.3f}"
        )
    write_pages(context, folder, reports)


def _compared(
    context: ASRContext, folder: Path, part: str, rows: Rows, gained: Table, shown: dict[str, ErrorReport]
) -> dict[str, dict[str, Any]]:
    """What was decoded with language models: error rates, and against what was decoded without one.

    Those that no chunk is decoded with otherwise join the reports that are shown.
    """
    names = [fused_key(name) for name in context.config.streaming.compare_lms]
    compared = _read(context.exp_dir / "compare" / f"{part}.jsonl") if names else []
    fused = {row["id"]: row for row in compared}
    together = [row | fused.get(row["id"], {}) for row in rows]
    results: dict[str, dict[str, Any]] = {}
    for chunk in compared_chunks(context):
        used = [FUSED] if FUSED in methods(context, chunk) else []
        reports = {
            f"{chunk}/{key}": _report(folder, f"{part}.{chunk}.{key}", together, f"{chunk}/{key}")
            for key in (RESCORED, *used, *names)
        }
        shown |= {f"{chunk} {name}": reports[f"{chunk}/{name}"] for name in names}
        found = gains(reports)
        for key, against in found.items():
            results[f"{part}/{key}"] = report_as_dict(reports[key]) | {"against": against}
        add_gains(gained, part, found)
    return results


def package(context: ASRContext, folder: Path) -> None:
    """The model directory, with how it streams in its config."""
    results = json.loads((context.exp_dir / "score" / "results.json").read_text("utf-8"))
    limits = ["no punctuation; people who speak at once are not told apart"]
    if context.config.pretrained is None:
        limits.insert(0, f"trained on single utterances and up to {context.config.train.join} joined")
    told = card(context, "streaming Conformer encoder with S4D", _markdown(context, results), limits)
    write_package(context, folder, streaming_config(context, _fitted(context)), told)


def _fitted(context: ASRContext) -> Calibration:
    """What the calibrate stage found."""
    record = json.loads((context.exp_dir / "calibrate" / "calibration.json").read_text("utf-8"))
    return Calibration(scale=record["scale"], offset=record["offset"])


def _calibration(context: ASRContext, rows: Rows) -> dict[str, float]:
    """Expected error of the confidences of a part, as they are and with what the validation part gave."""
    words = judged([tuple(word) for row in rows for word in row["words"]])
    after = calibrated(words, _fitted(context))
    return {
        "words": len(words.correct),
        "ece_before": expected_error(words),
        "ece_after": expected_error(after),
    }


def _markdown(context: ASRContext, results: Mapping[str, Any]) -> str:
    """The results for the card."""
    lines = ["| part / chunk / decoding | WER % [95 %] | CER % | delay p50, p90 s |", "|---|---|---|---|"]
    for key, one in results["decode"].items():
        low, high = one["wer_interval_95"]
        delay = results["delay"].get(key)
        told = f"{delay['p50_s']:.2f}, {delay['p90_s']:.2f}" if delay else "-"
        rate = f"{100 * one['wer']:.2f} [{100 * low:.1f}, {100 * high:.1f}]"
        lines.append(f"| {key} | {rate} | {100 * one['cer']:.2f} | {told} |")
    lines += [
        "",
        "Delay: from the end of a correct word, by the model's own CTC alignment of the reference, to the "
        "end of the audio that had been heard when it was shown for good; without computing.",
        "",
        f"| part / utterances in a recording, {context.used_chunk} | WER % | x single |",
        "|---|---|---|",
    ]
    for key, one in results["longform"].items():
        lines.append(f"| {key} | {100 * one['wer']:.2f} | {one['relative']:.3f} |")
    lines.append("")
    for part, one in results["calibration"].items():
        lines.append(
            f"Expected calibration error of the word confidences, {part}: {one['ece_after']:.3f} "
            f"(before: {one['ece_before']:.3f})."
        )
    return "\n".join(lines)


def _curves(
    context: ASRContext, part: str, results: Mapping[str, Any]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """WER in per cent: method -> chunk -> rate; utterances in a recording -> rate."""
    chunks = {
        LABELS[method]: {
            chunk: 100 * results["decode"][f"{part}/{chunk}/{method}"]["wer"]
            for chunk in context.chunks
            if method in methods(context, chunk)
        }
        for method in methods(context, context.used_chunk)
    }
    groups = context.config.streaming.groups
    return chunks, {str(count): 100 * results["longform"][f"{part}/{count}"]["wer"] for count in groups}


def _report(folder: Path, name: str, rows: Rows, key: str) -> ErrorReport:
    """Score the texts of `key`; write them as TRN, and their alignment."""
    hyps = {row["id"]: row[key] for row in rows}
    report = error_report(
        {row["id"]: row["ref"] for row in rows}, hyps, {row["id"]: row["speaker"] for row in rows}
    )
    _write(folder, name, hyps)
    write_by_rename(folder / f"{name}.txt", f"{format_report(report)}\n{listing(report.alignments)}")
    return report


def _write(folder: Path, name: str, texts: Mapping[str, str]) -> None:
    write_trn(folder / f"{name}.trn", texts)


def _rate(report: ErrorReport) -> Sequence[str]:
    low, high = report.wer_interval
    return f"{100 * report.wer:.2f}", f"{100 * low:.1f}-{100 * high:.1f}"


def _read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
