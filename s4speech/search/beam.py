"""Label-synchronous joint CTC/attention beam search, batched over utterances and hypotheses."""

from __future__ import annotations

import math
from bisect import insort
from typing import Any, Protocol

import torch
from torch import Tensor

from s4speech.layers.state import select_rows
from s4speech.search.ctc import CTCPrefixScorer
from s4speech.search.hypothesis import Hypothesis, Scorer
from s4speech.text.tokenizer import BLANK


@torch.no_grad()
def joint_beam_search(
    decoder: Scorer | None,
    ctc_log_probs: Tensor | None,
    lengths: Tensor,
    *,
    sos: int,
    eos: int,
    beam: int,
    ctc_weight: float,
    nbest: int = 1,
    lm: tuple[Scorer, float] | None = None,
    length_bonus: float = 0.0,
) -> list[list[Hypothesis]]:
    """Finds the transcripts h that maximise (Hori et al. 2017, one-pass decoding)

        (1 - ctc_weight) log p_att(h) + ctc_weight log p_ctc(h) + lm_weight log p_lm(h) + length_bonus |h|

    with log p_ctc the prefix score while h is unfinished. Hypotheses of all utterances advance together, one
    token a step; each carries its own scorer states, reordered with one `select_rows` a scorer and step. One
    ends where eos is among the `beam` best extensions of its utterance, and frees its place.

    There are no length constants. A transcript has at most as many tokens as its utterance has encoder frames
    (CTC can emit no more), after which only eos is allowed. An utterance stops as soon as no live hypothesis
    can still beat the worst of its nbest best ends: scores only fall, but for a bonus of length_bonus a frame
    left.

    Args:
        decoder: bound to the B utterances; unused, and may be None, with ctc_weight 1.
        ctc_log_probs: (B, T, V) natural logs, blank first; unused, and may be None, with ctc_weight 0.
        lengths: (B,) encoder frames. An utterance of 0 frames gets the empty hypothesis with score 0.
        sos, eos: token ids, which may be equal. Blank (0) and sos are never proposed.
        beam: live hypotheses an utterance.
        ctc_weight: 0 to 1.
        nbest: hypotheses returned an utterance, at most, best first; 1 to beam.
        lm: a language model over the same vocabulary and its weight >= 0.
        length_bonus: natural log added for each token.

    Returns:
        One non-empty list an utterance, in order. `scores` holds "attention", "ctc", "lm" that have weight.

    Raises:
        ValueError: an option out of range, shapes or vocabularies that do not fit, a score that is NaN.
    """
    if beam < 1:
        raise ValueError(f"beam: got {beam}, want at least 1")
    if not 1 <= nbest <= beam:
        raise ValueError(f"nbest: got {nbest}, want 1 to beam ({beam})")
    if not len(lengths):
        return []
    if ctc_log_probs is not None:
        lengths = lengths.to(ctc_log_probs.device)
    parts = _make_parts(decoder, ctc_log_probs, lengths, ctc_weight, lm, eos, beam)
    run = _Run(parts, lengths, sos, eos, beam, nbest, length_bonus)
    run.drop_finished(lengths > 0)
    while run.utterances:
        run.step()
    return run.ends


class _Part(Protocol):
    """One weighted term of the score for all N live hypotheses. Lives for one search; `_Run` drives it."""

    name: str
    weight: float
    totals: Tensor  # (N,) log-probability of each live hypothesis
    extended: Tensor  # (N, V) the same with one more token; eos ends it. Set by `propose`.
    droppable: bool  # whether `keep` works

    def propose(self, last: Tensor) -> Tensor:
        """Reads the last token of each hypothesis, (N,), and returns `extended`."""
        ...

    def select(self, rows: Tensor, tokens: Tensor) -> None:
        """The live hypotheses become these rows, each followed by a token."""
        ...

    def keep(self, utterances: Tensor, rows: Tensor) -> None:
        """Goes on with these utterances, and the rows that are theirs, only."""
        ...


class _LabelPart:
    """Attention decoder or language model."""

    extended: Tensor

    def __init__(self, name: str, weight: float, scorer: Scorer, totals: Tensor) -> None:
        self.name, self.weight, self.totals = name, weight, totals
        self.droppable = name == "lm" or hasattr(scorer, "keep")  # a decoder is bound to its utterances
        self._scorer = scorer
        self._state: Any = scorer.init_state(len(totals))

    def propose(self, last: Tensor) -> Tensor:
        log_probs, self._state = self._scorer.score(last, self._state)
        self.extended = self.totals[:, None] + log_probs
        return self.extended

    def select(self, rows: Tensor, tokens: Tensor) -> None:
        self.totals = self.extended[rows, tokens]
        self._state = select_rows(self._state, rows)

    def keep(self, utterances: Tensor, rows: Tensor) -> None:
        if hasattr(self._scorer, "keep"):
            self._scorer = self._scorer.keep(utterances)
        self.totals, self._state = self.totals[rows], select_rows(self._state, rows)


