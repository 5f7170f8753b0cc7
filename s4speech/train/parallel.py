"""Training of the parallel acoustic model with Lightning."""

import torch.nn.functional as F
from torch import Tensor

from s4speech.config.tts import SpeechTrainConfig
from s4speech.data.speech import SpeechBatch
from s4speech.layers.sequence import length_mask
from s4speech.models.tts.norm import Frames
from s4speech.models.tts.parallel import ParallelModel, Prosody
from s4speech.train.speech import SpeechTask

WEIGHTS = {"mel": 1.0, "pitch": 0.3, "voicing": 0.2, "duration": 0.3, "phone_pitch": 0.1, "energy": 0.1}


class ParallelTask(SpeechTask):
    """Absolute differences of frames, squared ones of durations, pitch and energy of phones. The model itself
    knows nothing of Lightning."""

    model: ParallelModel
    # voicing and durations of so few texts are soon learnt by heart, while the frames still get better
    monitor = "valid/mel"

    def __init__(
        self, model: ParallelModel, config: SpeechTrainConfig, planned_s: float, hop_s: float
    ) -> None:
        super().__init__(config, planned_s, hop_s)
        self.model = model

    def losses(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Each weighted."""
        target = self.model.measure(batch.mel, batch.f0, batch.voiced, batch.durations)
        frames, predicted = self.model(
            batch.tokens, batch.token_lengths, batch.speaker, target, batch.durations
        )
        losses = self.of_frames(frames, batch) | self.of_phones(predicted, target, batch.token_lengths)
        return {name: WEIGHTS[name] * loss for name, loss in losses.items()}

    def of_frames(self, frames: Frames, batch: SpeechBatch) -> dict[str, Tensor]:
        """Frames against those of the recordings, where both have some."""
        t = batch.mel.shape[1]
        mask = length_mask(batch.lengths, t)
        mel, f0, voiced = (part[:, :t] for part in frames)
        normal = self.model.normalize
        apart = (normal(mel) - normal(batch.mel)).abs().mean(-1)
        pitch = (self.model.normalize_pitch(f0) - self.model.normalize_pitch(batch.f0)).abs()
        heard = batch.voiced + 0.05  # between voiced frames the line is a guess
        voicing = F.binary_cross_entropy_with_logits(voiced, batch.voiced, reduction="none")
        return {
            "mel": apart[mask].mean(),
            "pitch": (pitch * heard)[mask].sum() / heard[mask].sum(),
            "voicing": voicing[mask].mean(),
        }

    @staticmethod
    def of_phones(predicted: Prosody, target: Prosody, token_lengths: Tensor) -> dict[str, Tensor]:
        """Predictions against what was measured."""
        mask = length_mask(token_lengths, predicted.duration.shape[1])

        def error(a: Tensor, b: Tensor) -> Tensor:
            return F.mse_loss(a[mask], b[mask])

        return {
            "duration": error(predicted.duration, target.duration),
            "phone_pitch": error(predicted.pitch, target.pitch),
            "energy": error(predicted.energy, target.energy),
        }
