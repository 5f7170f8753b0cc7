"""Training of the autoregressive acoustic model with Lightning."""

import torch
import torch.nn.functional as F
from torch import Tensor

from s4speech.config.tts import SpeechTrainConfig
from s4speech.data.speech import SpeechBatch
from s4speech.layers.sequence import length_mask
from s4speech.models.tts.autoregressive import AutoregressiveModel, Decoded
from s4speech.models.tts.parallel import phone_of_frame
from s4speech.train.speech import SpeechTask

WEIGHTS = {"mel": 1.0, "mel_square": 0.5, "pitch": 0.3, "voicing": 0.2, "stop": 0.1}
STOP_WEIGHT = 10.0  # of the one last step against each of the others


class AutoregressiveTask(SpeechTask):
    """Teacher forcing: absolute and squared differences of frames, stop token, guided attention. The model
    itself knows nothing of Lightning."""

    model: AutoregressiveModel

    def __init__(
        self, model: AutoregressiveModel, config: SpeechTrainConfig, planned_s: float, hop_s: float
    ) -> None:
        super().__init__(config, planned_s, hop_s)
        self.model = model

    def losses(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Each weighted."""
        model = self.model
        previous = model.previous(batch.mel, batch.f0, batch.voiced)
        if self.training:
            previous = self.disturb(previous)
        decoded = model(batch.tokens, batch.token_lengths, batch.speaker, previous)
        losses = self.of_frames(decoded, batch) | {"stop": self.of_stop(decoded, batch)}
        losses = {name: WEIGHTS[name] * loss for name, loss in losses.items()}
        config = model.config
        away = distance(batch.durations, previous.shape[1], config.stack)
        guided = guided_attention_loss(
            decoded.attention, away, self._steps(batch, previous.shape[1]), config.guide_sigma
        )
        return losses | {"attention": config.guide_weight * guided}

    def disturb(self, previous: Tensor) -> Tensor:
        """Noise on what the decoder reads, and some steps of it gone: at synthesis it reads its own frames,
        which are never quite right."""
        config = self.model.config
        noisy = previous + config.noise * torch.randn_like(previous)
        kept = torch.rand(previous.shape[:2], device=previous.device) >= config.step_dropout
        return noisy * kept.unsqueeze(-1)

    def _steps(self, batch: SpeechBatch, size: int) -> Tensor:
        stack = self.model.config.stack
        return length_mask((batch.lengths + stack - 1) // stack, size)

    def of_frames(self, decoded: Decoded, batch: SpeechBatch) -> dict[str, Tensor]:
        """Frames against those of the recordings."""
        t, model = batch.mel.shape[1], self.model
        mask = length_mask(batch.lengths, t)
        mel, f0, voiced = (part[:, :t] for part in decoded.frames)
        apart = (model.normalize(mel) - model.normalize(batch.mel))[mask]
        pitch = (model.normalize_pitch(f0) - model.normalize_pitch(batch.f0)).abs()
        heard = batch.voiced + 0.05  # between voiced frames the line is a guess
        voicing = F.binary_cross_entropy_with_logits(voiced, batch.voiced, reduction="none")
        return {
            "mel": apart.abs().mean(),
            "mel_square": apart.square().mean(),
            "pitch": (pitch * heard)[mask].sum() / heard[mask].sum(),
            "voicing": voicing[mask].mean(),
        }

    def of_stop(self, decoded: Decoded, batch: SpeechBatch) -> Tensor:
        """Is this step the last one? The one that is counts as much as STOP_WEIGHT others."""
        steps = self._steps(batch, decoded.stop.shape[1])
        after = F.pad(steps, (0, 1))[:, 1:]
        last = (steps & ~after).float()
        weight = torch.tensor(STOP_WEIGHT, device=last.device)
        loss = F.binary_cross_entropy_with_logits(decoded.stop, last, pos_weight=weight, reduction="none")
        return loss[steps].mean()


def distance(durations: Tensor, steps: int, stack: int) -> Tensor:
    """durations (B, N) frames a token -> how many tokens each token is away from the nearest one that a step
    of `stack` frames speaks: (B, steps, N), 0 for those that it speaks."""
    phone = torch.unflatten(phone_of_frame(durations, steps * stack), 1, (steps, stack))
    first, last = phone[..., :1], phone[..., -1:]
    token = torch.arange(durations.shape[1], device=durations.device)
    away: Tensor = (first - token).clamp(min=0) + (token - last).clamp(min=0)
    return away


def guided_attention_loss(attention: Tensor, away: Tensor, steps: Tensor, sigma: float) -> Tensor:
    """Minus the log of the attention that is near the alignment, mean over layers, heads and valid steps.

    attention (n_layers, B, n_heads, U, N), away (B, U, N) tokens, steps (B, U) bool, sigma: how many tokens
    are near. As in Tachibana et al. 2018 (section 4.2) an attention is as wrong as 1 - exp(-away^2 / (2
    sigma^2)), but around the alignment of the recording, not the diagonal; and it is the logarithm of the
    rest that is maximised. Every head of every layer is guided, so that all of them can be held to one window
    at synthesis.
    """
    near = (-(away.float().square()) / (2 * sigma**2)).exp().unsqueeze(1)
    inside = (attention.float() * near).sum(-1).clamp(min=1e-6).log()  # (n_layers, B, n_heads, U)
    return -inside.mean((0, 2))[steps].mean()