class _CTCPart:
    """CTC prefix scores. The state of a hypothesis already includes its last token."""

    extended: Tensor
    name = "ctc"
    droppable = True

    def __init__(self, weight: float, scorer: CTCPrefixScorer, eos: int, totals: Tensor) -> None:
        self.weight, self.totals = weight, totals
        self._scorer, self._eos = scorer, eos
        self._state = scorer.init_state(len(totals))

    def propose(self, last: Tensor) -> Tensor:
        self.extended = self._scorer.scores(self._state)
        self.extended[:, self._eos] = self._scorer.end_scores(self._state)
        return self.extended

    def select(self, rows: Tensor, tokens: Tensor) -> None:
        self.totals = self.extended[rows, tokens]
        self._state = self._scorer.extend(select_rows(self._state, rows), tokens)

    def keep(self, utterances: Tensor, rows: Tensor) -> None:
        self._scorer = self._scorer.keep(utterances)
        self.totals, self._state = self.totals[rows], select_rows(self._state, rows)


def _make_parts(
    decoder: Scorer | None,
    ctc_log_probs: Tensor | None,
    lengths: Tensor,
    ctc_weight: float,
    lm: tuple[Scorer, float] | None,
    eos: int,
    beam: int,
) -> list[_Part]:
    """The terms of the score that have weight. A term without is left out, for 0 * -inf is not a number."""
    if not 0.0 <= ctc_weight <= 1.0:
        raise ValueError(f"ctc_weight: got {ctc_weight}, want 0 to 1")
    totals = torch.zeros(len(lengths) * beam, dtype=torch.float64, device=lengths.device)
    parts: list[_Part] = []
    if ctc_weight < 1.0:
        if decoder is None:
            raise ValueError(f"decoder: got None, needed with ctc_weight {ctc_weight} < 1")
        parts.append(_LabelPart("attention", 1.0 - ctc_weight, decoder, totals))
    if ctc_weight > 0.0:
        if ctc_log_probs is None:
            raise ValueError(f"ctc_log_probs: got None, needed with ctc_weight {ctc_weight} > 0")
        parts.append(_CTCPart(ctc_weight, CTCPrefixScorer(ctc_log_probs, lengths), eos, totals))
    if lm is not None and lm[1] != 0.0:
        if lm[1] < 0.0:
            raise ValueError(f"lm: got weight {lm[1]}, want at least 0")
        parts.append(_LabelPart("lm", lm[1], lm[0], totals))
    return parts


