"""What state space layers are compared with: self-attention, LSTM, convolutions on the waveform."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from s4speech.layers.attention import check_heads, merge_heads, split_heads
from s4speech.layers.sequence import FrozenLayer, SequenceLayer, check_causal, frozen_copy, length_mask


class SelfAttention(SequenceLayer):
    """Multi-head self-attention over all frames (Vaswani et al. 2017), without any notion of position.

    Raises ValueError unless n_heads divides d_model.
    """

    def __init__(self, d_model: int, n_heads: int = 4) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.d_model, self.n_heads = d_model, n_heads
        self.project_in = nn.Linear(d_model, 3 * d_model)
        self.project_out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        q, k, v = (split_heads(part, self.n_heads) for part in self.project_in(x).chunk(3, -1))
        mask = None if lengths is None else length_mask(lengths, x.shape[1])[:, None, None]
        y: Tensor = self.project_out(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))
        return y

    def freeze(self, rate: float = 1.0) -> FrozenLayer:
        raise ValueError("bidirectional: got true, wanted false: only a causal layer has a state")


class LSTMState(NamedTuple):
    """hidden, cell: (B, D)."""

    hidden: Tensor
    cell: Tensor


class LSTM(SequenceLayer):
    """Long short-term memory; in both directions, each has half of the channels.

    Raises ValueError: both directions of an odd d_model.
    """

    def __init__(self, d_model: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        if bidirectional and d_model % 2:
            raise ValueError(f"d_model: got {d_model}, wanted an even number (bidirectional)")
        self.d_model, self.bidirectional = d_model, bidirectional
        hidden = d_model // 2 if bidirectional else d_model
        self.lstm = nn.LSTM(d_model, hidden, batch_first=True, bidirectional=bidirectional)
        with torch.no_grad():  # remember at first (Jozefowicz et al. 2015)
            for name, bias in self.lstm.named_parameters():
                if name.startswith("bias_ih"):
                    bias[hidden : 2 * hidden] = 1.0

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        if not self.bidirectional or lengths is None:
            y: Tensor = self.lstm(x)[0]
            return y
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return y

    def freeze(self, rate: float = 1.0) -> "FrozenLSTM":
        check_causal(self.bidirectional)
        return FrozenLSTM(self)


class FrozenLSTM(FrozenLayer):
    """The recurrent form."""

    def __init__(self, layer: LSTM) -> None:
        self.layer = frozen_copy(layer)

    def init_state(self, batch: int) -> LSTMState:
        zeros = next(self.layer.parameters()).new_zeros(batch, self.layer.d_model)
        return LSTMState(zeros, zeros)

    @torch.inference_mode()
    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        y, state = self.scan(x.unsqueeze(1), state)
        return y.squeeze(1), state

    @torch.inference_mode()
    def scan(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        if x.shape[1] == 0:
            return x, state
        before = (state.hidden.unsqueeze(0), state.cell.unsqueeze(0))
        lstm: nn.LSTM = self.layer.lstm
        y, (hidden, cell) = lstm(x, before)
        return y, LSTMState(hidden[0], cell[0])


class M5(nn.Module):
    """Convolutions on the waveform (Dai et al. 2017, arXiv 1610.00087, table 1), as features of a classifier.

    channels: of each block; kernel_size and stride are those of the first convolution, in samples. Each
    block is convolution, batch norm, ReLU, maximum over 4 frames; nothing is padded, so that a valid frame
    sees valid samples only. The sampling rate is built into the filters: another one is another input.
    """

    POOL = 4

    def __init__(
        self, channels: Sequence[int] = (128, 128, 256, 512), kernel_size: int = 80, stride: int = 4
    ) -> None:
        super().__init__()
        self.d_model = channels[-1]
        blocks: list[nn.Module] = []
        before = 1
        for number, width in enumerate(channels):
            size, step = (kernel_size, stride) if number == 0 else (3, 1)
            blocks += [nn.Conv1d(before, width, size, step), nn.BatchNorm1d(width), nn.ReLU()]
            blocks += [nn.MaxPool1d(self.POOL)]
            before = width
        self.net = nn.Sequential(*blocks)
        self.sizes = [(kernel_size, stride) if number == 0 else (3, 1) for number in range(len(channels))]

    def out_lengths(self, lengths: Tensor) -> Tensor:
        """Samples (B,) -> frames (B,); 0 where the input is too short for one."""
        for size, stride in self.sizes:
            lengths = ((lengths - size) // stride + 1).clamp(min=0) // self.POOL
        return lengths

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, 1) -> (B, frames, channels[-1]). Raises ValueError: T is too short for one frame."""
        if int(self.out_lengths(torch.tensor(x.shape[1]))) < 1:
            raise ValueError(f"T: got {x.shape[1]} samples, too short for one frame of M5")
        y: Tensor = self.net(x.transpose(1, 2))
        return y.transpose(1, 2)
