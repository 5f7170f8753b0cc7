"""Search: CTC greedy and prefix beam, CTC prefix scores, joint CTC/attention beam search, frame by frame."""

from s4speech.search.beam import joint_beam_search
from s4speech.search.ctc import CTCPrefixScorer, CTCPrefixState, ctc_greedy, ctc_prefix_beam
from s4speech.search.frame_sync import Answer, Ask, FrameSyncSearch, run
from s4speech.search.hotwords import Hotwords, Phrase, read_hotwords
from s4speech.search.hypothesis import Hypothesis, Scorer
from s4speech.search.ngram import NgramLM
from s4speech.search.prefixes import Start

__all__ = [
    "Answer",
    "Ask",
    "CTCPrefixScorer",
    "CTCPrefixState",
    "FrameSyncSearch",
    "Hotwords",
    "Hypothesis",
    "NgramLM",
    "Phrase",
    "Scorer",
    "Start",
    "ctc_greedy",
    "ctc_prefix_beam",
    "joint_beam_search",
    "read_hotwords",
    "run",
]
