"""Numbers in words, American style: no "and", no hyphens, no commas ("one hundred twenty one")."""


def listed(words: str) -> list[str]:
    """Return the words of a table's line."""
    return words.split()


ONES = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS = listed("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
SCALES = ["", "thousand", "million", "billion", "trillion", "quadrillion"]
LARGEST = 1000 ** len(SCALES)  # from here on a number is read digit by digit
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def digits(text: str, zero: str = "zero") -> str:
    """Read the digits of ``text`` one by one; other characters are skipped."""
    return " ".join(zero if c == "0" else ONES[int(c)] for c in text if c in "0123456789")


def _below_thousand(number: int) -> str:
    words = []
    if number >= 100:
        words += [ONES[number // 100], "hundred"]
        number %= 100
    if number >= 20:
        words.append(TENS[number // 10])
        number %= 10
        if number:
            words.append(ONES[number])
    elif number:
        words.append(ONES[number])
    return " ".join(words)


def cardinal(text: str) -> str:
    """Read a string of decimal digits and commas as a whole number; digit by digit if it begins with a
    needless 0 (007) or has more than 18 digits."""
    text = text.replace(",", "")
    if (len(text) > 1 and text[0] == "0") or len(text) > 3 * len(SCALES):
        return digits(text)
    number = int(text)
    if number == 0:
        return "zero"
    groups = []
    for scale in SCALES:
        number, group = divmod(number, 1000)
        if group:
            groups.append(f"{_below_thousand(group)} {scale}".rstrip())
    return " ".join(reversed(groups))


def ordinal_of(words: str) -> str:
    """Turn the words of a cardinal into those of its ordinal: ``twenty one`` -> ``twenty first``."""
    *front, last = words.split(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return " ".join([*front, last])


def ordinal(text: str) -> str:
    """Read a string of digits and commas as an ordinal."""
    return ordinal_of(cardinal(text.replace(",", "").lstrip("0") or "0"))


def pair(text: str) -> str:
    """Read two digits as the second half of a year or a time: ``05`` -> ``oh five``."""
    return f"oh {ONES[int(text)]}" if text[0] == "0" else cardinal(text)


def year(text: str) -> str:
    """Read up to four digits as a year: ``1905`` -> ``nineteen oh five``."""
    number = int(text)
    if number < 1000 or number >= 10000 or 2000 <= number < 2010 or number % 1000 == 0:
        return cardinal(str(number))
    century, rest = divmod(number, 100)
    return f"{cardinal(str(century))} {pair(f'{rest:02}') if rest else 'hundred'}"


def decimal(text: str) -> str:
    """Read digits with an optional point: ``3.14`` -> ``three point one four``, ``.5`` -> ``point five``."""
    whole, point, part = text.partition(".")
    words = [cardinal(whole)] if whole else []
    if point and part:
        words += ["point", digits(part)]
    return " ".join(words)


def plural(word: str) -> str:
    """Regular plural of a word of a number: ``fifty`` -> ``fifties``, ``six`` -> ``sixes``."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")


def fraction(top: str, bottom: str) -> str:
    """Read ``3/4`` as ``three quarters``; a bottom that nobody names as a fraction gives ``X over Y``."""
    above, below = int(top[:9]), int(bottom[:9])
    if (
        len(top) > 9
        or len(bottom) > 9
        or below < 2
        or above < 1
        or (below > 20 and below % 10 and below not in (32, 64))
    ):
        return f"{cardinal(top)} over {cardinal(bottom)}"
    if above > below and below > 10:
        return f"{cardinal(top)} over {cardinal(bottom)}"
    name = {2: "half", 4: "quarter"}.get(below) or ordinal(bottom)
    if above != 1:
        name = "halves" if below == 2 else name + "s"
    return f"{cardinal(top)} {name}"


_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(text: str) -> int:
    """Return the value of a roman numeral in capitals; 0 when ``text`` is not one as it is written today."""
    if not text or len(text) > 15:
        return 0
    values = [_ROMAN.get(c, 0) for c in text]
    total = sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))
    return total if 0 not in values and 0 < total < 4000 and to_roman(total) == text else 0


def to_roman(number: int) -> str:
    """Write 0 < ``number`` < 4000 as a roman numeral."""
    marks = zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        listed("M CM D CD C XC L XL X IX V IV I"),
        strict=True,
    )
    text = ""
    for value, mark in marks:
        count, number = divmod(number, value)
        text += mark * count
    return text
