"""Speaking a sentence with an acoustic model of either kind, on its own or led by a recording."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from s4speech.data.speech import SpeechBatch, continuous_pitch
from s4speech.models.tts.autoregressive import AutoregressiveModel
from s4speech.models.tts.parallel import FrozenParallelModel, ParallelModel, phone_of_frame

AcousticModel = ParallelModel | AutoregressiveModel


class Said(NamedTuple):
    """mel (T, n_mels) log powers; f0 (T,) Hz without gaps; alignment (T, N): which token each frame is of."""

    mel: Tensor
    f0: Tensor
    alignment: Tensor


Speaker = Callable[[Tensor, int], Said]  # tokens (N,), number of the speaker


def speaker_of(model: AcousticModel) -> Speaker:
    """What speaks with a trained model."""
    if isinstance(model, ParallelModel):
        frozen = model.freeze()
        return lambda tokens, speaker: _parallel(frozen, tokens, speaker)
    step = model.freeze()

    def speak(tokens: Tensor, speaker: int) -> Said:
        (mel, f0, voiced), attention = step.generate(tokens, speaker)
        stretched = attention.repeat_interleave(model.config.stack, 0)[: mel.shape[1]]
        return Said(mel[0], continuous_pitch(f0[0] * voiced[0]), stretched)

    return speak


def _parallel(model: FrozenParallelModel, tokens: Tensor, speaker: int) -> Said:
    plan = model.plan(tokens, speaker)
    (mel, f0, _), _ = model.scan(plan, 0, plan.inputs.shape[1], model.init_state())
    phone = phone_of_frame(plan.durations.unsqueeze(0), mel.shape[1])[0]
    return Said(mel[0], f0[0], F.one_hot(phone, len(tokens)).float())


@torch.inference_mode()
def led(model: AcousticModel, batch: SpeechBatch) -> tuple[Tensor, Tensor]:
    """A batch of one recording -> mel (T, n_mels) and f0 (T,) that the model makes as in training: with the
    durations, pitch and energy of the recording, or its frames so far."""
    size = batch.mel.shape[1]
    if isinstance(model, ParallelModel):
        measured = model.measure(batch.mel, batch.f0, batch.voiced, batch.durations)
        frames, _ = model(batch.tokens, batch.token_lengths, batch.speaker, measured, batch.durations)
    else:
        before = model.previous(batch.mel, batch.f0, batch.voiced)
        frames = model(batch.tokens, batch.token_lengths, batch.speaker, before).frames
    return frames.mel[0, :size], frames.f0[0, :size]
