"""Any Unicode text -> printable ASCII and a few signs (degree, section, currencies) that are read later."""

import re
import unicodedata

from s4speech.text.english.numbers import listed

KEPT = "\u00b0\u00a7\u00a3\u20ac\u00a5\u20b9\u20a9\u20bd"  # ° § £ € ¥ ₹ ₩ ₽

_SAID = {
    "\u00d7": " times ",
    "\u00f7": " divided by ",
    "\u00b1": " plus or minus ",
    "\u2248": " about ",
    "\u2260": " is not equal to ",
    "\u2264": " is at most ",
    "\u2265": " is at least ",
    "\u221a": " square root of ",
    "\u221e": " infinity ",
    "\u2192": " to ",
    "\u00b5": "u",
    "\u03bc": "u",
    "\u00b6": " paragraph ",
    "\u00a9": " copyright ",
    "\u00a2": "\u00a2",
    "\u2116": " No. ",
    "\u2019": "'",
    "\u2018": "'",
    "\u201b": "'",
    "\u02bc": "'",
    "\u00b4": "'",
    "\u2032": "'",
    "\u2033": '"',
    "\u2010": "-",
    "\u2011": "-",
    "\u2012": "-",
    "\u2013": "\u2013",
    "\u2014": ", ",
    "\u2015": ", ",
    "\u2212": "-",
    "\u2026": "...",
    "\u2022": ", ",
    "\u00b7": " ",
    "\u3002": ". ",
    "\u3001": ", ",
    "\u30fb": " ",
    "\u30fc": "",
    "\u00bf": "",
    "\u00a1": "",
    "\u2122": "",
    "\u00ae": "",
    "\u00df": "ss",
    "\u00e6": "ae",
    "\u00c6": "Ae",
    "\u0153": "oe",
    "\u0152": "Oe",
    "\u00f8": "o",
    "\u00d8": "O",
    "\u0142": "l",
    "\u0141": "L",
    "\u0111": "d",
    "\u0110": "D",
    "\u00f0": "th",
    "\u00d0": "Th",
    "\u00fe": "th",
    "\u00de": "Th",
    "\u0131": "i",
    "\u0259": "e",
    "\u2028": "\n",
    "\u2029": "\n\n",
    "\u0085": "\n",
}
_CYRILLIC = dict(
    zip(
        "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґўјљњћђџ",
        listed(
            "a b v g d e zh z i y k l m n o p r s t u f kh ts ch sh shch - y - e yu ya i yi ye g w y "
            "ly ny ch j dz"
        ),
        strict=True,
    )
) | {"ъ": "", "ь": ""}
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        listed("a v g d e z i th i k l m n x o p r s s t y f ch ps o"),
        strict=True,
    )
)
_GREEK_NAMES = {c: unicodedata.name(c).split()[-1].lower() for c in _GREEK if c not in "λς"} | {
    "λ": "lambda",
    "ς": "sigma",
}
_SYLLABIC = ("HIRAGANA ", "KATAKANA ", "HANGUL ", "YI ", "ETHIOPIC ", "CHEROKEE ")
_HAN = re.compile("[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_GREEK_RUN = re.compile("[\u0370-\u03ff\u1f00-\u1fff]+")
_PICTURE_RUN = re.compile(
    "([\u2190-\u21ff\u2600-\u27bf\U0001f000-\U0001faff][\ufe0f\u200d\U0001f3fb-\U0001f3ff]*)\\1+"
)
_SUPERSCRIPT = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-"
)
_POWER = re.compile("[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{1,20}")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_NAME_NOISE = re.compile(r"\b(sign|symbol|emoji|squared|negative|circled|black|white|heavy)\b|[^a-z ]")
_SKIN = range(0x1F3FB, 0x1F400)
_FLAG = range(0x1F1E6, 0x1F200)


def _is_picture(code: int) -> bool:
    return 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF or 0x2B50 <= code <= 0x2B55


def _letter(char: str, name: str) -> str:
    """Read one letter of a script without a table by its Unicode name: KA of HIRAGANA LETTER KA."""
    kind = re.search(r" (?:LETTER|SYLLABLE|CHARACTER) (?!.* (?:LETTER|SYLLABLE|CHARACTER) )", name)
    sound = name[kind.end() :] if kind else (name.split() or ["letter"])[-1]
    sound = sound.partition(" WITH ")[0].lower().replace("small ", "").replace("-", " ")
    sound = "".join(c for c in sound if "a" <= c <= "z" or c == " ")
    return sound if name.startswith(_SYLLABIC) else f" {sound} "


def _fold(char: str) -> str:
    """Return what one character becomes, in plain characters."""
    if char in _SAID:
        return _SAID[char]
    code, category = ord(char), unicodedata.category(char)
    if code in _FLAG:
        return f" {chr(code - _FLAG.start + 65)} "
    if code in _SKIN or category in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Mc"):
        return ""
    name = unicodedata.name(char, "")
    if _is_picture(code):
        return f" , {' '.join(_NAME_NOISE.sub(' ', name.lower()).split())} , "
    if category == "Nd":
        return str(unicodedata.digit(char))
    if char.lower() in _CYRILLIC:
        sound = _CYRILLIC[char.lower()]
        return sound if char.islower() else sound.capitalize()
    parts = unicodedata.normalize("NFKD", char)
    if parts != char and not name.startswith("HANGUL SYLLABLE "):
        folded = "".join(c if c.isascii() and c.isprintable() else _fold(c) for c in parts if c != char)
        return f" {folded} " if category == "No" else folded
    if category in ("No", "Nl") and unicodedata.numeric(char, -1.0) >= 0:
        return f" {unicodedata.numeric(char):.15g} "
    if category[0] == "L":
        return _letter(char, name)
    if category in ("Sm", "Sc"):
        return f" {' '.join(re.sub('[^a-z ]', ' ', name.lower()).split())} "
    return "-" if category == "Pd" else " "


class _Table(dict[int, str]):
    """Folds each character once; kept small, whatever is read."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        text = char if (32 <= code < 127 or char == "\n" or char in KEPT) else _fold(char)
        if char.isspace() and char != "\n":
            text = " "
        if len(self) < 20000:
            self[code] = text
        return text


_TABLE = _Table()


def _greek(match: re.Match[str]) -> str:
    word = "".join(c for c in unicodedata.normalize("NFKD", match[0]) if not unicodedata.combining(c)).lower()
    if len(word) == 1:
        return f" {_GREEK_NAMES.get(word, '')} "
    return "".join(_GREEK.get(c, "") for c in word)


def plain(text: str) -> str:
    """Fold ``text`` to printable ASCII, ``\\n``, the signs of KEPT, the cent and the en dash.

    Accents go; pictures get their names; Greek and Cyrillic are transliterated, a lone Greek letter
    is named; syllabic scripts are read by syllable and other letters by their Unicode names; a run of Han
    characters is "chinese characters"; what has no sound (boxes, controls, private use) goes. Takes linear
    time.
    """
    if not text.isascii():
        text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]).replace("\u2044", "/"), text)
        text = _POWER.sub(lambda m: "^" + m[0].translate(_SUPERSCRIPT), text)
        text = text.replace("\u00b5", "u").replace("\u03bc" + "m", "um").replace("\u03bc" + "g", "ug")
        text = _PICTURE_RUN.sub(r"\1", text)
        text = _HAN.sub(" chinese characters ", text)
        text = _GREEK_RUN.sub(_greek, text)
    return text.translate(_TABLE)
