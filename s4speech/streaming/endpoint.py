"""When a segment ends."""

from collections.abc import Sequence

from s4speech.config.streaming import EndpointRule
from s4speech.errors import InputError


def fired(
    rules: Sequence[EndpointRule], *, words: bool, silence_s: float, length_s: float
) -> EndpointRule | None:
    """The first rule that ends a segment.

    words: something was said in it; silence_s: since its last token, or its beginning; length_s: in all.
    """
    for rule in rules:
        said = words or not rule.after_words
        if said and silence_s >= rule.silence_s and length_s >= rule.length_s:
            return rule
    return None


def check_rules(rules: Sequence[EndpointRule]) -> tuple[EndpointRule, ...]:
    """Raise InputError unless every segment ends some time: an endless one would fill the memory."""
    if not any(not rule.after_words and rule.silence_s == 0 for rule in rules):
        names = ", ".join(rule.name for rule in rules) or "none"
        raise InputError(
            f"endpoints: got {names}, of which none ends speech that never pauses;"
            " add a rule with length_s alone, such as {name: cap, length_s: 20}"
        )
    return tuple(rules)
