"""Everything written with digits, in words: an ordered list of patterns, each bounded, so time is linear."""

import re
from collections.abc import Callable

from s4speech.text.english import amounts as a
from s4speech.text.english import numbers as n
from s4speech.text.english import tables as t

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_RULES: list[Rule] = []

_NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,5}(?!\d)|\d{1,60})"
_DECIMAL = rf"(?:{_NUMBER}(?:\.\d{{1,60}})?|\.\d{{1,60}})"
_MONTH = "|".join(sorted([*t.MONTHS, *t.MONTH_SHORT], key=len, reverse=True))
_SCALE = "hundred|thousand|million|billion|trillion"
_START = r"(?<![\w.,])"
_MINUS = r"(?:(?<![\w)])-)?"


def _rule(
    pattern: str, flags: int = 0
) -> Callable[[Callable[[re.Match[str]], str]], Callable[[re.Match[str]], str]]:
    def keep(say: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        _RULES.append((re.compile(pattern, flags), say))
        return say

    return keep


# --- dates


@_rule(r"(?<![\w/.-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\w/-]|\.\d)")
def _iso(m: re.Match[str]) -> str:
    return a.date(m[1], int(m[3]), int(m[4])) or m[0]


@_rule(r"(?<![\w/.-])(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?![\w/-]|\.\d)")
def _numeric(m: re.Match[str]) -> str:
    first, second = int(m[1]), int(m[3])
    if m[2] == "." or first > 12:  # 24.12.2021 is European
        first, second = second, first
    if m[2] == "." and len(m[4]) == 2 and not (1 <= first <= 12):
        return m[0]
    return a.date(m[4], first, second) or m[0]


@_rule(
    rf"\b({_MONTH})(\.?) {{1,3}}(\d{{1,2}})(?:st|nd|rd|th)?\b(?![:/]|\.\d|,\d{{3}}| ?[ap]\.?m\b)"
    r"(?:(?: ?[-\u2013] ?)(\d{1,2})(?:st|nd|rd|th)?\b(?![:/]|\.\d))?(?:(?:,| |, )(?=[12]\d{3}\b)(\d{4}))?",
    re.I,
)
def _month_day(m: re.Match[str]) -> str:
    day, until = int(m[3]), int(m[4] or 1)
    if not (1 <= day <= 31 and 1 <= until <= 31) or (
        not m[0][0].isupper() and m[1] in ("may", "march", "mar", "dec")
    ):
        return m[0]
    text = f"{a.month(m[1])} {n.ordinal(m[3])}" + (f" to {n.ordinal(m[4])}" if m[4] else "")
    return text + (f", {a.date_year(m[5])}" if m[5] else "")


@_rule(rf"\b(the )?(\d{{1,2}})(st|nd|rd|th)?( of)? ({_MONTH})\b\.?(?:,? ([12]\d{{3}})\b(?!,\d))?", re.I)
def _day_month(m: re.Match[str]) -> str:
    if not 1 <= int(m[2]) <= 31 or (
        m[5].lower() in ("may", "march", "mar", "dec", "sat", "sun") and not m[5][0].isupper()
    ):
        return m[0]
    of = " of" if m[4] or not m[3] else ""
    text = f"{'the ' if m[1] or not m[3] else ''}{n.ordinal(m[2])}{of} {a.month(m[5])}"
    return text + (f", {a.date_year(m[6])}" if m[6] else "")


@_rule(rf"\b({_MONTH})\b\.?,? (\d{{4}})\b(?!,\d)", re.I)
def _month_year(m: re.Match[str]) -> str:
    return f"{a.month(m[1])} {n.year(m[2])}"


# --- times


@_rule(r"(?<![\w:.,])(\d{1,2})(?:[:.]([0-5]\d))?(?::([0-5]\d))?(?: ?([ap])\.? ?m\b)(\.?)", re.I)
def _twelve_hour(m: re.Match[str]) -> str:
    if int(m[1]) > 24:
        return m[0]
    half = "ay m" if m[4].lower() == "a" else "p m"
    return f"{a.clock(m[1], m[2] or '00', m[3], short=True)} {half}{m[5] and sentence_stop(m)}"


@_rule(r"(?<![\w:.,])(\d{1,2}):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,3})?)?(?![:\d])(?: ?(o'clock)\b)?", re.I)
def _day_clock(m: re.Match[str]) -> str:
    return a.clock(m[1], m[2], m[3]) if int(m[1]) <= 24 else f"{n.cardinal(m[1])} {n.pair(m[2])}"


def sentence_stop(m: re.Match[str]) -> str:
    """Return "." where the full stop of an abbreviation also ends the sentence: at the end of the text or
    before a word that often begins one. Else nothing."""
    rest = m.string[m.end() : m.end() + 40].lstrip("\"')")
    if not rest.strip() or rest.lstrip(" ").startswith("\n"):
        return "."
    word = re.match(r" +([A-Z][a-z']*)", rest)
    return "." if word and word[1] in t.STARTERS else ""


# --- rates: what stands behind the slash


@_rule(rf"(?<=\d)/(?:({'|'.join(t.PER)})\b|(?=[a-z]{{3}}))")
def _rate(m: re.Match[str]) -> str:
    return f" per {t.UNITS[m[1]][0]}" if m[1] else " per "


# --- money


_SIGNS = "[" + "".join(t.CURRENCIES) + "]"
_CODES = "|".join(re.escape(c) for c in sorted(t.CURRENCY_CODES, key=len, reverse=True))
_BIG = r"(?:[ -]?(?:(hundred|thousand|million|billion|trillion)\b|(k|K|M|B|T|mn|m|bn|b|tn)\b))?"


def _scale(word: str | None, short: str | None) -> str:
    return word.lower() if word else t.MAGNITUDES.get(short or "", "")


@_rule(
    rf"(-? ?)(?:\b({_CODES}) ?|({_SIGNS})(?:(?<!\d.)(?<!\d .) )?)(-?)({_DECIMAL})"
    rf"(?:([-\u2013]){_SIGNS}?({_DECIMAL}))?{_BIG}(-a-|/)?(?=(\w?))",
    re.I,
)
def _money(m: re.Match[str]) -> str:
    kind, sign = (
        t.CURRENCY_CODES.get((m[2] or "").upper() if m[2] != "Rs" else "Rs", ("", m[3]))
        if m[2]
        else ("", m[3])
    )
    if sign is None:
        return m[0]
    scale = _scale(m[8], m[9])
    front = " minus " if "-" in m[1] + m[4] else m[1]
    until = ""
    if m[7]:
        until, front = a.money(sign, m[7], scale, kind), front + f"{n.decimal(m[5])} to "
    text = front + (until or a.money(sign, m[5], scale, kind))
    per = {"/": " per ", "-a-": " a "}.get((m[10] or "").lower(), "") if m[11] else (m[10] or "")
    return text + (per or (" " if m[11] else ""))


@_rule(rf"({_START}{_DECIMAL}){_BIG} ?({_CODES}|[{''.join(t.CURRENCIES)}\u00a2])(?!\w)")
def _money_after(m: re.Match[str]) -> str:
    if m[4] == "\u00a2":
        text = n.decimal(m[1])
        return f"{text} {'cent' if text == 'one' else 'cents'}"
    kind, sign = t.CURRENCY_CODES.get(m[4], ("", m[4]))
    return a.money(sign, m[1], _scale(m[2], m[3]), kind)


# --- labels


@_rule(r"(?:#|\b(nos?|No[s]?|NO)\. ?)(?=\d)")
def _number_sign(m: re.Match[str]) -> str:
    return "numbers " if (m[1] or "").endswith("s") else "number "


_LABELS = "|".join(sorted(t.BEFORE_NUMBER, key=len, reverse=True))


@_rule(rf"(?<![\w'.])({_LABELS})\.(?: ?)(?=\d)|\u00a7\u00a7? ?(?=\d)", re.I)
def _label(m: re.Match[str]) -> str:
    return (t.BEFORE_NUMBER[m[1].lower()] if m[1] else "section") + " "


# --- telephone numbers and other strings of digits


_GAP = r"[-. ]"


@_rule(
    rf"(?<![\w.])(?:\+?\d{{1,3}}{_GAP})?,? ?\(?\b\d{{3}}\)?(?:, |{_GAP}) ?\d{{3}}{_GAP}\d{{4}}\b(?!{_GAP}?\d)"
    rf"|(?<![\w.])\+\d{{1,3}}(?:{_GAP}?,? ?\(?\d{{1,5}}\)?){{2,6}}\b"
    r"|(?<![\w.,-])0\d{2,4}(?:[ -]\d{3,4}){1,3}\b(?![-\w])|(?<![\w.-])\d{1,9}(?:-\d{1,9}){3,9}\b(?![-\w])"
    r"|(?<![\w.-])\d{3}-\d{4}\b(?![-\w])|(?<![\w.-])\d{3}-\d{2}-\d{4}\b(?![-\w])"
    r"|(?<=[Dd]ial )\d{3}\b|(?<=[Cc]all )[1-9]11\b"
)
def _telephone(m: re.Match[str]) -> str:
    return a.telephone(m[0])


@_rule(r"(?<![\w.])v?(\d{1,20}(?:\.\d{1,20}){2,8})(?![\w]|\.\d)")
def _version(m: re.Match[str]) -> str:
    parts = m[1].split(".")
    if len(parts) == 4 and all(len(p) <= 3 for p in parts) and m[0][0] != "v":
        return " dot ".join(n.digits(p) for p in parts)
    return ("version " if m[0][0] == "v" else "") + " point ".join(n.cardinal(p) for p in parts)


@_rule(r"\bv(\d{1,6}(?:\.\d{1,6})?)\b")
def _short_version(m: re.Match[str]) -> str:
    return "version " + n.decimal(m[1])


# --- decades: before the 90s are ninety seconds


@_rule(r"(?<![\w.,$:])'?(\d{2}|[1-9]\d{3})(?:'?s)\b")
def _decade(m: re.Match[str]) -> str:
    if m[1][-1] != "0":
        return f"{n.plural(n.year(m[1]))} "
    return n.plural(n.year(m[1]) if len(m[1]) == 4 else n.cardinal(m[1]))


# --- units


_UNIT = "|".join(re.escape(u) for u in sorted(t.UNITS, key=len, reverse=True))
_UNIT_END = r"(?![\w^/]|\u00b0)"


_ARTICLE = re.compile(r"\b[Aa]n? \Z")


@_rule(r"(?<![\w.,])(\d{1,3})' ?(\d{1,2})(?:\"|'')")
def _feet_inches(m: re.Match[str]) -> str:
    feet, inches = n.cardinal(m[1]), n.cardinal(m[2])
    return f"{feet} {'foot' if feet == 'one' else 'feet'} {inches} inch{'es' * (inches != 'one')}"


@_rule(
    rf"({_MINUS})(?<![\w.,/])(?:({_DECIMAL})(?: ?[-\u2013] ?| to ))?({_DECIMAL})( ?|-)({_UNIT})"
    rf"{_UNIT_END}(\.?)"
)
def _measure(m: re.Match[str]) -> str:
    front = ("minus " if m[1] else "") + (f"{n.decimal(m[2])} to " if m[2] else "")
    stop = (
        sentence_stop(m) if m[6] and m[5] in t.ENDINGS | {"min": "", "sec": "", "ft": "", "gal": ""} else m[6]
    )
    before_noun = m[4] == "-" or _ARTICLE.search(m.string, max(0, m.start() - 4), m.start())
    return front + a.measure(m[3], m[5], bool(before_noun)) + stop


@_rule(r"(?<![\w.,])(\d{1,6})(?:-| ?)in(?:\.(?= [a-z])|(?<=\din)\b|(?<=-in)\b)")
def _inch(m: re.Match[str]) -> str:
    return f"{n.cardinal(m[1])} inch{'' if '-' in m[0] or m[1] == '1' else 'es'}"


_TIMES = "hour|minute|second|day|week|month|year|person|mile|gallon"


@_rule(rf"\b(?!(?:{_TIMES}|and)/)([a-z]{{2,12}})/({_TIMES})\b(?!/)")
def _per(m: re.Match[str]) -> str:
    return f"{m[1]} per {m[2]}"


# --- eras and years


@_rule(r"(?<![\w'])'(\d{2})\b(?!['\d])")
def _short_year(m: re.Match[str]) -> str:
    return n.pair(m[1])


@_rule(r"\b(?:(AD|A\.D\.) ?(\d{1,4})\b|(\d{1,4}) ?(BCE|CE|BC|AD|B\.C\.E\.|C\.E\.|B\.C\.|A\.D\.)(?!\w))")
def _era(m: re.Match[str]) -> str:
    letters = " ".join((m[1] or m[4]).replace(".", "").lower()).replace("a", "ay")
    ends = "." if m[0][-1] == "." and sentence_stop(m) else ""
    return f"{letters} {n.year(m[2])}" if m[1] else f"{n.year(m[3])} {letters}{ends}"


@_rule(r"(?<![\w.,-])((?:1[0-9]|20)\d{2})(?:[-\u2013]| [-\u2013] )((?:1[0-9]|20)\d{2}|\d{2})\b(?![-%,.]\d|%)")
def _year_range(m: re.Match[str]) -> str:
    until = m[2]
    if len(until) == 2 and int(until) <= int(m[1][2:]):
        return f"{n.year(m[1])} {n.pair(until)}"
    return f"{n.year(m[1])} to {n.year(until) if len(until) == 4 else n.pair(until)}"


_YEAR_BEFORE = set(
    n.listed("in since during before after until till by from of to year circa around about between and the")
)
_COUNTED = re.compile(
    r" (?!is\b|was\b|has\b|as\b|does\b|this\b|its\b|his\b|us\b|plus\b|versus\b|always\b|perhaps\b)"
    r"(?:[a-z]{2,}s|people|men|women|children|feet|percent|per|million|billion|thousand)\b"
)


@_rule(
    r"(?:\b([A-Za-z]{2,8}) )?(?:(?<![\w.,$:/-])|(?<=pre-)|(?<=mid-)|(?<=post-))"
    r"(1\d{3}|20\d{2})\b(?![,.:/]\d|[-\u2013%])"
)
def _lone_year(m: re.Match[str]) -> str:
    front = f"{m[1]} " if m[1] else ""
    after_prefix = m.string[m.start(2) - 1 : m.start(2)] == "-"
    sure = after_prefix or (m[1] or "").lower() in _YEAR_BEFORE
    if not sure and (m[2] < "1100" or _COUNTED.match(m.string, m.end())):
        return m[0]
    return front + (" " if after_prefix else "") + n.year(m[2])


@_rule(r"(?<![\w.,\"])(\d{1,3}(?:\.\d{1,2})?)\"(?= [a-z])")
def _inch_sign(m: re.Match[str]) -> str:
    return n.decimal(m[1]) + " inch"


# --- fractions, products, ratios


@_rule(r"(?<![\w./,-])(?:(\d{1,9})[ -])?(\d{1,9})/(\d{1,9})(?![\w/]|\.\d)")
def _fraction(m: re.Match[str]) -> str:
    if not m[1] and m[0] in ("9/11", "24/7"):
        return "nine eleven" if m[0] == "9/11" else "twenty four seven"
    text = n.fraction(m[2], m[3])
    if not m[1]:
        return text
    return f"{n.cardinal(m[1])} and {'a' + text[3:] if text.startswith('one ') else text}"


@_rule(r"(?<=\d) ?[xX] ?(?=\d)")
def _by(m: re.Match[str]) -> str:
    return " by "


@_rule(r"(?<=\d)x(?!\w)")
def _fold(m: re.Match[str]) -> str:
    return " times"


@_rule(r"(?<![\w.,])(\d{4})p(?!\w)")
def _lines(m: re.Match[str]) -> str:
    return n.year(m[1]) + " p"


@_rule(r"(?<=\d) ?\* ?(?=\d)")
def _times(m: re.Match[str]) -> str:
    return " times "


@_rule(r"(?<=\d) (?:-|\u2013) (?=\d)")
def _less(m: re.Match[str]) -> str:
    return " minus "


@_rule(r"(?<![\w:.,])(\d{1,6}):(\d{1,6})(?![\w:])")
def _ratio(m: re.Match[str]) -> str:
    return f"{n.cardinal(m[1])} to {n.cardinal(m[2])}"


@_rule(rf"(?<![\w.,-])({_DECIMAL})[-\u2013](\$?{_DECIMAL})(?![\w-])")
def _range(m: re.Match[str]) -> str:
    return f"{n.decimal(m[1])} to {n.decimal(m[2])}"


@_rule(r"\^(-?\d{1,20})")
def _power(m: re.Match[str]) -> str:
    named = {"2": " squared", "3": " cubed"}.get(m[1])
    return named or f" to the {'minus ' if m[1][0] == '-' else ''}{n.ordinal(m[1].lstrip('-'))}"


# --- what is left


@_rule(rf"(?<!\d)({_NUMBER})(st|nd|rd|th)s?\b", re.I)
def _ordinal(m: re.Match[str]) -> str:
    return n.ordinal(m[1]) + ("s" if m[0].endswith("s") else "")


@_rule(
    r"\b(Boeing|Airbus|Flight|Route|Highway|Interstate|Room|Area|Studio|Bus|Suite)"
    r" ([1-9]\d)(\d{1,2})\b(?![.,]\d)"
)
def _called(m: re.Match[str]) -> str:
    if len(m[3]) == 1:
        return f"{m[1]} {n.ONES[int(m[2][0])]} {n.pair(m[2][1] + m[3])}" if m[2][1] + m[3] != "00" else m[0]
    return f"{m[1]} {n.cardinal(m[2])} {n.pair(m[3])}" if m[3] != "00" else m[0]


@_rule(rf"(?:(?<![\w)])[-\u2013](?=[\d.]))?({_DECIMAL})([KMk]\b(?!-))?(%?)")
def _plain_number(m: re.Match[str]) -> str:
    text = ("minus " if m[0][0] in "-\u2013" else "") + n.decimal(m[1])
    before = m.string[m.start() - 1 : m.start()]
    after = m.string[m.end() : m.end() + 1]
    if m[2]:
        text += {"K": " k", "k": " k", "M": " million"}[m[2]]
    if m[3]:
        text += " percent"
    if before.isalnum() or (before == "-" and m.string[m.start() - 2 : m.start() - 1].isalpha()):
        text = " " + text
    return text + (" " if after.isalnum() or after == "-" else "")


def read_numbers(text: str) -> str:
    """Replace everything that has digits by words."""
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text
