"""What the pages that we write share: style, tables, pictures, escaping. Nothing from the network."""

import base64
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #8886; padding: .45rem .7rem; text-align: left; vertical-align: top }
td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
table.numbers thead th:nth-child(n + 2) { text-align: right }
table.numbers th { white-space: nowrap }
table.close th, table.close td { padding: .1rem .5rem; border-bottom: 0 }
td.text { min-width: 16rem }
small { display: block; opacity: .75 }
img { max-width: 100%; background: #fff }
"""


def escape(text: str) -> str:
    """Return ``text`` so that it stays text, between tags and in attributes."""
    return html.escape(text, quote=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    """Return a table; column names are text, rows are cells with their tags. ``kind``: numbers, close."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    shown = f' class="{kind}"' if kind else ""
    inside = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="wide"><table{shown}>{inside}</table></div>'


def row(cells: Sequence[str]) -> list[str]:
    """Return the cells of a row of numbers, of which the first is its name."""
    name, *numbers = cells
    return [
        f'<th scope="row">{escape(name)}</th>',
        *(f'<td class="number">{escape(number)}</td>' for number in numbers),
    ]


def embedded(kind: str, data: bytes) -> str:
    """Return the address of ``data`` (``kind``: image/png and so on) that holds it all."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def document(title: str, body: Iterable[str], *, style: str = "", head: str = "") -> str:
    """Return a whole page; ``body`` and ``head`` are tags, ``title`` is text."""
    name = escape(title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><title>{name}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"{head}<style>{STYLE}{style}</style></head>",
            f"<body><h1>{name}</h1>",
            *body,
            "</body></html>",
            "",
        ]
    )
