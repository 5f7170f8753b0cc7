"""What the score stage shows of its results: a table, some lines, a page to listen to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from recipes.tts.context import TTSContext
from recipes.tts.page import Page, SpokenText, Take, write_page
from recipes.tts.synthesis import REAL, SYNTHESISED, HeldOut, systems
from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.significance import matched_pairs

# Of one text by one system: heard, opinion, distance and problem, each None where it is not known.
Row = dict[str, Any]
DISTANCES = ("mcd_db", "f0_rmse_cents", "voicing_error", "duration_error_percent", "duration_bias_percent")
COLUMNS = ("system", "WER % (95 %)", "CER", "DNSMOS (95 %)", "MCD", "F0", "V/UV", "dur.")
LEGEND = (
    "against the recording: MCD in dB, root mean square of F0 in cents, % of frames voiced in one only, "
    "absolute error of the duration in %"
)


def table_rows(found: Mapping[str, Any], labels: Mapping[str, str]) -> list[dict[str, str]]:
    """A row a system, as it is shown on the terminal, on the page and on the card; empty: not known."""
    rows = []
    for name, label in labels.items():
        if not found[name]["texts"]:
            continue
        row = dict.fromkeys(COLUMNS, "")
        row["system"] = label
        if words := found[name]["intelligibility"]:
            low, high = words["wer_interval_95"]
            row["WER % (95 %)"] = f"{100 * words['wer']:.1f} ({100 * low:.1f}-{100 * high:.1f})"
            row["CER"] = f"{100 * words['cer']:.1f}"
        if mos := found[name]["dnsmos"]:
            one = mos["overall"]
            row["DNSMOS (95 %)"] = f"{one['mean']:.2f} ({one['low']:.2f}-{one['high']:.2f})"
        if distance := found[name]["distance"]:
            means = [distance[key]["mean"] for key in DISTANCES[:4]]
            shown = zip(("MCD", "F0", "V/UV", "dur."), means, (".2f", ".0f", ".1f", ".1f"), strict=True)
            for column, value, form in shown:
                factor = 100 if column == "V/UV" else 1
                row[column] = "" if value is None else format(factor * value, form)
        rows.append(row)
    return rows


def notes(found: Mapping[str, Any], reports: Mapping[str, ErrorReport], texts: int) -> list[str]:
    """The results that are no table, a line each."""
    judge = f"words heard by {found['judge']}" if found["judge"] else "no judge listened"
    lines = [f"{texts} held-out texts, one recording each; {judge}; {LEGEND}"]
    if reports and texts > 1:
        pairs = matched_pairs(reports[SYNTHESISED].alignments, reports[REAL].alignments)
        lines.append(
            "WER of the synthesised speech minus that of the recordings: "
            f"{100 * pairs.difference:+.1f} points (matched pairs, p = {pairs.p:.2g})"
        )
    real, ours = (found["systems"][name]["dnsmos"] for name in (REAL, SYNTHESISED))
    if real and ours:
        apart = ours["overall"]["mean"] - real["overall"]["mean"]
        lines.append(f"DNSMOS of the synthesised speech minus that of the recordings: {apart:+.2f}")
    for name, one in found["systems"].items():
        if one["problems"]:
            lines.append(f"{name}: {len(one['problems'])} texts could not be compared; {one['problems'][0]}")
    machine = f"{found['speed']['cpu']}, load {found['speed']['load']:.1f}"
    for speed in found["speed"]["runs"]:
        first = ", ".join(f"{1000 * one['s']:.0f} ms ({one['words']} words)" for one in speed["first_audio"])
        factor = f"{speed['rtf']:.3f} (processor {speed['cpu_s_per_s']:.3f})"
        told = (
            f"{speed['threads']} threads of {machine}: real-time factor {factor}, first audio after {first}"
        )
        lines.append(told)
    if "hard" in found:
        lines.append(found["hard"]["told"])
    return lines


def show(context: TTSContext, found: Mapping[str, Any]) -> None:
    """The table and the lines on the terminal."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    columns = list(found["table"][0])
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right", no_wrap=True)
    for row in found["table"]:
        table.add_row(*(row[name] for name in columns))
    context.console.print(table)
    for line in found["notes"]:
        context.say(f"score: {line}")


def page(
    context: TTSContext,
    folder: Path,
    texts: Sequence[HeldOut],
    rows: Mapping[str, Mapping[str, Row]],
    reports: Mapping[str, ErrorReport],
    found: Mapping[str, Any],
) -> None:
    """index.html with the first texts."""
    audio, labels = context.exp_dir / "synthesize", systems(context)

    def takes(one: HeldOut) -> dict[str, Take]:
        return {
            label: _take(audio / name / f"{one.id}.wav", rows[name][one.id], one.id, reports.get(name))
            for name, label in labels.items()
            if one.id in rows[name]
        }

    shown = [SpokenText(one.id, one.text, takes(one)) for one in texts[: context.config.score.listen]]
    pictures = {path.stem.replace(".", ": "): path for path in sorted((audio / "plots").glob("*.png"))}
    used = [label for name, label in labels.items() if rows[name]]
    told = [*found["notes"], f"made by {context.command}"]
    content = Page(context.config.package.name, told, used, shown, found["table"], pictures)
    write_page(content, folder / "index.html")
    context.say(f"score: to listen: {folder / 'index.html'}")


def _take(audio: Path, row: Row, key: str, report: ErrorReport | None) -> Take:
    scores = {}
    heard = None
    if report is not None:
        errors = report.utterances[key].words.errors
        scores["errors"] = str(errors)
        heard = row["heard"] if errors else None
    if row["opinion"]:
        scores["DNSMOS"] = f"{row['opinion']['overall']:.2f}"
    if row["distance"]:
        scores["MCD"] = f"{row['distance']['mcd_db']:.2f} dB"
    return Take(audio, scores, heard)
