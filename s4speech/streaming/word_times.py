"""When each word was said and how sure the model is, from CTC forced alignment."""

from collections.abc import Sequence

from torch import Tensor

from s4speech.config.streaming import Calibration
from s4speech.models.asr.triggers import token_spans
from s4speech.streaming.confidence import confidence
from s4speech.streaming.transcript import Word
from s4speech.text.tokenizer import Tokenizer

# CTC marks a token for a frame or two and is silent until the next one. A word is taken to last until the
# next begins, but not longer than this after its last mark, or a pause would belong to the word before it.
_LONGEST_TAIL_S = 0.2
_NONE = Calibration()


def word_times(
    log_probs: Tensor,
    tokens: Sequence[int],
    tokenizer: Tokenizer,
    frame_shift_s: float,
    offset_s: float,
    *,
    places: Sequence[int] | None = None,
    calibration: Calibration = _NONE,
) -> tuple[Word, ...]:
    """Place the words of ``tokens`` in one window of audio.

    log_probs: (T, V) natural logs, the window's valid frames only. offset_s: where frame 0 of the recording
    is. places: the number of each frame in the recording, where they are not 0 .. T - 1. Times are in seconds
    of the recording, never decreasing. The confidence of a word is its geometric mean posterior over its
    frames, calibrated. Tokens that cannot be aligned (more than there are frames, as when the decoder repeats
    itself) are spread evenly, with confidence 0.
    """
    groups = tokenizer.words(tokens)
    if not groups:
        return ()
    places = range(len(log_probs)) if places is None else places
    spans = token_spans(log_probs, tokens)
    if spans is None:
        first = places[0] if len(places) else 0
        share = (places[-1] + 1 - first if len(places) else 0) / len(tokens)
        return tuple(
            Word(
                text,
                offset_s + (first + where.start * share) * frame_shift_s,
                offset_s + (first + where.stop * share) * frame_shift_s,
                0.0,
            )
            for text, where in groups
        )
    starts = [places[spans[where.start].first] for _, where in groups] + [places[-1] + 1]
    words = []
    for index, (text, where) in enumerate(groups):
        marked = spans[where]
        end = (places[marked[-1].last] + 1) * frame_shift_s + _LONGEST_TAIL_S
        frames = sum(span.last + 1 - span.first for span in marked)
        words.append(
            Word(
                text,
                offset_s + starts[index] * frame_shift_s,
                offset_s + min(starts[index + 1] * frame_shift_s, end),
                confidence(sum(span.log_prob for span in marked) / frames, calibration),
            )
        )
    return tuple(words)
