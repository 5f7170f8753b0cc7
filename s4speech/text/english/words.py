"""Everything written short with letters: addresses, abbreviations, initials, acronyms, roman numerals."""

import re

from s4speech.text.english import numbers as n
from s4speech.text.english import tables as t
from s4speech.text.english.numerals import sentence_stop

_ONSETS = n.listed(
    "b bl br c ch chr cl cr d dr dw f fl fr g gh gl gn gr h j k kl kn kr l m n p ph pl pr ps "
    "qu r rh s sc sch scr sh shr sk sl sm sn sp sph spl spr squ st str sw t th thr tr tw v w "
    "wh wr y z x zh kh pt"
)
_CODAS = n.listed(
    "b bb bs c ch ck cks ct cts d ds dth f ff fs ft fts g gh ghs ght ghts gs k ks l lb lbs ld "
    "lds lf lfs lk lks ll lls lm lms ln lp lps ls lt lth lts lve m mb mbs mp mps mpt ms n nce "
    "nch nd nds ng ngs ngth nk nks ns nt nth nts p ph phs ps pt pts r rb rbs rc rch rd rds rf "
    "rg rk rks rl rls rm rms rn rns rp rps rs rst rt rth rts rve s sh sk sks sm sms sp sps ss "
    "st sts t tch th ths ts tt w wn wns wl x xt y z zz ws nn nns lch dg gg dd dds pp rr rrs "
    "mm bt bts gn gns hn lds ld rld rlds wd wds mn mns rnt dst lst rsh mth mths wth lst ltz "
    "pth pths wk nz lpt mpts nths rmth tt mpt bs phs cts ths sts xt xts fth"
)


def _either(parts: list[str]) -> str:
    return "|".join(sorted(parts, key=len, reverse=True))


_VOWELS = "[aeiouy]{1,3}"
_SAYABLE = re.compile(
    rf"(?:{_either(_ONSETS)})?(?:{_VOWELS})(?:(?:{_either(_CODAS)})?(?:{_either(_ONSETS)})(?:{_VOWELS})){{0,5}}"
    rf"(?:{_either(_CODAS)})?"
)


def letters(text: str) -> str:
    """Spell: the letters parted by spaces. The letter A is written ``ay``, to tell it from the article."""
    return " ".join("ay" if c in "aA" else c.lower() for c in text if c.isalpha())


def is_spelt(word: str) -> bool:
    """Tell whether capitals are read letter by letter: two letters that are no word, no vowel at all, or up
    to six letters that no English syllables fit (FBI, USB, ATM; not NASA, AIDS). tables.SPELT: exceptions."""
    if word in t.SPELT:
        return True
    if len(word) <= 2:
        return word not in t.TWO_LETTER_WORDS
    if not re.search("[AEIOUY]", word):
        return len(word) <= 12
    if re.search(r"(.)\1\1", word):
        return False  # AAAH
    return len(word) <= 6 and not _SAYABLE.fullmatch(word.lower())


# --- addresses


_ADDRESS = re.compile(
    r"(?<![^\s,(])(?:(?P<mail>[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6})"
    r"|(?P<url>(?:(?:https?|ftp)://|www\.)[^\s,<>\"]{1,2000}"
    r"|(?:[A-Za-z0-9-]{1,63}\.){1,5}(?:com|org|net|edu|gov|io|co\.uk|ai|dev|info|uk|de|app|html?)(?![\w.-]{0,5}@)(?:/[^\s,<>\"]{0,2000}|(?![\w])))"
    r")"
)
_SIGNS = {
    ".": "dot",
    "@": "at",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "+": "plus",
    "~": "tilde",
}
_PIECE = re.compile(r"[A-Za-z]+|\d+|.", re.S)


def _piece(piece: str) -> str:
    if piece.isdigit():
        return n.cardinal(piece) if len(piece) < 3 else n.digits(piece)
    if piece.isalpha():
        spelt = not re.search("[aeiouy]", piece.lower()) or piece.lower() in t.SPELT_SMALL | {
            "uk",
            "io",
            "ai",
            "edu",
        }
        return letters(piece) if len(piece) == 1 or (spelt and len(piece) < 7) else piece.lower()
    return _SIGNS.get(piece, " ")


def _address(m: re.Match[str]) -> str:
    text = m[0]
    body = text.rstrip(".,;:!?)'")
    end = text[len(body) :]
    if m["url"]:
        body = re.sub(r"^(?:https?|ftp)://", "", body).rstrip("/")
    return " ".join(_piece(p) for p in _PIECE.findall(body)) + end


