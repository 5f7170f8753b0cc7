"""The vocoder for streams: frames in, samples out as soon as no later frame changes them.

What a frame sounds like is known when the network has read `lookahead` frames more and the sources reach to
the end of its window; its samples are final when the next window begins after them. Nothing else waits, and
nothing grows with the stream: every buffer has its full size from the start, zeros before the first frame,
which is what the sources are there.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from s4speech.layers import State
from s4speech.layers.packed import pack_linears
from s4speech.layers.sequence import frozen_copy
from s4speech.models.vocoder.source import harmonics
from s4speech.models.vocoder.vocoder import Vocoder, overlap_add


class VocoderState(NamedTuple):
    """Between two chunks; all rows have read equally many frames.

    fed: (B,) frames read. network: of the S4D/convolution network. hidden (B, .., d_model), mel (B, lag,
    n_mels): of frames not spoken yet, the oldest first. last, phase: (B,) where the harmonics go on. sources:
    (B, 2, P) harmonics and noise that windows to come still reach. tail: (B, n_fft - hop) what earlier
    windows add to the samples to come.
    """

    fed: Tensor
    network: State
    hidden: Tensor
    mel: Tensor
    last: Tensor
    phase: Tensor
    sources: Tensor
    tail: Tensor


class FrozenVocoder:
    """A vocoder with its constants computed once; immutable, safe to share between threads.

    scan in any chunking, then finish == `Vocoder.whole`. After t frames max(0, (t - lag) hop - side) samples
    are out. lag: frames that a frame waits for.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self.vocoder = pack_linears(frozen_copy(vocoder))
        self.network = self.vocoder.network.freeze()
        mel = vocoder.mel
        self.hop, self.side, self.overlap = mel.hop, vocoder.side, mel.n_fft - mel.hop
        self.lag = max(vocoder.config.lookahead, -(-(self.overlap - self.side) // mel.hop))

    def init_state(self, batch: int = 1) -> VocoderState:
        """Of `batch` utterances before the first frame."""
        vocoder, zeros = self.vocoder, self.vocoder.mean.new_zeros
        waits = self.lag - vocoder.config.lookahead
        return VocoderState(
            torch.zeros(batch, dtype=torch.long, device=vocoder.mean.device),
            self.network.init_state(batch),
            zeros(batch, waits, vocoder.config.d_model),
            zeros(batch, self.lag, vocoder.mel.n_mels),
            zeros(batch),
            zeros(batch, dtype=torch.float64),
            zeros(batch, 2, self.side + self.lag * self.hop),
            zeros(batch, self.overlap),
        )

    @torch.inference_mode()
    def scan(self, mel: Tensor, f0: Tensor, state: VocoderState) -> tuple[Tensor, VocoderState]:
        """A chunk: mel (B, t, n_mels), f0 (B, t) Hz > 0, any t >= 0 -> samples now final (B, s), new state.

        Raises ValueError: the shapes do not fit, or rows of the state have read differently many frames.
        """
        fed = self._age(state)
        if f0.shape != mel.shape[:2] or len(mel) != len(state.fed):
            raise ValueError(
                f"mel, f0: got {tuple(mel.shape)}, {tuple(f0.shape)} for {len(state.fed)} rows of state"
            )
        frames = mel.shape[1]
        if frames == 0:
            return state.tail[:, :0], state
        hidden, network = self.network.scan(self.vocoder.embed(mel, f0), state.network)
        before = state.last if fed else f0[:, 0]
        pulses, phase = harmonics(f0, before, state.phase, self.hop, self.vocoder.mel.sample_rate)
        place = torch.arange(fed * self.hop, (fed + frames) * self.hop, device=mel.device)
        noise = self.vocoder.noise[place % len(self.vocoder.noise)].expand(len(mel), -1)
        state = state._replace(network=network, last=f0[:, -1].clone(), phase=phase)
        return self._speak(hidden, mel, torch.stack([pulses, noise], 1), state)

    @torch.inference_mode()
    def finish(self, state: VocoderState) -> Tensor:
        """The samples that are left, (B, s): with those before as many as frames times hop."""
        fed = self._age(state)
        if fed == 0:
            return state.tail[:, :0]
        # the network hears the last frame on and on; the sources are silent
        ahead = self.vocoder.config.lookahead
        again = self.vocoder.embed(state.mel[:, -1:], state.last.unsqueeze(1)).expand(-1, ahead, -1)
        hidden, _ = self.network.scan(again, state.network)
        hidden = F.pad(hidden, (0, 0, 0, self.lag - ahead))
        silence = state.sources.new_zeros(len(hidden), 2, self.lag * self.hop)
        samples, state = self._speak(hidden, torch.zeros_like(state.mel), silence, state)
        size = min(fed * self.hop, samples.shape[1] + self.side)
        return torch.cat([samples, state.tail[:, : self.side]], 1)[:, -size:]

    def _speak(
        self, hidden: Tensor, mel: Tensor, sources: Tensor, state: VocoderState
    ) -> tuple[Tensor, VocoderState]:
        """New frames take the place of as many that waited, and these are spoken, but for those before the
        first frame."""
        fed, frames = int(state.fed[0]), mel.shape[1]
        waiting = min(frames, max(0, fed + frames - self.lag))
        skip = frames - waiting
        hidden = torch.cat([state.hidden, hidden], 1)
        mel = torch.cat([state.mel, mel], 1)
        sources = torch.cat([state.sources, sources], 2)
        windows = state.tail.new_zeros(len(mel), 0, self.vocoder.mel.n_fft)
        if waiting:
            filters = self.vocoder.filters(hidden[:, skip:frames], mel[:, skip:frames])
            reached = sources[..., skip * self.hop :]
            cut = reached.unfold(2, self.vocoder.mel.n_fft, self.hop)[:, :, :waiting]
            pulses, noise = torch.fft.rfft(cut * self.vocoder.window).unbind(1)
            windows = self.vocoder.synthesise(filters.voiced * pulses + filters.unvoiced * noise)
        samples, tail = self._add(windows, state.tail)
        begun = min(waiting * self.hop, max(0, self.side - max(0, fed - self.lag) * self.hop))
        state = state._replace(
            fed=state.fed + frames,
            hidden=hidden[:, frames:].clone(),  # a slice would keep the whole chunk
            mel=mel[:, frames:].clone(),
            sources=sources[..., frames * self.hop :].clone(),
            tail=tail,
        )
        return samples[:, begun:], state

    def _add(self, windows: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """windows (B, n, n_fft) after `tail` -> n hops that are whole (B, n hop), and the new tail."""
        size = windows.shape[1] * self.hop
        if size == 0:
            return tail[:, :0], tail
        total = overlap_add(windows, self.hop)
        total[:, : self.overlap] += tail
        return total[:, :size], total[:, size:].clone()

    @staticmethod
    def _age(state: VocoderState) -> int:
        first, *others = state.fed.tolist()
        if any(age != first for age in others):
            raise ValueError("state: got rows that have read differently many frames, wanted equally many")
        return int(first)
