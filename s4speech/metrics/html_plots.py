"""Rates with their intervals as SVG: dots with whiskers, a row each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s4speech.metrics.html_parts import escape

# Told apart by shape as well as by colour; readable on white and on black.
COLOURS = ("#3b7dd8", "#d9762b", "#2f9e6e", "#b8519c", "#8a7a1f", "#6f6fd0", "#c4475a", "#4b98a8")
_LEFT, _RIGHT, _WIDTH, _STEP = 190, 60, 900, 16


@dataclass(frozen=True)
class Dot:
    """A rate (0.05 is 5 %) and its interval; nan where it is not known."""

    rate: float
    low: float = math.nan
    high: float = math.nan


def dots(rows: Mapping[str, Mapping[str, Dot]], title: str) -> str:
    """Return a plot of dots by row, then by series. Rates that are infinite are left out."""
    series = list(dict.fromkeys(name for some in rows.values() for name in some))
    shown = [dot for some in rows.values() for dot in some.values() if math.isfinite(dot.rate)]
    most = max((max(dot.rate, dot.high if math.isfinite(dot.high) else 0) for dot in shown), default=0.0)
    step = _tick(100 * most or 1.0)
    end = step * max(1, math.ceil(100 * most / step))
    lines, y = [], 24
    for label, some in rows.items():
        height = _STEP * max(1, len(some))
        middle = y + height / 2 + 4
        lines.append(
            f'<text x="{_LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(_short(label))}</text>'
        )
        for place, (name, dot) in enumerate(some.items()):
            if math.isfinite(dot.rate):
                index = series.index(name)
                lines.append(_dot(dot, f"{label}, {name}", y + _STEP * (place + 0.5), index, end))
        y += height + 6
    grid = [
        f'<line x1="{_x(value, end):.1f}" x2="{_x(value, end):.1f}" y1="18" y2="{y}" class="grid"/>'
        f'<text x="{_x(value, end):.1f}" y="{y + 14}" text-anchor="middle">{value:g} %</text>'
        for value in (step * i for i in range(round(end / step) + 1))
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {y + 20}" role="img" aria-label="{escape(title)}" class="dots">'
        f"{''.join(grid)}{''.join(lines)}</svg>{_legend(series)}"
    )


def _dot(dot: Dot, name: str, y: float, index: int, end: float) -> str:
    x, colour = _x(100 * dot.rate, end), COLOURS[index % len(COLOURS)]
    told = f"{name}: {100 * dot.rate:.2f} %"
    whisker = ""
    if math.isfinite(dot.low) and math.isfinite(dot.high):
        told += f" ({100 * dot.low:.2f} - {100 * dot.high:.2f})"
        low, high = _x(100 * dot.low, end), _x(100 * dot.high, end)
        whisker = (
            f'<path d="M{low:.1f} {y - 3:.1f}v6m0 -3H{high:.1f}m0 -3v6" stroke="{colour}" fill="none"'
            ' stroke-width="1.5"/>'
        )
    return f"<g><title>{escape(told)}</title>{whisker}{_shape(x, y, index, colour)}</g>"


def _shape(x: float, y: float, index: int, colour: str) -> str:
    shapes = (
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",  # circle
        "m-4 -4h8v8h-8z",  # square
        "m0 -5l5 9h-10z",  # triangle
        "m0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",  # diamond
        "m0 5l5 -9h-10z",  # triangle, turned over
    )
    return f'<path d="M{x:.1f} {y:.1f}{shapes[index % len(shapes)]}" fill="{colour}"/>'


def _legend(series: Sequence[str]) -> str:
    if len(series) < 2:
        return ""
    items = [
        f'<span><svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">'
        f"{_shape(7, 7, index, COLOURS[index % len(COLOURS)])}</svg> {escape(name)}</span>"
        for index, name in enumerate(series)
    ]
    return f'<p class="legend">{" ".join(items)}</p>'


def _x(per_cent: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * per_cent / end


def _tick(most: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that there are four to ten of them."""
    base = 10.0 ** math.floor(math.log10(most / 4))
    return next(base * factor for factor in (1, 2, 5, 10) if most / (base * factor) <= 10)


def _short(text: str) -> str:
    return text if len(text) <= 26 else f"{text[:23]}..."
