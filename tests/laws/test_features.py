"""Log-mel features: a stream cut anywhere gives the frames of the whole."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s4speech.audio.features import LogMel
from tests.oracles.compare import close, frames

SMALL = {"sample_rate": 1000, "n_mels": 5, "n_fft": 32}  # 25 samples every 10


def samples(*shape: int, seed: int = 1) -> Tensor:
    return 0.1 * frames(*shape, seed=seed)


def in_chunks(mel: LogMel, x: Tensor, places: list[int]) -> Tensor:
    state, parts = mel.init_state(len(x)), []
    for a, b in itertools.pairwise([0, *sorted(places), x.shape[1]]):
        y, state = mel.scan(x[:, a:b], state)
        parts.append(y)
        assert state.pending.shape[1] < mel.window + mel.hop
    return torch.cat(parts, 1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(total=st.integers(0, 300), data=st.data())
def test_chunks_are_the_whole(total: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, total), max_size=8))
    mel, x = LogMel(**SMALL).double(), samples(2, total)
    got = in_chunks(mel, x, places)
    assert got.shape[1] == int(mel.lengths(torch.tensor(total)))
    if total >= mel.window:
        close(got, mel(x, torch.tensor([total, total]))[0], 1e-9)


@pytest.mark.parametrize("size", [1, 7, 160, 400, 401, 4000])
def test_chunks_of_one_size_at_16_khz(size: int) -> None:
    mel, x = LogMel(), samples(1, 2000 if size == 1 else 9000).float()
    whole, n = mel(x, torch.tensor([x.shape[1]]))
    chunked = in_chunks(mel, x, list(range(size, x.shape[1], size)))
    assert chunked.shape == (1, int(n), 80)
    close(chunked, whole, 1e-4)


@pytest.mark.parametrize("options", [{}, SMALL, {"sample_rate": 8000, "window_s": 0.032, "hop_s": 0.016}])
def test_lengths(options: dict[str, float]) -> None:
    mel = LogMel(**options)  # type: ignore[arg-type]
    for total in range(mel.window + 3 * mel.hop + 2):
        wanted = len(range(0, total - mel.window + 1, mel.hop))  # windows that fit, counted
        assert int(mel.lengths(torch.tensor(total))) == wanted
        if total >= mel.window:
            features, n = mel(torch.zeros(1, total), torch.tensor([total]))
            assert features.shape[1] == int(n) == wanted


def test_padding_never_changes_valid_frames_and_padded_frames_are_zero() -> None:
    mel, x, lengths = LogMel(**SMALL).double(), samples(4, 200), torch.tensor([200, 131, 25, 24])
    wanted = [mel(x[i : i + 1, :n], torch.tensor([n]))[0][0] for i, n in enumerate(lengths[:3].tolist())]
    for row, n in enumerate(lengths.tolist()):
        x[row, n:] = 1e6 * samples(200 - n, seed=2)
    features, n = mel(x, lengths)
    assert n.tolist() == [18, 11, 1, 0]
    for row, alone in enumerate(wanted):
        close(features[row, : n[row]], alone, 1e-9)
    assert all(not features[row, n[row] :].any() for row in range(4))


def test_the_frames_are_what_they_say() -> None:
    """One frame from the definition in numpy; the filter bank is torchaudio's, so only its use is checked."""
    mel, x = LogMel().double(), samples(1, 1000)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(x[0, 320:720].numpy() * window, 512)) ** 2
    wanted = np.log(np.maximum(power @ mel.filterbank.double().numpy(), 1e-10))
    np.testing.assert_allclose(mel(x, torch.tensor([1000]))[0][0, 2].numpy(), wanted, rtol=1e-5)


def test_a_tone_is_in_its_band_and_silence_is_finite() -> None:
    mel = LogMel()
    t = torch.arange(1600) / 16000
    loudest = [
        int(mel(torch.sin(2 * math.pi * f * t)[None], torch.tensor([1600]))[0].mean(1).argmax())
        for f in (200, 1000, 4000)
    ]
    centres = (mel.filterbank * torch.linspace(0, 8000, 257)[:, None]).sum(0) / mel.filterbank.sum(0)
    assert [abs(float(centres[b]) / f - 1) < 0.1 for b, f in zip(loudest, (200, 1000, 4000), strict=True)]
    silence, _ = mel(torch.zeros(1, 1600), torch.tensor([1600]))
    assert torch.equal(silence, torch.full_like(silence, math.log(1e-10)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_fft": 256}, "n_fft: got 256"),
        ({"hop_s": 0.0}, r"hop_s: got 0\.0"),
        ({"hop_s": 0.05}, r"hop_s: got 0\.05"),
    ],
)
def test_an_invalid_option_is_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        LogMel(**options)  # type: ignore[arg-type]


def test_less_than_a_window_is_refused_offline() -> None:
    with pytest.raises(ValueError, match=r"^samples: got 399"):
        LogMel()(torch.zeros(1, 399), torch.tensor([399]))
