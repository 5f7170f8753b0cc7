"""Training of the aligner with Lightning."""

from torch import Tensor

from s4speech.config.tts import SpeechTrainConfig
from s4speech.data.speech import SpeechBatch
from s4speech.models.tts.aligner import Aligner, forward_sum_loss
from s4speech.train.speech import SpeechTask


class AlignerTask(SpeechTask):
    """The forward-sum loss. The model itself knows nothing of Lightning."""

    model: Aligner

    def __init__(self, model: Aligner, config: SpeechTrainConfig, planned_s: float, hop_s: float) -> None:
        super().__init__(config, planned_s, hop_s)
        self.model = model

    def losses(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Forward-sum loss of a batch."""
        log_probs = self.model(batch.tokens, batch.token_lengths, batch.mel, batch.lengths, batch.speaker)
        return {"forward_sum": forward_sum_loss(log_probs, batch.token_lengths, batch.lengths)}
