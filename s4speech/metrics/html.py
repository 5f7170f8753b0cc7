"""One HTML file of everything that scoring found: tables, plots, and every alignment to look through.

It needs nothing beside it and nothing from the network (its own policy forbids that); plots are drawn in it.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import Pair, forgiven, shown
from s4speech.metrics.error_rate import ErrorReport, Group, Resample
from s4speech.metrics.html_parts import document, embedded, escape, row, table
from s4speech.metrics.html_plots import Dot, dots
from s4speech.metrics.html_script import SCRIPT, STYLE
from s4speech.metrics.report import NAMES, percent
from s4speech.metrics.significance import Comparison, compare

MOST_PAIRED = 6  # systems of which every two are compared; of more, each with the first
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_HEAD = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
_CONTROLS = """<div id="controls">
<label><input id="search" type="search" placeholder="id or words" aria-label="search ids and words"></label>
<label>system <select id="system"></select></label>
<label id="others">beside <select id="other"><option value="-1">none</option></select></label>
<label>order <select id="order"><option value="errors">most errors</option>
<option value="rate">highest rate</option><option value="lost">lost most to the one beside</option>
<option value="won">won most from the one beside</option><option value="file">of the file</option>
</select></label>
<select id="speaker" aria-label="speaker"><option value="">all speakers</option></select>
<label><input id="wrong" type="checkbox"> only with errors</label>
<span><button id="before" aria-label="page before">&larr;</button> <span id="place" aria-live="polite"></span>
<button id="after" aria-label="page after">&rarr;</button></span>
</div>"""


def write_report(
    path: str | Path,
    systems: Mapping[str, ErrorReport],
    *,
    title: str = "Scores",
    notes: Sequence[str] = (),
    plots: Mapping[str, Path] | None = None,
    resample: Resample = "utterance",
    most_confused: int = 20,
) -> None:
    """Write the page of ``systems`` (reports by name, over the same references) to ``path``, by rename.

    ``notes``: a paragraph each. ``plots``: PNG files by caption, such as learning curves; they go into the
    page. Systems are compared (`MOST_PAIRED`), intervals as ``resample`` says.

    Raises InputError: no systems, systems that cannot be compared, or a plot that cannot be read.
    """
    if not systems:
        raise InputError(f"{path}: no systems to report; wanted at least one")
    names = list(systems)
    chosen = combinations(names, 2) if len(names) <= MOST_PAIRED else product(names[:1], names[1:])
    pairs = [(a, b, compare(systems[b], systems[a], resample=resample)) for a, b in chosen]
    unit = next(iter(systems.values())).unit
    body = [*(f"<p>{escape(note)}</p>" for note in notes), *_summary(systems, unit)]
    if pairs:
        body += _comparisons(pairs, unit)
    body += _breakdowns(systems, unit)
    body += _confusions(systems, most_confused)
    for caption, picture in (plots or {}).items():
        name = escape(caption)
        address = embedded("image/png", _read(picture))
        body.append(f'<h2>{name}</h2>\n<img alt="{name}" src="{address}">')
    body += _utterances(systems, unit)
    write_by_rename(path, document(title, body, style=STYLE, head=_HEAD))


def _summary(systems: Mapping[str, ErrorReport], unit: str) -> list[str]:
    names = ("WER", "CER") if unit == "word" else ("CER", "WER")  # the main one first
    columns = ["system", f"{names[0]} %", "95 %", f"{names[1]} %", "95 %", f"{unit}s", "correct"]
    columns += ["sub", "del", "ins", "sentences wrong %"]
    rows = [
        row(
            [
                name,
                *(cell for which in names for cell in _rate(one, which)),
                str(one.counts.reference),
                str(one.counts.correct),
                str(one.counts.substitutions),
                str(one.counts.deletions),
                str(one.counts.insertions),
                percent(one.sentences_wrong / one.sentences),
            ]
        )
        for name, one in systems.items()
    ]
    plot = {name: {NAMES[unit]: Dot(one.counts.rate, *one.interval)} for name, one in systems.items()}
    drawn = [dots(plot, f"{NAMES[unit]} in % and its 95 % interval")] if len(systems) > 1 else []
    first = next(iter(systems.values()))
    told = f"<p>{first.sentences} utterances; intervals of 95 % by bootstrap.</p>"
    return ["<h2>Summary</h2>", told, table(columns, rows, "numbers"), *drawn]


def _rate(report: ErrorReport, name: str) -> tuple[str, str]:
    """An error rate and its interval."""
    if name == "WER":
        return percent(report.wer), _between(report.wer_interval)
    return percent(report.cer), _between(report.cer_interval)


def _comparisons(pairs: Sequence[tuple[str, str, Comparison]], unit: str) -> list[str]:
    columns = ["system", f"{NAMES[unit]} points", "95 %", "relative %", "segments", "z", "p"]
    columns += ["significant", "wins", "losses"]
    rows = [
        row(
            [
                f"{b} against {a}",
                f"{100 * one.difference:+.2f}",
                f"{100 * one.interval[0]:+.2f} to {100 * one.interval[1]:+.2f}",
                f"{100 * one.relative:+.1f}",
                str(one.test.segments),
                f"{one.test.z:.2f}",
                f"{one.test.p:.2g}",
                _verdict(one),
                str(one.wins),
                str(one.losses),
            ]
        )
        for a, b, one in pairs
    ]
    told = (
        "Negative: the system named first has fewer errors. Interval: paired bootstrap. Test: NIST's matched"
        " pairs (MAPSSWE), significant where p &lt; 0.05; of many pairs some are so by chance."
        " Wins: utterances with fewer errors."
    )
    return ["<h2>Comparisons</h2>", f"<p>{told}</p>", table(columns, rows, "numbers")]


def _breakdowns(systems: Mapping[str, ErrorReport], unit: str) -> list[str]:
    parts = []
    for title, groups in (
        ("By speaker", {name: one.speakers for name, one in systems.items()}),
        (f"By length of the reference in {unit}s", {name: one.lengths for name, one in systems.items()}),
    ):
        first = next(iter(groups.values()))
        if len(first) > 1:
            parts += [
                f"<h2>{escape(title)}</h2>",
                *_breakdown(groups, list(first), f"{NAMES[unit]}, {title}"),
            ]
    return parts


def _breakdown(groups: Mapping[str, Mapping[str, Group]], names: Sequence[str], title: str) -> list[str]:
    rows = {
        name: {
            system: Dot(some[name].counts.rate, *some[name].interval)
            for system, some in groups.items()
            if name in some
        }
        for name in names
    }
    cells = [
        row(
            [
                f"{name}, {system}" if len(groups) > 1 else name,
                percent(group.counts.rate),
                _between(group.interval),
                str(group.utterances),
                str(group.counts.reference),
                str(group.counts.substitutions),
                str(group.counts.deletions),
                str(group.counts.insertions),
            ]
        )
        for name in names
        for system, group in ((system, some[name]) for system, some in groups.items() if name in some)
    ]
    columns = ["", "rate %", "95 %", "utterances", "length", "sub", "del", "ins"]
    numbers = f"<details><summary>numbers</summary>{table(columns, cells, 'numbers')}</details>"
    # Forty speakers by four systems are screens full.
    opened = " open" if len(rows) * len(groups) <= 40 else ""
    return [f"<details{opened}><summary>plot</summary>{dots(rows, title)}</details>", numbers]


def _confusions(systems: Mapping[str, ErrorReport], most: int) -> list[str]:
    parts = ["<h2>Most frequent errors</h2>"]
    for number, (name, one) in enumerate(systems.items()):
        kinds = {
            "substitutions": [c for c in one.confusions if c[0] and c[1]],
            "deletions": [c for c in one.confusions if not c[1]],
            "insertions": [c for c in one.confusions if not c[0]],
        }
        tables = []
        for kind, rows in kinds.items():
            cells = [
                [
                    f'<td class="number">{times}</td>',
                    f"<td>{' &rarr; '.join(escape(shown(text)) for text in (ref, hyp) if text)}</td>",
                ]
                for ref, hyp, times in rows[:most]
            ]
            tables.append(f"<div>{table(['times', kind], cells, 'close')}</div>")
        opened = "" if number else " open"
        inside = f'<div class="beside">{"".join(tables)}</div>'
        parts.append(f"<details{opened}><summary>{escape(name)}</summary>{inside}</details>")
    return parts


def _utterances(systems: Mapping[str, ErrorReport], unit: str) -> list[str]:
    reports = list(systems.values())
    data = {
        "unit": unit,
        "systems": list(systems),
        "utterances": [
            {
                "id": utterance,
                "speaker": one.speaker,
                "length": one.counts(reports[0].unit).reference,
                "pairs": [_packed(report.utterances[utterance].alignment) for report in reports],
            }
            for utterance, one in reports[0].utterances.items()
        ],
    }
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # Nothing in it can end the element or open another.
    for sign in "<>&":
        packed = packed.replace(sign, f"\\u{ord(sign):04x}")
    legend = (
        "S, yellow and bold: substituted; D, blue and struck through: deleted;"
        " I, red and underlined: inserted."
    )
    return [
        '<h2 id="utterances">Utterances</h2>',
        f"<p>{legend}</p><noscript><p>The list of utterances needs JavaScript.</p></noscript>",
        _CONTROLS,
        '<div id="list"></div>',
        f'<script type="application/json" id="data">{packed}</script>',
        f"<script>{SCRIPT}</script>",
    ]


def _packed(pairs: Iterable[Pair]) -> list[Any]:
    """Return an alignment as short JSON: a word that is right, [ref, hyp] with null for none, [forgiven]."""
    return [
        [pair.ref]
        if forgiven(pair)
        else pair.ref
        if pair.mark == "C"
        else [pair.ref or None, pair.hyp or None]
        for pair in pairs
    ]


def _verdict(comparison: Comparison) -> str:
    if comparison.test.z == 0 and comparison.difference:
        return "cannot tell"
    if comparison.test.p >= 0.05:
        return "no"
    return "better" if comparison.test.z < 0 else "worse"


def _between(interval: tuple[float, float]) -> str:
    return "" if math.isnan(interval[0]) else f"{percent(interval[0])} - {percent(interval[1])}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); wanted a PNG") from error
