"""Emission delay: from the end of a word in the audio to the moment it is on the screen for good."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from torch import Tensor

from s4speech.metrics.alignment import align
from s4speech.models.asr.triggers import token_spans
from s4speech.text.tokenizer import Tokenizer

Shown = tuple[float, str]  # a text, and how much of the audio had been heard by then, in seconds


def emitted(shown: Sequence[Shown], final: Shown) -> list[float]:
    """When each word of the final text was first shown and stayed, in seconds of audio heard.

    A text that was shown is aligned with as many words of the final one, so that a change of the number of
    words before a word does not take it away, and no word is found in the place of a later one.
    """
    heard_s, words = final[0], final[1].split()
    since, stands = [heard_s] * len(words), [True] * len(words)
    changes = [next(same) for _, same in groupby(shown, key=itemgetter(1))]
    for heard_s, text in reversed(changes):
        pairs = align(" ".join(words[: len(text.split())]), text)
        found = [pair.mark == "C" for pair in pairs if pair.mark != "I"]
        stands = [stood and now for stood, now in zip(stands, found, strict=False)]
        since[: len(stands)] = [
            heard_s if stood else time for stood, time in zip(stands, since, strict=False)
        ]
    return since


def word_ends(log_probs: Tensor, text: str, tokenizer: Tokenizer, frame_shift_s: float) -> list[float] | None:
    """The ends of the words of a transcript by CTC forced alignment: log_probs (T, V) -> seconds.

    None when there is no alignment, or the tokenizer cannot spell the text.
    """
    tokens = tokenizer.encode(text)
    words, spans = tokenizer.words(tokens), token_spans(log_probs, tokens)
    if spans is None or [word for word, _ in words] != text.split():
        return None
    return [(spans[where.stop - 1].last + 1) * frame_shift_s for _, where in words]


def delays(ref: str, ends: Sequence[float], final: str, times: Sequence[float]) -> list[float]:
    """Seconds of delay of each correct word.

    ends: of the words of the reference. times: of those of the final text, from `emitted`. Negative: the word
    was shown before its end.
    """
    found = []
    in_ref = in_final = 0
    for pair in align(ref, final):
        if pair.mark == "C":
            found.append(times[in_final] - ends[in_ref])
        in_ref += pair.mark != "I"
        in_final += pair.mark != "D"
    return found
