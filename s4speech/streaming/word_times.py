"""When each word was said and how sure the model is, from CTC forced alignment."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from s4speech.streaming.transcript import Word
from s4speech.text.tokenizer import BLANK, Tokenizer

# CTC marks a token for a frame or two and is silent until the next one. A word is taken to last until the
# next begins, but not longer than this after its last mark, or a pause would belong to the word before it.
_LONGEST_TAIL_S = 0.2


def word_times(
    log_probs: Tensor, tokens: Sequence[int], tokenizer: Tokenizer, frame_shift_s: float, offset_s: float
) -> tuple[Word, ...]:
    """Place the words of ``tokens`` in one window of audio.

    log_probs: (T, V) natural logs, the window's valid frames only. offset_s: where the window starts.
    Times are in seconds of the recording, never decreasing. The confidence of a word is the geometric mean of
    the posteriors of its frames. Tokens that cannot be aligned (more than there are frames, as when the
    decoder repeats itself) are spread evenly, with confidence 0.
    """
    groups = tokenizer.words(tokens)
    if not groups:
        return ()
    spans = _token_spans(log_probs, tokens)
    if spans is None:
        share = len(log_probs) * frame_shift_s / len(tokens)
        return tuple(
            Word(text, offset_s + where.start * share, offset_s + where.stop * share, 0.0)
            for text, where in groups
        )
    starts = [spans[where.start][0] for _, where in groups] + [len(log_probs)]
    words = []
    for index, (text, where) in enumerate(groups):
        marked = spans[where]
        tail = min(starts[index + 1] * frame_shift_s, marked[-1][1] * frame_shift_s + _LONGEST_TAIL_S)
        frames = sum(end - start for start, end, _ in marked)
        confidence = torch.tensor(sum(score for _, _, score in marked) / frames).exp().clamp(max=1.0)
        words.append(
            Word(text, offset_s + starts[index] * frame_shift_s, offset_s + tail, round(confidence.item(), 4))
        )
    return tuple(words)


def _token_spans(log_probs: Tensor, tokens: Sequence[int]) -> list[tuple[int, int, float]] | None:
    """Return (first frame, frame after the last, sum of log posteriors) of each token; None if too many."""
    # Two equal tokens in a row need a blank between them.
    repeats = sum(one == two for one, two in pairwise(tokens))
    if len(log_probs) < len(tokens) + repeats or min(tokens) <= BLANK:
        return None
    targets = torch.tensor([list(tokens)], dtype=torch.int32, device=log_probs.device)
    labels, scores = forced_align(log_probs.float().unsqueeze(0), targets, blank=BLANK)
    spans: list[tuple[int, int, float]] = []
    before = BLANK
    for frame, (label, value) in enumerate(zip(labels[0].tolist(), scores[0].tolist(), strict=True)):
        if label != BLANK:
            if label != before:
                spans.append((frame, frame + 1, value))
            else:
                start, _, total = spans[-1]
                spans[-1] = (start, frame + 1, total + value)
        before = label
    return spans