class _Run:
    """The live hypotheses of the unfinished utterances, and the ends found so far. Lives for one search.

    Rows are utterance-major, `beam` an utterance, best first; a dead row has score -inf and is carried along.
    """

    def __init__(
        self, parts: list[_Part], lengths: Tensor, sos: int, eos: int, beam: int, nbest: int, bonus: float
    ) -> None:
        self.parts, self.eos, self.beam, self.nbest, self.bonus = parts, eos, beam, nbest, bonus
        self.ends: list[list[Hypothesis]] = [[] for _ in range(len(lengths))]
        self.utterances = list(range(len(lengths)))  # those still here, by position in the caller's batch
        self.limits = lengths
        self.banned = [BLANK] if sos == eos else [BLANK, sos]
        self.last = torch.full((len(lengths) * beam,), sos, device=lengths.device)
        self.prefixes = self.last.new_zeros(len(self.last), 0)
        self.scores = torch.full((len(lengths), beam), -math.inf, dtype=torch.float64, device=lengths.device)
        self.scores[:, 0] = 0.0  # one empty hypothesis, not `beam` equal ones
        for b in (lengths == 0).nonzero()[:, 0].tolist():
            self.ends[b].append(Hypothesis([], 0.0, {part.name: 0.0 for part in parts}, "limit"))

    def step(self) -> None:
        """Extends every live hypothesis by one token, stores those that end, drops finished utterances."""
        values, rows, tokens = self._best_extensions()
        is_end = tokens == self.eos
        self._store_ends(values[:, : self.beam], rows[:, : self.beam], is_end[:, : self.beam])
        # At most `beam` of the 2 * beam candidates are ends: a stable sort leaves the best others in front.
        order = is_end.to(torch.uint8).argsort(dim=1, stable=True)[:, : self.beam]
        self.scores = values.gather(1, order).masked_fill(is_end.gather(1, order), -math.inf)
        flat_rows, self.last = rows.gather(1, order).flatten(), tokens.gather(1, order).flatten()
        self.prefixes = torch.cat([self.prefixes[flat_rows], self.last[:, None]], dim=1)
        active = self._can_improve()
        # The states move only if somebody needs them.
        if active.any():
            for part in self.parts:
                part.select(flat_rows, self.last)
        self.drop_finished(active)

    def drop_finished(self, active: Tensor) -> None:
        """Takes finished utterances out of the batch, or lets their rows die if the decoder has no `keep`."""
        if active.all():
            return
        if active.any() and not all(part.droppable for part in self.parts):
            self.scores.masked_fill_(~active[:, None], -math.inf)
            return
        kept = active.nonzero()[:, 0]
        self.utterances = [self.utterances[b] for b in kept.tolist()]
        self.scores, self.limits = self.scores[kept], self.limits[kept]
        rows = (kept[:, None] * self.beam + torch.arange(self.beam, device=kept.device)).flatten()
        self.last, self.prefixes = self.last[rows], self.prefixes[rows]
        if self.utterances:
            for part in self.parts:
                part.keep(kept, rows)

    def _best_extensions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, extended rows and tokens of the best 2 * beam extensions of each utterance; (B, 2 beam)."""
        total = torch.zeros((), dtype=torch.float64, device=self.last.device)
        for part in self.parts:
            extended = part.propose(self.last)
            if total.dim() and extended.shape != total.shape:
                shapes = f"{tuple(extended.shape)}, others {tuple(total.shape)}"
                raise ValueError(f"{part.name}: got scores of shape {shapes}")
            total = total + part.weight * extended
        vocabulary, length = total.shape[1], self.prefixes.shape[1]
        if not BLANK < self.eos < vocabulary:
            raise ValueError(f"eos: got {self.eos}, want 1 to {vocabulary - 1}")
        end = total[:, self.eos] + self.bonus * length
        total += self.bonus * (length + 1)
        total.view(len(self.utterances), -1)[self.limits <= length] = -math.inf
        total[:, self.banned] = -math.inf
        total[:, self.eos] = end
        total[self.scores.flatten() == -math.inf] = -math.inf
        total = total.view(len(self.utterances), -1)
        values, index = total.topk(min(2 * self.beam, total.shape[1]), dim=1)
        if values.isnan().any():  # topk ranks them first
            bad = values.isnan().any(dim=1).nonzero()[0, 0]
            names = " or ".join(part.name for part in self.parts)
            raise ValueError(f"utterance {self.utterances[bad]}: a score of {names} is not a number")
        offset = torch.arange(0, len(self.last), self.beam, device=index.device)[:, None]
        return values, index // vocabulary + offset, index % vocabulary

    def _store_ends(self, values: Tensor, rows: Tensor, is_end: Tensor) -> None:
        """Keeps the candidates that end; where nothing can ever end, the best live one."""
        length = self.prefixes.shape[1]
        where = (is_end & (values > -math.inf)).nonzero(as_tuple=True)
        ended = rows[where]
        by_part = {part.name: part.extended[ended, self.eos].tolist() for part in self.parts}
        prefixes, limits = self.prefixes[ended].tolist(), self.limits[where[0]].tolist()
        for i, (b, value) in enumerate(zip(where[0].tolist(), values[where].tolist(), strict=True)):
            scores = {name: column[i] for name, column in by_part.items()}
            self._store(b, Hypothesis(prefixes[i], value, scores, "limit" if length >= limits[i] else "eos"))
        for b in (values[:, 0] == -math.inf).nonzero()[:, 0].tolist():
            if not self.ends[self.utterances[b]]:
                row = b * self.beam
                scores = {part.name: float(part.totals[row]) for part in self.parts}
                cut = Hypothesis(self.prefixes[row].tolist(), float(self.scores[b, 0]), scores, "limit")
                self._store(b, cut)

    def _store(self, b: int, hypothesis: Hypothesis) -> None:
        ends = self.ends[self.utterances[b]]
        insort(ends, hypothesis, key=lambda end: -end.score)
        del ends[self.nbest :]

    def _can_improve(self) -> Tensor:
        """Whether a live hypothesis of each utterance can still become one of its nbest: (B,) bool."""
        left = (self.limits - self.prefixes.shape[1]).clamp(min=0)
        bound = self.scores.amax(dim=1) + max(self.bonus, 0.0) * left
        ends = (self.ends[b] for b in self.utterances)
        worst = [best[-1].score if len(best) == self.nbest else -math.inf for best in ends]
        return bound > bound.new_tensor(worst)
