"""CTC searches, and the CTC prefix scores that a label-synchronous search adds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from s4speech.search.hypothesis import Hypothesis
from s4speech.text.tokenizer import BLANK

_INF = math.inf
# The smallest normal float64: what a probability of zero (log-probability -inf) is taken for, because the
# closed form of the forward recursion divides by products of probabilities.
_TINY = torch.finfo(torch.float64).tiny


def check_frames(log_probs: Tensor, lengths: Tensor) -> None:
    """Raises ValueError, naming the argument, unless these are (B, T, V) and (B,) with 0 <= lengths <= T."""
    if log_probs.dim() != 3:
        raise ValueError(f"log_probs: got shape {tuple(log_probs.shape)}, want (B, T, V)")
    if lengths.shape != log_probs.shape[:1] or lengths.is_floating_point():
        got = f"{lengths.dtype} {tuple(lengths.shape)}"
        raise ValueError(f"lengths: got {got}, want integers ({log_probs.shape[0]},)")
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= log_probs.shape[1]:
        raise ValueError(f"lengths: got {lengths.tolist()}, want 0 to {log_probs.shape[1]} frames")


@torch.no_grad()
def ctc_greedy(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """The labels of the most probable path (Graves et al. 2006, best path decoding).

    log_probs: (B, T, V) natural logs. lengths: (B,) valid frames; 0 gives an empty hypothesis.
    Returns one hypothesis an utterance: `score` is the log-probability of that path, `frames` where each
    token is most probable within its run. Raises ValueError: shapes that do not fit, naming the argument.
    """
    check_frames(log_probs, lengths)
    best, path = log_probs.max(dim=2)
    batch = zip(best.double().tolist(), path.tolist(), lengths.tolist(), strict=True)
    return [_collapse(values[:length], labels[:length]) for values, labels, length in batch]


def _collapse(values: list[float], labels: list[int]) -> Hypothesis:
    """Merges repeats and drops blanks; values are the log-probabilities of the labels, one a frame."""
    tokens: list[int] = []
    frames: list[int] = []
    previous = BLANK
    for frame, label in enumerate(labels):
        if label != BLANK and label != previous:
            tokens.append(label)
            frames.append(frame)
        elif label != BLANK and values[frame] > values[frames[-1]]:
            frames[-1] = frame
        previous = label
    score = math.fsum(values)
    return Hypothesis(tokens, score, {"ctc": score}, "frames", frames)


Prefix = tuple[int, ...]
Mass = tuple[float, float]  # log-probability of a prefix over paths that end in blank, and in its last token


@torch.no_grad()
def ctc_prefix_beam(
    log_probs: Tensor, lengths: Tensor, *, beam: int, nbest: int = 1, min_probability: float = 1e-4
) -> list[list[Hypothesis]]:
    """Time-synchronous prefix beam search (Graves 2012, section 7.5; Hannun et al. 2014, algorithm 1).

    log_probs: (B, T, V) natural logs. lengths: (B,) valid frames; 0 gives the empty hypothesis.
    beam: prefixes kept after each frame. nbest: hypotheses returned, at most, best first.
    min_probability: a token extends a prefix only in frames that give it at least this much; a frame's most
        probable token always may. With 0 and a beam that holds every prefix the scores are exact.
    Returns up to nbest hypotheses an utterance; `score` is the log-probability summed over the paths kept.
    Raises ValueError: an option out of range or shapes that do not fit, naming it.
    """
    check_frames(log_probs, lengths)
    if beam < 1:
        raise ValueError(f"beam: got {beam}, want at least 1")
    if not 1 <= nbest <= beam:
        raise ValueError(f"nbest: got {nbest}, want 1 to beam ({beam})")
    if not 0.0 <= min_probability < 1.0:
        raise ValueError(f"min_probability: got {min_probability}, want 0 <= p < 1")
    results = []
    for frames, length in zip(log_probs.double().cpu().numpy(), lengths.tolist(), strict=True):
        masses: dict[Prefix, Mass] = {(): (0.0, -_INF)}
        for frame in frames[:length]:
            grown = advance_prefixes(masses, frame, min_probability)
            masses = dict(sorted(grown.items(), key=lambda item: log_add(*item[1]), reverse=True)[:beam])
        ranked = sorted(((log_add(*mass), prefix) for prefix, mass in masses.items()), reverse=True)
        results.append([Hypothesis(list(p), score, {"ctc": score}, "frames") for score, p in ranked[:nbest]])
    return results


def advance_prefixes(
    masses: dict[Prefix, Mass], frame: np.ndarray[tuple[int], np.dtype[np.float64]], min_probability: float
) -> dict[Prefix, Mass]:
    """All prefixes reachable from these by one more frame, (V,) log-probabilities, with their masses."""
    threshold = math.log(min_probability) if min_probability > 0 else -_INF
    threshold = min(threshold, float(frame[1:].max(initial=-_INF)))
    tokens = [int(token) for token in np.flatnonzero(frame >= threshold) if token != BLANK]
    log_blank = float(frame[BLANK])
    new: dict[Prefix, Mass] = {}

    def add(prefix: Prefix, in_blank: float, in_token: float) -> None:
        old_blank, old_token = new.get(prefix, (-_INF, -_INF))
        new[prefix] = (log_add(old_blank, in_blank), log_add(old_token, in_token))

    for prefix, (in_blank, in_token) in masses.items():
        total = log_add(in_blank, in_token)
        last = prefix[-1] if prefix else BLANK
        # The prefix stays as it is: a blank, or its last token held for one more frame.
        add(prefix, total + log_blank, in_token + float(frame[last]) if prefix else -_INF)
        for token in tokens:
            # A token equal to the last one is new only after a blank.
            add((*prefix, token), -_INF, (in_blank if token == last else total) + float(frame[token]))
    return new


def log_add(x: float, y: float) -> float:
    """log(exp(x) + exp(y)) of two floats, -inf included."""
    low, high = (x, y) if x < y else (y, x)
    return high if low == -_INF else high + math.log1p(math.exp(low - high))


class CTCPrefixState(NamedTuple):
    """Forward variables of N prefixes; column t is after t frames. float64 natural logs, (N, T + 1) each."""

    in_token: Tensor  # r^n: paths that spell the prefix and end in its last token
    in_blank: Tensor  # r^b: paths that spell the prefix and end in blank
    last: Tensor  # (N,) int64 last token; BLANK for the empty prefix


class CTCPrefixScorer:
    """CTC prefix scores of all one-token extensions of all hypotheses (Watanabe et al. 2017, algorithm 2).

    The prefix score of h is log psi(h), psi(h) the probability of all label sequences that begin with h.
    Exact for the whole vocabulary, with no pre-selection and no loop over time:

        psi(h c) = sum_t phi_{t-1}(c) p_t(c),  phi_t(c) = r^b_t + r^n_t, or r^b_t if c is the last token of h

    is one matrix product over t, corrected in one column a row, and the forward variables of the extension
    that is then chosen are first-order linear recurrences with a closed form in cumulative sums
    (`_recurrence`).

    Float64 inside, whatever the input. An extension whose probability is less than e^-700 of its prefix's at
    its peak underflows to -inf; no search keeps those. An input probability of zero counts as e^-708.

    Args:
        log_probs: (B, T, V) natural logs, blank first. Frames beyond `lengths` may hold anything.
        lengths: (B,) valid frames, 0 to T.

    Raises:
        ValueError: shapes that do not fit, naming the argument.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor) -> None:
        check_frames(log_probs, lengths)
        self._lengths = lengths.to(log_probs.device)
        frames = torch.arange(log_probs.shape[1], device=log_probs.device)
        padding = frames >= self._lengths[:, None]
        # Only the probabilities are stored (8 B*T*V bytes): their log is the input to within an ulp.
        self._probs = log_probs.double().exp().clamp_(min=_TINY).masked_fill_(padding[:, :, None], 0.0)

    def keep(self, utterances: Tensor) -> CTCPrefixScorer:
        """The scorer of these utterances, (B',) int64 positions in the present batch, only."""
        kept = object.__new__(CTCPrefixScorer)
        kept._lengths = self._lengths[utterances]
        kept._probs = self._probs[utterances]
        return kept

    def init_state(self, batch: int) -> CTCPrefixState:
        """State of `batch` empty prefixes, utterance-major. Raises ValueError: batch no multiple of B."""
        utterances = len(self._lengths)
        if batch % max(utterances, 1):
            raise ValueError(f"batch: got {batch} rows, want a multiple of the {utterances} utterances")
        last = torch.full((batch,), BLANK, device=self._probs.device)
        in_blank = torch.nn.functional.pad(self._log_probs_of(last).cumsum(dim=1), (1, 0))
        return CTCPrefixState(torch.full_like(in_blank, -_INF), in_blank, last)

    def scores(self, state: CTCPrefixState) -> Tensor:
        """log psi of every prefix and one more token: (N, V) float64. The blank's column means nothing."""
        phi = torch.logaddexp(state.in_token, state.in_blank)[:, :-1]
        peak = phi.amax(dim=1, keepdim=True) if phi.shape[1] else phi.new_zeros(len(phi), 1)
        peak = peak.masked_fill(peak == -_INF, 0.0)
        weights = (phi - peak).exp_().view(len(self._lengths), -1, phi.shape[1])
        psi = torch.bmm(weights, self._probs).flatten(0, 1).log_().add_(peak)
        repeated = torch.logsumexp(state.in_blank[:, :-1] + self._log_probs_of(state.last), dim=1)
        return psi.scatter_(1, state.last[:, None], repeated[:, None])

    def end_scores(self, state: CTCPrefixState) -> Tensor:
        """Log-probability that each prefix is the whole transcript: (N,) float64."""
        after = self._lengths.repeat_interleave(len(state.last) // max(len(self._lengths), 1))[:, None]
        return torch.logaddexp(state.in_token.gather(1, after), state.in_blank.gather(1, after))[:, 0]

    def extend(self, state: CTCPrefixState, tokens: Tensor) -> CTCPrefixState:
        """State of every prefix extended by one token, (N,) int64."""
        repeats = (tokens == state.last)[:, None]
        total = torch.logaddexp(state.in_token, state.in_blank)
        in_token = _recurrence(self._log_probs_of(tokens), torch.where(repeats, state.in_blank, total))
        in_blank = _recurrence(self._log_probs_of(torch.full_like(tokens, BLANK)), in_token)
        return CTCPrefixState(in_token, in_blank, tokens)

    def _log_probs_of(self, tokens: Tensor) -> Tensor:
        """log p_t(token) of each row: (N,) -> (N, T). -inf in padding."""
        batch, frames, _ = self._probs.shape
        index = tokens.view(batch, 1, -1).expand(-1, frames, -1)
        return self._probs.gather(2, index).log_().transpose(1, 2).flatten(0, 1)


def _recurrence(log_p: Tensor, inflow: Tensor) -> Tensor:
    """r_0 = 0, r_t = p_t (r_{t-1} + inflow_{t-1}) for t = 1..T, in logs: (N, T), (N, T + 1) -> (N, T + 1).

    With P_t = p_1 ... p_t: r_t / P_t = r_{t-1} / P_{t-1} + inflow_{t-1} / P_{t-1}, a sum of positive terms.
    """
    log_p = log_p.clamp(
        min=math.log(_TINY)
    )  # padding: finite here, and beyond every frame that a score reads
    product = torch.nn.functional.pad(log_p.cumsum(dim=1), (1, 0))
    inside = product[:, 1:] + torch.logcumsumexp(inflow[:, :-1] - product[:, :-1], dim=1)
    return torch.nn.functional.pad(inside, (1, 0), value=-_INF)
