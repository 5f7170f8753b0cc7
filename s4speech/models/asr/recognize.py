"""From features to hypotheses: what the decode stage of the recipe and the `Recognizer` share."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from s4speech.models.asr.decoder import FrozenDecoder
from s4speech.models.asr.model import ASRModel
from s4speech.search import Hypothesis, Scorer, ctc_greedy, ctc_prefix_beam, joint_beam_search
from s4speech.text.tokenizer import EOS, SOS

Method = Literal["ctc_greedy", "ctc_prefix_beam", "joint"]


class Heard(NamedTuple):
    """What a search reads. memory: (B, T, D); lengths: (B,) frames; log_probs: (B, T, V) of CTC."""

    memory: Tensor
    lengths: Tensor
    log_probs: Tensor


@torch.inference_mode()
def hear(model: ASRModel, features: Tensor, lengths: Tensor) -> Heard:
    """Log-mel (B, T, n_mels), frames (B,) -> encoder output and CTC posteriors."""
    memory, lengths = model.encode(features, lengths)
    return Heard(memory, lengths, model.ctc_log_probs(memory))


@torch.inference_mode()
def search(
    method: Method,
    decoder: FrozenDecoder,
    heard: Heard,
    *,
    beam: int,
    ctc_weight: float,
    nbest: int = 1,
    lm: tuple[Scorer, float] | None = None,
    length_bonus: float = 0.0,
) -> list[list[Hypothesis]]:
    """Up to nbest hypotheses an utterance, best first; ctc_greedy has one.

    Only joint reads ctc_weight, lm (a language model and its weight) and length_bonus: see
    `joint_beam_search`.

    Raises ValueError: an option out of range, or a score that is NaN.
    """
    memory, lengths, log_probs = heard
    if method == "ctc_greedy":
        return [[best] for best in ctc_greedy(log_probs, lengths)]
    if method == "ctc_prefix_beam":
        return ctc_prefix_beam(log_probs, lengths, beam=beam, nbest=nbest)
    return joint_beam_search(
        decoder.bind(memory, lengths),
        log_probs,
        lengths,
        sos=SOS,
        eos=EOS,
        beam=beam,
        ctc_weight=ctc_weight,
        nbest=nbest,
        lm=lm,
        length_bonus=length_bonus,
    )
