"""The parts of a date, a time, an amount of money or a measure, in words."""

import re

from s4speech.text.english import numbers as n
from s4speech.text.english import tables as t


def month(name: str) -> str:
    """Return the full name, small, of a month that may be shortened."""
    name = name.lower().rstrip(".")
    return t.MONTH_SHORT.get(name, name)


def date_year(text: str) -> str:
    """Read a year of a date; two digits are 1950 to 2049."""
    if len(text) == 2:
        text = ("20" if int(text) < 50 else "19") + text
    return n.year(text)


def date(year: str, month: int, day: int) -> str | None:
    """Read a date by numbers, or None where it is none."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{t.MONTHS[month - 1]} {n.ordinal(str(day))}" + (f", {date_year(year)}" if year else "")


def clock(hour: str, minute: str, second: str | None = None, short: bool = False) -> str:
    """Read a time of day. ``short``: an am or pm follows, so a full hour needs no o'clock."""
    text = n.cardinal(str(int(hour)))
    if int(minute):
        text += " " + n.pair(minute)
    elif not short:
        text += " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    if second and int(second):
        text += f" and {n.cardinal(str(int(second)))} second{'s' * (int(second) != 1)}"
    return text


def money(sign: str, amount: str, scale: str = "", kind: str = "") -> str:
    """Read an amount of money; ``kind``: words such as "u s " before the name of the currency."""
    one, many, cent, cents = t.CURRENCIES[sign]
    amount = amount.replace(",", "")
    whole, _, part = amount.partition(".")
    if scale or len(part) not in (0, 2):
        text = n.decimal(amount) + (f" {scale}" if scale else "")
        return f"{text} {kind}{one if text == 'one' else many}"
    words = []
    hundredths = int(part or 0)
    if int(whole or 0) or not hundredths:
        text = n.cardinal(whole or "0")
        words.append(f"{text} {kind}{one if text == 'one' else many}")
    if hundredths:
        words.append(f"{n.cardinal(str(hundredths))} {cent if hundredths == 1 else cents}")
    return " and ".join(words)


def telephone(text: str) -> str:
    """Read digit by digit with a pause where the groups part."""
    groups = re.findall(r"\d+|\+", text)
    return ", ".join("plus" if g == "+" else n.digits(g) for g in groups).replace("plus, ", "plus ")


def measure(amount: str, unit: str, singular: bool = False) -> str:
    """Read a number and its unit; ``singular``: before a noun, as in "a 5-km run"."""
    text = n.decimal(amount)
    return f"{text} {t.UNITS[unit][0 if singular or text == 'one' else 1]}"
