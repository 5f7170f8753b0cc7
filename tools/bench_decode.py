"""Milliseconds a token of joint beam search with the full S4 decoder, random weights.

    python tools/bench_decode.py --threads 2

Cost depends on sizes, not on what was learnt. The decoder is made to end after --tokens tokens exactly, so
every run does the same work. A step is timed from one decoder call to the next; "rest" is candidates, top-k,
bookkeeping and the reordering of states. The first steps warm up and are left out.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from s4speech.models.asr.decoder import S4Decoder, TransformerDecoder
from s4speech.search import CTCPrefixScorer, Scorer, joint_beam_search

WARM_UP = 5


class Clock:
    """Seconds by part and step; `begin` starts a step."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.parts: dict[str, list[float]] = {"decoder": [], "ctc": []}

    def begin(self) -> None:
        self.starts.append(time.perf_counter())
        for seconds in self.parts.values():
            seconds.append(0.0)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            if self.starts:
                self.parts[part][-1] += time.perf_counter() - start
            return result

        return wrapper

    def medians_ms(self) -> dict[str, float]:
        """Median over steps of each part, of the rest and of the whole, in milliseconds."""
        total = [b - a for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        steps = {part: seconds[: len(total)] for part, seconds in self.parts.items()}
        rest = [whole - sum(parts) for whole, *parts in zip(total, *steps.values(), strict=True)]
        table = {**steps, "rest": rest, "total": total}
        return {part: 1e3 * statistics.median(seconds[WARM_UP:]) for part, seconds in table.items()}


class EndsAfter:
    """A decoder that allows no end before `tokens` tokens, and nothing but the end then."""

    def __init__(self, scorer: Scorer, tokens: int, eos: int, clock: Clock) -> None:
        self.init_state, self.tokens, self.eos, self.clock = scorer.init_state, tokens, eos, clock
        self.timed_score = clock.timed("decoder", scorer.score)

    def score(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.clock.begin()
        log_probs, state = self.timed_score(tokens, state)
        end = torch.zeros(log_probs.shape[1], dtype=torch.bool)
        end[self.eos] = True
        over = len(self.clock.starts) > self.tokens
        return log_probs.masked_fill(~end if over else end, -math.inf), state


def measure(args: argparse.Namespace) -> tuple[dict[str, float], int]:
    """Median milliseconds a token by part, and the decoder's parameter count."""
    torch.manual_seed(0)
    make = {"s4": S4Decoder, "transformer": TransformerDecoder}[args.decoder]
    decoder = make(args.vocabulary, 512, 6, 8, 2048).eval()
    memory = torch.randn(args.batch, args.frames, 512)
    lengths = torch.full((args.batch,), args.frames)
    ctc_log_probs = torch.randn(args.batch, args.frames, args.vocabulary).log_softmax(-1)
    clock, eos = Clock(), args.vocabulary - 1
    scorer = EndsAfter(decoder.freeze().bind(memory, lengths), args.tokens, eos, clock)
    for name in ("scores", "end_scores", "extend"):
        setattr(CTCPrefixScorer, name, clock.timed("ctc", getattr(CTCPrefixScorer, name)))
    found = joint_beam_search(
        scorer, ctc_log_probs, lengths, sos=eos, eos=eos, beam=args.beam, ctc_weight=args.ctc_weight
    )
    lengths_found = {len(hypotheses[0].tokens) for hypotheses in found}
    if lengths_found != {args.tokens}:
        raise RuntimeError(f"wanted {args.tokens} tokens from every utterance, got {lengths_found}")
    return clock.medians_ms(), sum(p.numel() for p in decoder.parameters())


def main() -> None:
    """Parses the options, measures, prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--decoder", choices=["s4", "transformer"], default="s4")
    parser.add_argument("--batch", type=int, default=1, help="utterances decoded together")
    parser.add_argument("--beam", type=int, default=10)
    parser.add_argument("--frames", type=int, default=250, help="encoder frames of each utterance")
    parser.add_argument("--vocabulary", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--ctc-weight", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.tokens <= 2 * WARM_UP:
        parser.error(f"--tokens: got {args.tokens}, want more than {2 * WARM_UP}")
    torch.set_num_threads(args.threads)
    medians, parameters = measure(args)
    print(
        f"{args.decoder} decoder, {parameters / 1e6:.1f} M parameters, batch {args.batch}, beam {args.beam}, "
        f"{args.frames} frames, vocabulary {args.vocabulary}, {args.tokens} tokens, {args.threads} threads"
    )
    print(f"{'part':<10}{'ms/token':>10}{'per utterance':>16}")
    for part, milliseconds in medians.items():
        print(f"{part:<10}{milliseconds:>10.2f}{milliseconds / args.batch:>16.2f}")


if __name__ == "__main__":
    main()