_HASHTAG = re.compile(r"(?<![\w&/])([#@])([A-Za-z_]\w{0,100})")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z])|_")


def _hashtag(m: re.Match[str]) -> str:
    return f"{'hashtag' if m[1] == '#' else 'at'} {_CAMEL.sub(' ', m[2])}"


def read_addresses(text: str) -> str:
    """Read e-mail addresses, web addresses, hashtags and @names; runs before numbers are read."""
    if "." in text:
        text = _ADDRESS.sub(_address, text)
    return _HASHTAG.sub(_hashtag, text) if "#" in text or "@" in text else text


# --- abbreviations


_DOTTED = re.compile(
    r"(?<![\w/.])(" + "|".join(re.escape(k) for k in sorted(t.DOTTED, key=len, reverse=True)) + r")(?!\w)",
    re.I,
)
_SLASHED_DOTTED = re.compile(r"(?<![\w/])(?:e\. ?g\.|i\. ?e\.),?", re.I)
_ANY = {**t.TITLES, **t.ENDINGS}
_ABBREVIATION = re.compile(rf"(?<![\w'.-])({_either(list(_ANY))})\.(?![\w])", re.I)
_BARE_TITLE = re.compile(r"(?<![\w'.-])(Mr|Mrs|Ms|mr|mrs|Dr|Prof|Messrs|vs|etc|Jr|Sr)\b(?![.'-])")
_CAPITAL_TITLE = re.compile(rf"(?<![\w'.-])({_either(list(t.CAPITAL_TITLES))})\. ?(?=[A-Z])")
_CAPITAL_ENDING = re.compile(rf"(?<![\w'.-])({_either(list(t.CAPITAL_ENDINGS))})\.(?!\w)")
_SAINT = re.compile(
    r"(?:(?<=([A-Za-z]) )|(?<![\w'.-]))\b(St|st)\.(?:(?= ?([A-Z]))|(?!\w))|\bSt (?=[A-Z][a-z])"
)
_DOCTOR = re.compile(r"(?:(?<=([A-Za-z]) )|(?<![\w'.-]))\b(?:Dr|dr)\.(?:(?= ?([A-Za-z]))|(?!\w))")
_MONTH = re.compile(
    r"\b(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec|Mon|Tues|Tue|Wed|Thurs|Thur|Thu|Fri|Sat|Sun)\.(?!\w)"
)
_BARE = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "dr": "doctor",
    "vs": "versus",
    "etc": "et cetera",
    "prof": "professor",
    "messrs": "messieurs",
    "jr": "junior",
    "sr": "senior",
}


def _abbreviation(m: re.Match[str]) -> str:
    word = m[1].lower()
    return _ANY[word] + (sentence_stop(m) if word in t.ENDINGS else "")


def _before(m: re.Match[str]) -> str:
    """Return the word before a match, as far as it is on the same line."""
    found = re.search(r"([\w'-]{1,30}) $", m.string[max(0, m.start() - 31) : m.start()])
    return found[1] if found else ""


def _saint(m: re.Match[str]) -> str:
    before = _before(m)
    if m[0] == "St ":
        return "Saint "
    if m[3] and not (
        before[:1].isupper() and sentence_stop(m) and before.lower() not in ("the", "in", "of", "at", "and")
    ):
        return "saint "
    return "street" + sentence_stop(m)


def _doctor(m: re.Match[str]) -> str:
    before = _before(m)
    stop = sentence_stop(m)
    if before[:1].isupper() and before not in t.STARTERS and (stop or not (m[2] or "").isupper()):
        return "drive" + stop
    return "doctor "


def _month(m: re.Match[str]) -> str:
    short = m[1].lower()
    return (t.MONTH_SHORT.get(short) or t.DAYS[short]) + sentence_stop(m)


# --- initials, acronyms, roman numerals


_DOTTED_LETTERS = re.compile(r"(?<![\w.'])((?:[A-Za-z]\. ?(?=[A-Za-z]\.)){1,9}[A-Za-z]\.)(?![a-z])('s\b)?")
_INITIAL = re.compile(r"(?<![\w.'])([A-Z])\. ?(?=[A-Z][\w'-])")
_LETTER_A = re.compile(
    r"\b(?:((?i:vitamin|plan|grade|type|class|group|hepatitis|point|team|level|letter|an?)) )?A"
    r"(?=[.,;:!?)]|$|['+-])"
)
_ROMAN = re.compile(
    r"(?:\b([A-Za-z]{2,15})\.? )?\b([IVXLCDM]{1,8})\b(?!'(?!s\b)|\.[A-Za-z])(?=(.{0,6}))", re.S
)
_CAPITALS = re.compile(r"(?<![A-Za-z'])([A-Z]{2,}(?:&[A-Z]+)?)('?s\b)?(?![A-Za-z]|'[A-Z])")
_SPECIAL = re.compile(rf"\b({_either(list(t.SPECIAL))})\b")
_SMALL = re.compile(rf"(?<![\w'-])({_either(list(t.SPELT_SMALL))})(s)?(?![\w])")


