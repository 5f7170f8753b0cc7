"""When CTC says each token: the frames around which the decoder looks.

(Triggered attention: Moritz et al. 2019, "Triggered attention for end-to-end speech recognition".)
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from s4speech.text.tokenizer import BLANK, EOS


class Span(NamedTuple):
    """Where a token is said: frames first to last, log_prob summed over them, peak where it is greatest."""

    first: int
    last: int
    log_prob: float
    peak: int


def token_spans(log_probs: Tensor, tokens: Sequence[int]) -> list[Span] | None:
    """CTC forced alignment: log_probs (T, V) natural logs -> the frames of each token.

    None when there is no alignment: more tokens than frames, or a blank among them.
    """
    # Two equal tokens in a row need a blank between them.
    repeats = sum(one == two for one, two in pairwise(tokens))
    if not tokens or len(log_probs) < len(tokens) + repeats or min(tokens) <= BLANK:
        return None
    targets = torch.tensor([list(tokens)], dtype=torch.int32, device=log_probs.device)
    labels, scores = forced_align(log_probs.float().unsqueeze(0), targets, blank=BLANK)
    spans: list[Span] = []
    before, best = BLANK, 0.0
    for frame, (label, value) in enumerate(zip(labels[0].tolist(), scores[0].tolist(), strict=True)):
        if label != BLANK:
            if label != before:
                spans.append(Span(frame, frame, value, frame))
                best = value
            else:
                old = spans[-1]
                peak, best = (frame, value) if value > best else (old.peak, best)
                spans[-1] = Span(old.first, frame, old.log_prob + value, peak)
        before = label
    return spans


def trigger_frames(log_probs: Tensor, tokens: Sequence[int]) -> list[int]:
    """The frame of each token of a transcript in which <eos> may stand between segments.

    log_probs: (T, V). A token is triggered where its posterior peaks, an <eos> halfway to the next token.
    Where there is no alignment the tokens are spread evenly.
    """
    last = max(len(log_probs) - 1, 0)
    words = [token for token in tokens if token != EOS]
    spans = token_spans(log_probs, words)
    if spans is None:
        peaks = [round((i + 0.5) / max(len(words), 1) * last) for i in range(len(words))]
    else:
        peaks = [span.peak for span in spans]
    frames, read = [], 0
    for token in tokens:
        if token != EOS:
            frames.append(peaks[read])
            read += 1
        else:
            before = peaks[read - 1] if read else 0
            frames.append((before + (peaks[read] if read < len(peaks) else last)) // 2)
    return frames


def windows(frames: Tensor, lengths: Tensor, size: int, left: int, right: int, chunk: int | None) -> Tensor:
    """Which frames a token triggered at `frames` sees: (B, U), lengths (B,) -> (B, U, size) bool.

    From `left` before it to `right` after it, within the row and the chunk: what is later is not yet heard.
    """
    end = torch.minimum(frames + right, (lengths - 1).clamp(min=0).unsqueeze(1))
    if chunk is not None:
        end = torch.minimum(end, frames.div(chunk, rounding_mode="floor") * chunk + chunk - 1)
    index = torch.arange(size, device=frames.device)
    return (index >= (frames - left).unsqueeze(-1)) & (index <= end.unsqueeze(-1))
