"""The streaming recognition model: trained with windows around CTC triggers, used one chunk at a time."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s4speech.layers import select_rows
from s4speech.layers.attention import Memory
from s4speech.models.asr.decoder import BoundDecoder, Decoder, DecoderState, FrozenDecoder, stack
from s4speech.models.asr.model import ASRModel, Losses
from s4speech.models.asr.recognize import Heard
from s4speech.models.asr.streaming_encoder import StreamingEncoder
from s4speech.models.asr.triggers import trigger_frames, windows
from s4speech.text.tokenizer import EOS, SOS


class StreamingASRModel(ASRModel):
    """Joint CTC / attention model whose decoder sees, for each token, the frames around its CTC trigger.

    window: frames (left, right) of the trigger. A transcript may hold <eos> where utterances were joined: the
    decoder learns to go on after it with the state it has, CTC does not emit it.
    """

    encoder: StreamingEncoder

    def __init__(self, *args: object, window: tuple[int, int], **options: float) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.window = window

    def loss(self, normalized: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Losses:
        """normalized (B, T, n_mels), frames (B,), tokens (B, U) without <sos> and the last <eos>, (B,).

        In training each call draws a chunk size; otherwise the whole utterance is one chunk.
        """
        chunk = self.encoder.draw_chunk() if self.training else None
        encoded = self.encoder(normalized, lengths, chunk)
        rows = [row[:n].tolist() for row, n in zip(tokens, token_lengths.tolist(), strict=True)]
        spoken = [[token for token in row if token != EOS] for row in rows]
        targets = pad_sequence([tokens.new_tensor(row) for row in spoken], batch_first=True)
        target_lengths = token_lengths.new_tensor([len(row) for row in spoken])
        log_probs = self.ctc_log_probs(encoded.frames)
        ctc = self._ctc_loss(log_probs, encoded.lengths, targets, target_lengths)
        joint = ctc
        if encoded.inter:
            inter = [
                self._ctc_loss(self.ctc_log_probs(self.encoder.norm(frames)), n, targets, target_lengths)
                for frames, n in encoded.inter
            ]
            joint = (1 - self.inter_ctc_weight) * ctc + self.inter_ctc_weight * torch.stack(inter).mean()
        seen = self._windows(log_probs.detach(), encoded.lengths, rows, chunk)
        attention, accuracy = self._attention_loss(
            encoded.frames, encoded.lengths, tokens, token_lengths, seen
        )
        total = self.ctc_weight * joint + (1 - self.ctc_weight) * attention
        return Losses(total, ctc.detach(), attention.detach(), accuracy)

    def _windows(
        self, log_probs: Tensor, lengths: Tensor, rows: Sequence[list[int]], chunk: int | None
    ) -> Tensor:
        """The frames that each token and the last <eos> see: (B, U + 1, T) bool."""
        frames = [
            torch.tensor([*trigger_frames(one[:n], row), max(n - 1, 0)])
            for one, n, row in zip(log_probs, lengths.tolist(), rows, strict=True)
        ]
        triggers = pad_sequence(frames, batch_first=True).to(lengths.device)
        return windows(triggers, lengths, log_probs.shape[1], *self.window, chunk)

    def freeze(self) -> "StreamingModel":
        """What streams share: constants computed once, immutable, safe between threads."""
        return StreamingModel(self)


class Projected(NamedTuple):
    """Keys and values of the encoder frames for every decoder layer, each (B, n_heads, T, D / n_heads)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


class Start(NamedTuple):
    """Where a segment begins: the decoder's state (1 row) before it reads `token`."""

    state: DecoderState
    token: int


