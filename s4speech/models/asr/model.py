"""The recognition model: log-mel front end, Conformer encoder, CTC head, attention decoder."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.audio.features import LogMel
from s4speech.config.asr import DecoderConfig, S4DecoderConfig
from s4speech.models.asr.decoder import Decoder, S4Decoder, TransformerDecoder
from s4speech.models.asr.encoder import ConformerEncoder
from s4speech.models.asr.streaming_encoder import StreamingEncoder
from s4speech.text.tokenizer import BLANK, EOS, SOS

IGNORED = -1


class Losses(NamedTuple):
    """Means over the batch: total to minimise, its parts, the decoder's token accuracy (teacher forced)."""

    total: Tensor
    ctc: Tensor
    attention: Tensor
    accuracy: Tensor


class ASRModel(nn.Module):
    """Joint CTC / attention model (Watanabe et al. 2017)."""

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        features: LogMel,
        encoder: ConformerEncoder | StreamingEncoder,
        decoder: Decoder,
        *,
        ctc_weight: float = 0.3,
        inter_ctc_weight: float = 0.3,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        if encoder.d_model != decoder.d_model:
            raise ValueError(f"decoder d_model: got {decoder.d_model}, encoder has {encoder.d_model}")
        self.features, self.encoder, self.decoder = features, encoder, decoder
        self.ctc = nn.Linear(encoder.d_model, decoder.vocab_size)
        self.ctc_weight, self.inter_ctc_weight = ctc_weight, inter_ctc_weight
        self.label_smoothing = label_smoothing
        self.register_buffer("mean", torch.zeros(features.n_mels))
        self.register_buffer("scale", torch.ones(features.n_mels))

    @property
    def frame_shift_s(self) -> float:
        """Seconds between two encoder frames."""
        return self.encoder.factor * self.features.hop / self.features.sample_rate

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Normalise features with these: mean, std (n_mels,) over the training data."""
        self.mean.copy_(mean)
        self.scale.copy_(std.clamp(min=1e-3).reciprocal())

    def normalize(self, features: Tensor) -> Tensor:
        """Log-mel -> zero mean, unit variance by band."""
        return (features - self.mean) * self.scale

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel (B, T, n_mels), frames (B,) -> memory (B, T', D), lengths (B,); too short a row gets 0."""
        short = max(0, self.encoder.subsampling.context - features.shape[1])
        encoded = self.encoder(F.pad(self.normalize(features), (0, 0, 0, short)), lengths)
        return encoded.frames, encoded.lengths

    def ctc_log_probs(self, memory: Tensor) -> Tensor:
        """memory (B, T, D) -> (B, T, V) float32."""
        logits: Tensor = self.ctc(memory)
        return logits.float().log_softmax(-1)

    def loss(self, normalized: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Losses:
        """normalized (B, T, n_mels), frames (B,), tokens (B, U) without <sos>/<eos>, their lengths (B,)."""
        encoded = self.encoder(normalized, lengths)
        ctc = self._ctc_loss(self.ctc_log_probs(encoded.frames), encoded.lengths, tokens, token_lengths)
        joint = ctc
        if encoded.inter:
            inter = [
                self._ctc_loss(self.ctc_log_probs(self.encoder.norm(frames)), n, tokens, token_lengths)
                for frames, n in encoded.inter
            ]
            joint = (1 - self.inter_ctc_weight) * ctc + self.inter_ctc_weight * torch.stack(inter).mean()
        if self.ctc_weight == 1:
            return Losses(joint, ctc.detach(), torch.zeros_like(ctc), torch.zeros_like(ctc))
        attention, accuracy = self._attention_loss(encoded.frames, encoded.lengths, tokens, token_lengths)
        total = self.ctc_weight * joint + (1 - self.ctc_weight) * attention
        return Losses(total, ctc.detach(), attention.detach(), accuracy)

    def _ctc_loss(self, log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """Negative log-likelihood a token, mean over the batch's tokens; log_probs (B, T, V)."""
        # an utterance with more tokens than frames has no alignment: it must not stop the training
        loss = F.ctc_loss(
            log_probs.transpose(0, 1),
            tokens,
            lengths,
            token_lengths,
            BLANK,
            reduction="sum",
            zero_infinity=True,
        )
        return loss / token_lengths.sum()

    def _attention_loss(
        self,
        memory: Tensor,
        lengths: Tensor,
        tokens: Tensor,
        token_lengths: Tensor,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        sos = tokens.new_full((len(tokens), 1), SOS)
        logits = self.decoder(torch.cat([sos, tokens], 1), memory, lengths, seen).float()
        targets = F.pad(tokens, (0, 1)).masked_fill(
            torch.arange(tokens.shape[1] + 1, device=tokens.device) > token_lengths.unsqueeze(1), IGNORED
        )
        targets.scatter_(1, token_lengths.unsqueeze(1), EOS)
        loss = F.cross_entropy(
            logits.flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
        )
        scored = targets != IGNORED
        accuracy = ((logits.argmax(-1) == targets) & scored).sum() / scored.sum()
        return loss, accuracy.detach()


def build_decoder(config: DecoderConfig, vocab_size: int) -> Decoder:
    """The decoder that a config names."""
    options = config.model_dump(exclude={"type"})
    if isinstance(config, S4DecoderConfig):
        return S4Decoder(vocab_size, **options)
    return TransformerDecoder(vocab_size, **options)
