"""Search: CTC greedy and prefix beam, CTC prefix scores, joint CTC/attention beam search."""

from s4speech.search.beam import joint_beam_search
from s4speech.search.ctc import CTCPrefixScorer, CTCPrefixState, ctc_greedy, ctc_prefix_beam
from s4speech.search.hypothesis import Hypothesis, Scorer

__all__ = [
    "CTCPrefixScorer",
    "CTCPrefixState",
    "Hypothesis",
    "Scorer",
    "ctc_greedy",
    "ctc_prefix_beam",
    "joint_beam_search",
]
