"""Written English in words as it is spoken."""

from s4speech.text.english.reading import normalize_english
from s4speech.text.english.say_as import say_as

__all__ = ["normalize_english", "say_as"]