def _initials(m: re.Match[str]) -> str:
    return letters(m[1]) + (m[2] or ("" if " " in m[1] else sentence_stop(m)))


def _roman(m: re.Match[str]) -> str:
    before, mark, after = m[1] or "", m[2], m[3]
    value = n.roman(mark)
    front = m[0][: len(m[0]) - len(mark)]
    small = bool(re.fullmatch("[IVX]+", mark)) and len(mark) > 1
    if not value:
        return m[0]
    if before in t.REGNAL and value < 40 and before[0].isupper():
        if mark == "I" and not re.match(r"$|[.,;:!?)]|'s| (?:of |was )", after):
            return m[0]
        return f"{front}the {n.ordinal(str(value))}"
    if before.lower() in t.BEFORE_ROMAN:
        sure = before == "War" or re.match(
            r"$|[.,;:!?)]" + ("" if before.islower() else "| (of|is|and) "), after
        )
        if mark == "I" and ("." in front or not sure):
            return m[0]  # the pronoun: "in class I learnt"
        return front + n.cardinal(str(value))
    if small and before.lower() not in ("an", "per") and mark != "XX":
        return front + n.cardinal(str(value))
    return m[0]


def _capitals(m: re.Match[str]) -> str:
    word, end = m[1], m[2] or ""
    if "&" in word:
        left, right = word.split("&")
        return f"{letters(left)} and {letters(right)}{end}"
    if not is_spelt(word):
        return word.lower() + end
    return letters(word) + ("'s" if end else "")


def read_words(text: str) -> str:
    """Expand abbreviations, initials, acronyms and roman numerals; runs after numbers are read."""
    if "." in text or "/" in text:
        text = _SLASHED_DOTTED.sub(lambda m: "for example," if m[0][0] in "eE" else "that is,", text)
        text = _DOTTED.sub(lambda m: t.DOTTED[m[0].lower()], text)
        text = _SAINT.sub(_saint, text)
        text = _DOCTOR.sub(_doctor, text)
        text = _CAPITAL_TITLE.sub(lambda m: t.CAPITAL_TITLES[m[1]] + " ", text)
        text = _ABBREVIATION.sub(_abbreviation, text)
        text = _CAPITAL_ENDING.sub(lambda m: t.CAPITAL_ENDINGS[m[1]] + sentence_stop(m), text)
        text = _MONTH.sub(_month, text)
        text = _DOTTED_LETTERS.sub(_initials, text)
        text = _INITIAL.sub(lambda m: letters(m[1]) + " ", text)
    text = _BARE_TITLE.sub(lambda m: _BARE[m[1].lower()], text)
    text = _SPECIAL.sub(lambda m: t.SPECIAL[m[1]], text)
    text = _ROMAN.sub(_roman, text)
    text = _LETTER_A.sub(lambda m: (m[1] + " " if m[1] else "") + "ay", text)
    text = _CAPITALS.sub(_capitals, text)
    return _SMALL.sub(lambda m: letters(m[1]) + ("'s" if m[2] else ""), text)


_SHOUT = re.compile(r"[A-Za-z']+")
_NO_VOWEL_WORDS = set(n.listed("MR MRS MS DR ST JR SR HMM SHH PSST BRR VS LT SGT NTH CWM CWMS PFFT TSK"))


def _quieten(m: re.Match[str]) -> str:
    word = m[0]
    keep = (
        len(word) > 2
        and word in t.SPELT
        and word not in ("LA", "MA", "ETA", "PIN", "LED", "SEC", "RIP", "ISO", "SOS")
    )
    if keep or (len(word) > 1 and not re.search("[AEIOUY']", word) and word not in _NO_VOWEL_WORDS):
        return word
    if word in ("VI", "VII", "VIII", "IX", "XI", "XII", "XIII", "XIV", "XVI") or re.fullmatch("I{2,3}", word):
        return word
    return word.capitalize()


def quieten(text: str) -> str:
    """Return text that is all capitals (three or more words of two or more letters) as a heading in small
    letters, so that it is not spelt; FBI and the like stay as they are."""
    if text.upper() != text or len(re.findall(r"[A-Z]{2,}", text[:4000])) < 3:
        return text
    return _SHOUT.sub(_quieten, text)
