"""The streaming search: a frame-synchronous CTC prefix beam in which every prefix owns its decoder state."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4speech.config.streaming import SearchOptions
from s4speech.layers.state import State
from s4speech.search.ctc import log_add
from s4speech.search.hotwords import Hotwords
from s4speech.search.hypothesis import Hypothesis, Scorer
from s4speech.search.prefixes import Extension, Prefix, StackedStates, Start, Tail
from s4speech.text.tokenizer import BLANK, EOS, SOS

_INF = math.inf


Answer = tuple[Tensor, State]  # log-probabilities (n, V) of the next token, new state of n rows


class Read(NamedTuple):
    """One batched step of a language model: tokens (n,) int64 that the n rows of `state` read."""

    lm: Scorer
    tokens: Tensor
    state: State

    def answer(self) -> Answer:
        """What the language model makes of them."""
        return self.lm.score(self.tokens, self.state)


class Ask(NamedTuple):
    """One batched decoder step that a search needs before it can go on.

    frame: encoder frame of the segment whose window the decoder sees. tokens: (n,) int64 that the n rows of
    `state` read. read: what it needs of its language model at the same time.
    """

    frame: int
    tokens: Tensor
    state: State
    read: Read | None = None


@dataclass(frozen=True)
class Answers:
    """To an Ask that has a `read`."""

    decoder: Answer
    lm: Answer


Asked = Ask | Read
Asking = Generator[Asked, Answer | Answers, None]


class FrameSyncSearch:
    """The live prefixes of one segment of one stream (triggered attention, Moritz et al. 2019). One owner.

    A token is proposed in the frames that give it at least `min_probability`; that frame is its trigger. All
    prefixes that propose then read their last token in one decoder step that sees the window of that frame;
    its log-probabilities score the children, which start from its state. So the state of a prefix is the one
    before its last token was read, and the score of token i is the decoder's after reading token i - 1 with
    the window of frames[i]. A frame that proposes nothing asks nothing.

    The first frame that proposes a token is often too early to see it. While a prefix has no live children,
    a frame that gives its last token more is its trigger instead: the decoder's score and state are replaced.
    Not so once that token is over and most paths are in a blank: then it is another token's frame.

    What could not enter the beam even if decoder and language model were certain of it is not asked about.

    Args:
        options: the weights and the beam.
        start: decoder state (1 row) before `token`, and that token; None, or decoder_weight 0: no decoder.
        lm: a language model over the vocabulary, read once a prefix; None, or lm_weight 0: none.
        lm_start: as `start`, for the language model; None: its init_state and SOS.
        hotwords: phrases that get a bonus.
        tail: how the segment before it ended; None: in a blank.
    """

    def __init__(
        self,
        options: SearchOptions,
        *,
        start: Start | None = None,
        lm: Scorer | None = None,
        lm_start: Start | None = None,
        hotwords: Hotwords | None = None,
        tail: Tail | None = None,
    ) -> None:
        self.n_frames = 0
        self._options = options
        self._threshold = math.log(options.min_probability) if options.min_probability > 0 else -_INF
        self._margin = _INF if options.margin is None else options.margin
        self._decoder = StackedStates(start) if start is not None and options.decoder_weight > 0 else None
        self._lm = lm if options.lm_weight > 0 else None
        if self._lm is not None:
            self._lm_start = lm_start or (self._lm.init_state(1), SOS)
            self._lm_states = StackedStates(self._lm_start)
        self._hotwords = hotwords
        last, in_blank, in_token = tail or (BLANK, 0.0, -_INF)
        self._live = [Prefix(last=last, in_blank=in_blank, in_token=in_token)]

    def advance(self, log_probs: NDArray[np.float64]) -> Asking:
        """Reads one encoder frame, (V,) CTC natural logs; yields once at most and wants the answer.

        It yields an Ask, or a Read where there is no decoder, so that one model call can answer many
        searches. It wants Answers to an Ask with a Read, an Answer otherwise. Run it to its end (see `run`)
        before anything else. Raises ValueError: a score that is NaN.
        """
        extensions = self._extend(log_probs)
        if extensions:
            parents = list(dict.fromkeys(extension.parent for extension in extensions))
            unread = self._unread(parents)
            read = self._reading(unread)
            answer: Answer | None = None
            heard: Answer | None = None
            if self._decoder is not None:
                rows = self._decoder.read(parents, [p.row for p in parents])
                reply = yield Ask(self.n_frames, *rows, read)
                if isinstance(reply, Answers):
                    answer, heard = reply.decoder, reply.lm
                else:
                    answer = reply
            elif read is not None:
                reply = yield read
                assert not isinstance(reply, Answers)
                heard = reply
            if heard is not None:
                self._hear(unread, heard)
            self._apply(extensions, parents, answer)
        elif self._margin < _INF:
            ranks = [prefix.total + prefix.rest for prefix in self._live]
            if min(ranks) < max(ranks) - self._margin:
                self._keep_best(list(self._live))
        self.n_frames += 1

    def hypotheses(self) -> list[Hypothesis]:
        """All live prefixes, best first; `frames` are the trigger frames. A part that is not used scores 0.

        The bonus of a hotword that is not finished yet is left out.
        """
        found = []
        for prefix in self._live:
            pending = self._hotwords.pending(prefix.node) if self._hotwords is not None else 0.0
            scores = {"ctc": prefix.total, "attention": prefix.attention, "lm": prefix.lm}
            scores["hotwords"] = prefix.bonus - pending
            score = prefix.total + prefix.rest - pending
            found.append(Hypothesis(list(prefix.tokens), score, scores, "frames", list(prefix.frames)))
        return sorted(found, key=lambda hypothesis: -hypothesis.score)

    def common_prefix(self) -> list[int]:
        """The tokens that all live prefixes begin with: they cannot change any more in this segment."""
        first, last = (choose(prefix.tokens for prefix in self._live) for choose in (min, max))
        same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return list(first[:same])

    def lm_start_after(self, tokens: Sequence[int]) -> Start | None:
        """`lm_start` of the next segment when a live hypothesis, its `tokens`, is what was said in this one.

        An empty one changes nothing. None without a language model. Raises ValueError: not live.
        """
        if self._lm is None:
            return None
        if not tokens:
            return self._lm_start
        prefix = self._find(tokens)
        if prefix is None:
            raise ValueError(f"tokens: got {list(tokens)}, want those of a live hypothesis")
        unread = self._unread([prefix])
        read = self._reading(unread)
        if read is not None:
            with torch.no_grad():
                self._hear(unread, read.answer())
        return self._lm_states.rows([prefix.lm_row]), EOS

    def tail_after(self, tokens: Sequence[int]) -> Tail | None:
        """`tail` of the next segment when `tokens` are what was said in this one; None: not live."""
        prefix = self._find(tokens)
        if prefix is None or prefix.total == -_INF:
            return None
        return Tail(prefix.last, prefix.in_blank - prefix.total, prefix.in_token - prefix.total)

    def _find(self, tokens: Sequence[int]) -> Prefix | None:
        return next((prefix for prefix in self._live if prefix.tokens == tuple(tokens)), None)

    def _extend(self, log_probs: NDArray[np.float64]) -> list[Extension]:
        """The CTC half of a frame: new masses; the extensions worth asking about, new triggers last."""
        if math.isnan(log_probs.max()):
            raise ValueError(f"frame {self.n_frames}: a CTC log-probability is not a number")
        live = self._live
        candidates = np.flatnonzero(log_probs >= self._threshold)
        candidates = candidates[(candidates != BLANK) & (candidates != EOS)]
        proposed = list(zip(candidates.tolist(), log_probs[candidates].tolist(), strict=True))
        log_blank = float(log_probs[BLANK])
        log_last = log_probs[[prefix.last for prefix in live]].tolist()

        new: list[Extension] = []
        moves: list[Extension] = []
        grown: list[tuple[Prefix, float]] = []
        for parent in live:
            for token, log_p in proposed:
                # A token equal to the last one is new only after a blank.
                mass = (parent.in_blank if token == parent.last else parent.total) + log_p
                if mass == -_INF:
                    continue
                child = parent.children.get(token)
                if child is None:
                    new.append(Extension(parent, token, mass, log_p, None))
                    continue
                grown.append((child, mass))
                going_on = child.in_token >= child.in_blank or mass > child.total
                if log_p > child.peak and going_on and not child.children:
                    moves.append(Extension(parent, token, mass, log_p, child))
        for prefix, log_p in zip(live, log_last, strict=True):
            prefix.in_blank, prefix.in_token = prefix.total + log_blank, prefix.in_token + log_p
        for child, mass in grown:
            child.in_token = log_add(child.in_token, mass)
        for prefix in live:
            prefix.total = log_add(prefix.in_blank, prefix.in_token)

        # A prefix that is about to trigger again may fall: it holds no place against the new ones.
        moving = {move.child for move in moves}
        ranks = sorted(prefix.total + prefix.rest for prefix in live if prefix not in moving)
        floor = ranks[-self._options.beam] if len(ranks) >= self._options.beam else -_INF
        floor = max(floor, max(ranks, default=-_INF) - self._margin)
        return [extension for extension in new if self._bound(extension) >= floor] + moves

    def _bound(self, extension: Extension) -> float:
        """The rank of an extension if decoder and language model give it probability 1."""
        parent = extension.parent
        gain = self._hotwords.step(parent.node, extension.token)[1] if self._hotwords is not None else 0.0
        return extension.mass + parent.rest + self._options.length_bonus + gain

    @torch.no_grad()
    def _apply(self, extensions: list[Extension], parents: list[Prefix], answer: Answer | None) -> None:
        """The rest: scores the extensions, given the decoder's answer to the parents, and keeps the best."""
        gains, rows = [0.0] * len(extensions), [0] * len(extensions)
        if self._decoder is not None and answer is not None:
            index = {parent: i for i, parent in enumerate(parents)}
            which = [index[extension.parent] for extension in extensions]
            gains = answer[0][which, [extension.token for extension in extensions]].tolist()
            first = self._decoder.append(answer[1])
            rows = [first + i for i in which]
        live = list(self._live)
        # New triggers are last: a prefix that gets one may have children of its old state in this frame.
        for (parent, token, mass, log_p, child), gain, row in zip(extensions, gains, rows, strict=True):
            if child is None:
                child = self._child(parent, token, mass)
                live.append(child)
            child.frames, child.peak = (*parent.frames, self.n_frames), log_p
            child.attention, child.row = parent.attention + gain, row
            child.rest = self._rest(child)
        self._keep_best(live)

    def _keep_best(self, live: list[Prefix]) -> None:
        """The best of these prefixes are live from now on."""
        live.sort(key=lambda prefix: prefix.total + prefix.rest, reverse=True)
        least = max(live[0].total + live[0].rest - self._margin, -sys.float_info.max)
        self._live = [live[0], *(p for p in live[1 : self._options.beam] if p.total + p.rest >= least)]

        by_tokens = {prefix.tokens: prefix for prefix in self._live}
        for prefix in self._live:
            prefix.children = {}
        for prefix in self._live:
            known = by_tokens.get(prefix.tokens[:-1])
            if known is not None and prefix.tokens:
                known.children[prefix.last] = prefix
        if self._decoder is not None:
            moved = self._decoder.keep(prefix.row for prefix in self._live)
            for prefix in self._live:
                prefix.row = moved[prefix.row]
        if self._lm is not None:
            moved = self._lm_states.keep(prefix.lm_row for prefix in self._live)
            for prefix in self._live:
                prefix.lm_row = moved[prefix.lm_row]

    def _child(self, parent: Prefix, token: int, mass: float) -> Prefix:
        """A new prefix without its decoder score."""
        child = Prefix((*parent.tokens, token), token, -_INF, mass, mass)
        child.lm, child.lm_row, child.bonus = parent.lm, parent.lm_row, parent.bonus
        if parent.lm_next is not None:
            child.lm += float(parent.lm_next[token])
        if self._hotwords is not None:
            child.node, bonus = self._hotwords.step(parent.node, token)
            child.bonus += bonus
        return child

    def _rest(self, prefix: Prefix) -> float:
        """What is added to the CTC mass for the rank."""
        options = self._options
        rest = options.decoder_weight * prefix.attention + options.lm_weight * prefix.lm
        if math.isnan(rest):
            raise ValueError(f"frame {self.n_frames}: a score of the decoder or the language model is NaN")
        return rest + options.length_bonus * len(prefix.tokens) + prefix.bonus

    def _unread(self, prefixes: Iterable[Prefix]) -> list[Prefix]:
        """Those whose last token the language model has yet to read."""
        return [prefix for prefix in prefixes if prefix.lm_next is None] if self._lm is not None else []

    def _reading(self, unread: list[Prefix]) -> Read | None:
        if not unread or self._lm is None:
            return None
        return Read(self._lm, *self._lm_states.read(unread, [prefix.lm_row for prefix in unread]))

    @torch.no_grad()
    def _hear(self, unread: list[Prefix], answer: Answer) -> None:
        """Gives prefixes what the language model makes of them."""
        log_probs, state = answer
        first = self._lm_states.append(state)
        for i, (prefix, row) in enumerate(zip(unread, log_probs.cpu().numpy(), strict=True)):
            prefix.lm_next, prefix.lm_row = row, first + i


def run(steps: Asking, answer: Callable[[Ask], Answer]) -> None:
    """Runs `FrameSyncSearch.advance` to its end, with `answer` for the decoder."""
    asked = next(steps, None)
    while asked is not None:
        reply: Answer | Answers
        if isinstance(asked, Read):
            reply = asked.answer()
        else:
            reply = answer(asked) if asked.read is None else Answers(answer(asked), asked.read.answer())
        try:
            asked = steps.send(reply)
        except StopIteration:
            return