class TriggeredDecoder:
    """The decoder as a stream uses it: each token sees the frames around its CTC trigger. Immutable."""

    def __init__(self, decoder: Decoder, window: tuple[int, int]) -> None:
        self.frozen = FrozenDecoder(decoder)
        self.left, self.right = window

    @torch.inference_mode()
    def project(self, memory: Tensor) -> Projected:
        """memory (B, T, D) -> its keys and values in every layer; time is dim 2."""
        lengths = torch.full((len(memory),), memory.shape[1], device=memory.device)
        found = [layer.cross.project(memory, lengths) for layer in stack(self.frozen.decoder)]
        return Projected(tuple(m.keys for m in found), tuple(m.values for m in found))

    def init_state(self, batch: int) -> DecoderState:
        """State of `batch` rows before <sos>."""
        return self.frozen.init_state(batch)

    def start(self) -> Start:
        """The beginning of a stream."""
        return Start(self.init_state(1), SOS)

    def window(self, frame: int, n_frames: int) -> slice:
        """What a token triggered at `frame` sees of the n_frames heard so far."""
        return slice(max(frame - self.left, 0), min(frame + self.right + 1, n_frames))

    def score(
        self, tokens: Tensor, state: DecoderState, seen: Projected, valid: Tensor
    ) -> tuple[Tensor, DecoderState]:
        """One token a row: tokens (B K,), rows of a stream together; seen: B windows of W frames, of which
        `valid` (B, W) bool -> log-probs (B K, V) of the next token, new state."""
        return BoundDecoder(self.frozen, _memories(seen, valid[:, None, None])).score(tokens, state)

    @torch.inference_mode()
    def rescore(
        self,
        hypotheses: Sequence[Sequence[int]],
        log_probs: Tensor,
        projected: Projected,
        first: int,
        start: Start,
    ) -> list[float]:
        """log p(tokens, <eos>) of each hypothesis, all of its tokens at once, with the windows of training.

        log_probs: (T, V) of the segment, whose frame 0 is frame `first` of `projected` (1 row).
        """
        if not hypotheses:
            return []
        state = _expand(start.state, len(hypotheses))
        rows = [torch.tensor([start.token, *tokens]) for tokens in hypotheses]
        inputs = pad_sequence(rows, batch_first=True).to(log_probs.device)
        memories = self._known(hypotheses, log_probs, projected, first)
        found, _ = self.frozen.scan(inputs, state, memories)
        scores = []
        for row, tokens in zip(found, hypotheses, strict=True):
            targets = torch.tensor([*tokens, EOS], device=row.device)
            scores.append(float(row[: len(targets)].gather(1, targets.unsqueeze(1)).double().sum()))
        return scores

    @torch.inference_mode()
    def advance(
        self, tokens: Sequence[int], log_probs: Tensor, projected: Projected, first: int, start: Start
    ) -> Start:
        """Where the next segment begins after this one's tokens."""
        inputs = torch.tensor([[start.token, *tokens]], device=log_probs.device)
        memories = self._known([tokens], log_probs, projected, first)
        _, state = self.frozen.scan(inputs, start.state, memories)
        return Start(state, EOS)

    def _known(
        self, hypotheses: Sequence[Sequence[int]], log_probs: Tensor, projected: Projected, first: int
    ) -> tuple[Memory, ...]:
        """The memories of known transcripts, with the window of each of their tokens and of <eos>."""
        n = len(log_probs)
        frames = [torch.tensor([*trigger_frames(log_probs, t), max(n - 1, 0)]) for t in hypotheses]
        triggers = pad_sequence(frames, batch_first=True).to(log_probs.device) + first
        total = projected.keys[0].shape[2]
        lengths = torch.full((len(frames),), total, device=triggers.device)
        seen = windows(triggers, lengths, total, self.left, self.right, None)
        rows = Projected(*(tuple(x.expand(len(frames), -1, -1, -1) for x in part) for part in projected))
        return _memories(rows, seen.unsqueeze(1))


class StreamingModel:
    """A streaming model ready for use. Immutable: any number of streams and threads share one.

    A stream gives `hear` windows of `chunk * frame_samples + overlap_samples` samples that advance by
    chunk * frame_samples, so what is computed does not depend on how the audio arrived.
    """

    def __init__(self, model: StreamingASRModel) -> None:
        features = model.features
        self._model = model
        self._encoder = model.encoder.freeze()
        self.decoder = TriggeredDecoder(model.decoder, model.window)
        self.sample_rate: int = features.sample_rate
        self.vocab_size = model.decoder.vocab_size
        self.frame_shift_s = model.frame_shift_s
        self.frame_samples = model.encoder.factor * features.hop
        self.overlap_samples = (
            model.encoder.context - model.encoder.factor - 1
        ) * features.hop + features.window
        self.min_samples: int = features.window

    def init_state(self, batch: int) -> tuple[object, ...]:
        """The encoder's state of `batch` streams that have heard nothing."""
        return self._encoder.init_state(batch)

    @torch.inference_mode()
    def hear(self, samples: Tensor, state: tuple[object, ...]) -> tuple[Heard, tuple[object, ...]]:
        """One chunk of B streams: samples (B, S) float32 -> C frames of each, new state.

        S = C frame_samples + overlap_samples; the last chunk of a stream may have any S >= min_samples.
        """
        rows, size = samples.shape
        mel, _ = self._model.features(samples, torch.full((rows,), size, device=samples.device))
        memory, state = self._encoder.scan(self._model.normalize(mel), state)  # type: ignore[arg-type]
        lengths = torch.full((rows,), memory.shape[1], device=samples.device)
        return Heard(memory, lengths, self._model.ctc_log_probs(memory)), state

    @torch.inference_mode()
    def hear_whole(self, samples: Tensor, lengths: Tensor) -> Heard:
        """Whole recordings at full context: samples (B, S), lengths (B,)."""
        mel, frames = self._model.features(samples, lengths)
        memory, lengths = self._model.encode(mel, frames)
        return Heard(memory, lengths, self._model.ctc_log_probs(memory))


def _memories(projected: Projected, mask: Tensor) -> tuple[Memory, ...]:
    return tuple(Memory(k, v, mask) for k, v in zip(projected.keys, projected.values, strict=True))


def _expand(state: DecoderState, rows: int) -> DecoderState:
    """A state of one row for `rows` rows."""
    found: DecoderState = select_rows(state, state.position.new_zeros(rows))
    return found
