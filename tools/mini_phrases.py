"""The phrases of the small corpus: the commands of a home assistant, from a grammar and a seed."""

from __future__ import annotations

import random

WORDS_IN_PHRASE = (3, 8)

# One alternative per "|"; <name> expands to a rule.
GRAMMAR = {
    "phrase": "turn <switch> the <room> <device>|make the <room> lights <colour>"
    "|set the <room> <device> to <number>|set a timer for <number> minutes|wake <person> up at <time>"
    "|wake <person> at <time> on <day>"
    "|what's the weather like in <city>|what's the weather in <city> on <day>|play some <music> in the <room>"
    "|call <name> on <day> at <time>|call <name> and <name> at <time>|add <food> and <food> to the list"
    "|don't forget the <colour> <food>|open the <room> window at <time>|close the <room> door and window"
    "|is the <room> <opening> open|how far is it to <city>|book a train from <city> to <city>"
    "|remind <person> to buy <food> on <day>|tell <name> that dinner is at <time>"
    "|find <number> <colour> <fruit>",
    "switch": "on|off",
    "opening": "door|window",
    "room": "kitchen|bedroom|bathroom|garage|garden|office",
    "device": "light|heater|fan|radio",
    "colour": "red|green|blue|yellow|white|purple",
    "person": "me|us|<name>",
    "name": "anna|david|maria|peter|susan",
    "city": "london|paris|boston|madrid|oslo|tokyo",
    "day": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "time": "<hour> o'clock|<hour> <minute>|half past <hour>",
    "hour": "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
    "minute": "fifteen|twenty|thirty|forty",
    "number": "<hour>|<minute>|<minute>|twenty <digit>",
    "digit": "one|two|three|four|five|six|seven|eight|nine",
    "music": "jazz|music|piano songs",
    "food": "bread|milk|coffee|butter|rice|sugar|<fruit>",
    "fruit": "apples|lemons|oranges",
}


def expand(symbol: str, rng: random.Random) -> str:
    """A random expansion of a grammar rule."""
    words = rng.choice(GRAMMAR[symbol].split("|")).split()
    return " ".join(expand(word[1:-1], rng) if word.startswith("<") else word for word in words)


def split_phrases(seed: int, counts: dict[str, int]) -> dict[str, list[str]]:
    """Distinct phrases for each part: none shared, and no word outside the first part's.

    Args:
        seed: What the draw depends on, alone.
        counts: Part name to number of phrases, the training part first.
    """
    rng = random.Random(seed)
    taken: set[str] = set()
    vocabulary: set[str] = set()
    parts: dict[str, list[str]] = {}
    for part, count in counts.items():
        training = not parts
        phrases: list[str] = []
        while len(phrases) < count:
            text = expand("phrase", rng).upper()
            words = text.split()
            if text in taken or not WORDS_IN_PHRASE[0] <= len(words) <= WORDS_IN_PHRASE[1]:
                continue
            if len(set(words)) < len(words):  # "add rice and rice"
                continue
            if not training and not vocabulary.issuperset(words):
                continue
            taken.add(text)
            phrases.append(text)
        if training:
            vocabulary = {word for text in phrases for word in text.split()}
        parts[part] = phrases
    return parts
