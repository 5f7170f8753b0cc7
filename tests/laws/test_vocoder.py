"""The laws of the vocoder: a stream cut anywhere is the whole, and nothing is heard before its time."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s4speech.config.tts import MelConfig, VocoderConfig
from s4speech.layers import select_rows
from s4speech.layers.state import map_state
from s4speech.models.vocoder.frozen import FrozenVocoder, VocoderState
from s4speech.models.vocoder.source import NOISE_SAMPLES
from s4speech.models.vocoder.vocoder import Vocoder, minimum_phase, overlap_add
from tests.oracles.compare import TOLERANCE, close, frames

MEL: dict[str, Any] = {"sample_rate": 8000, "n_fft": 32, "hop": 8, "n_mels": 6}
SMALL: dict[str, Any] = {"d_model": 16, "n_layers": 3, "d_ff": 24, "d_state": 4, "kernel_size": 3}
# lookahead shorter than, as long as and longer than what the windows wait for; the shape of the windows
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "default": ({}, 2),
    "no lookahead": ({}, 0),
    "longer lookahead": ({}, 5),
    "many hops": ({"n_fft": 64}, 2),
    "odd hop": ({"n_fft": 28, "hop": 7}, 2),
    "noise is cut inside a frame": ({"n_fft": 24, "hop": 6}, 1),
}


def build(name: str = "default", dtype: torch.dtype = torch.float64) -> Vocoder:
    torch.manual_seed(0)
    mel, ahead = VARIANTS[name]
    config = VocoderConfig(**SMALL, s4d_every=2, lookahead=ahead)
    model = Vocoder(MelConfig(**(MEL | mel)), config)
    torch.nn.init.normal_(model.head.weight, std=0.1)  # so that what the network says is heard
    model.set_statistics(torch.randn(6), torch.rand(6) + 0.5)
    model.noise_scale = 0.5 if name == "many hops" else 1.0
    return model.to(dtype).eval()


def speech(rows: int, t: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """mel, f0 of made-up utterances."""
    return frames(rows, t, 6, dtype=dtype), 150 * (0.3 * frames(rows, t, dtype=dtype, seed=2)).exp()


def spoken(frozen: FrozenVocoder, mel: Tensor, f0: Tensor, sizes: list[int]) -> list[Tensor]:
    """What comes out for each chunk, and at the end."""
    state, parts = frozen.init_state(len(mel)), []
    for m, f in zip(mel.split(sizes, 1), f0.split(sizes, 1), strict=True):
        samples, state = frozen.scan(m, f, state)
        parts.append(samples)
    return [*parts, frozen.finish(state)]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", VARIANTS)
def test_chunks_are_the_whole(name: str, dtype: torch.dtype) -> None:
    model = build(name, dtype)
    frozen = model.freeze()
    for t in (1, 2, 3, 20):
        mel, f0 = speech(2, t, dtype)
        wanted = model.whole(mel, f0)
        assert wanted.shape == (2, t * model.mel.hop)
        for sizes in ([t], [1] * t, [0, t // 2, 0, t - t // 2]):
            close(torch.cat(spoken(frozen, mel, f0, sizes), 1), wanted, TOLERANCE[dtype])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6), name=st.sampled_from(list(VARIANTS)))
def test_any_chunks_are_the_whole(sizes: list[int], name: str) -> None:
    sizes = [*sizes, 1]
    model = build(name)
    mel, f0 = speech(1, sum(sizes))
    close(torch.cat(spoken(model.freeze(), mel, f0, sizes), 1), model.whole(mel, f0), 1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_how_much_is_out_after_so_many_frames(name: str) -> None:
    """A frame waits for the lookahead or for its window's sources, whichever is longer; its samples for the
    beginning of the next window."""
    model = build(name)
    side, hop = model.side, model.mel.hop
    wait = max(model.config.lookahead, -(-(model.mel.n_fft - hop - side) // hop))
    sizes = [1, 0, 2, 1, 1, 1, 6, 3]
    mel, f0 = speech(1, sum(sizes))
    *parts, rest = spoken(model.freeze(), mel, f0, sizes)
    out = 0
    for fed, part in zip(itertools.accumulate(sizes), parts, strict=True):
        out += part.shape[1]
        assert out == max(0, (fed - wait) * hop - side)
    assert out + rest.shape[1] == sum(sizes) * hop


def test_the_first_samples_of_the_default_voice_need_four_frames() -> None:
    frozen = Vocoder(MelConfig(), VocoderConfig(**SMALL)).freeze()
    assert (frozen.lag, frozen.side) == (2, 384)
    mel, f0 = torch.zeros(1, 4, 80), torch.full((1, 4), 99.0)
    out = [frozen.scan(mel[:, :t], f0[:, :t], frozen.init_state())[0].shape[1] for t in (3, 4)]
    assert out == [0, 128]


def leaves(state: VocoderState) -> list[Tensor]:
    found: list[Tensor] = []
    map_state(lambda leaf: found.append(leaf) or leaf, state)  # type: ignore[func-returns-value]
    return found


@pytest.mark.parametrize("name", ["default", "no lookahead"])
def test_the_state_is_of_constant_size_and_keeps_no_chunk(name: str) -> None:
    frozen = build(name).freeze()
    before = state = frozen.init_state(2)
    for t in (1, 0, 50, 2):
        mel, f0 = speech(2, t)
        _, state = frozen.scan(mel, f0, state)
        assert [leaf.shape for leaf in leaves(state)] == [leaf.shape for leaf in leaves(before)]
        assert all(len(leaf) == 2 for leaf in leaves(state))
        own = (state.hidden, state.mel, state.last, state.sources, state.tail)
        assert all(leaf.untyped_storage().size() <= 2 * leaf.nbytes for leaf in own)


def test_scan_leaves_the_state_that_it_was_given() -> None:
    frozen = build().freeze()
    mel, f0 = speech(1, 12)
    _, state = frozen.scan(mel[:, :7], f0[:, :7], frozen.init_state())
    first, _ = frozen.scan(mel[:, 7:], f0[:, 7:], state)
    again, _ = frozen.scan(mel[:, 7:], f0[:, 7:], state)
    ends = [frozen.finish(state) for _ in range(2)]
    assert torch.equal(first, again) and torch.equal(*ends)


def test_nothing_fed_nothing_spoken() -> None:
    frozen = build().freeze()
    samples, state = frozen.scan(*speech(3, 0), frozen.init_state(3))
    assert samples.shape == (3, 0) and frozen.finish(state).shape == (3, 0)


def test_rows_are_independent_and_can_be_reordered() -> None:
    model = build()
    frozen = model.freeze()
    mel, f0 = speech(3, 20)
    alone = [torch.cat(spoken(frozen, mel[i : i + 1], f0[i : i + 1], [20]), 1)[0] for i in range(3)]
    _, state = frozen.scan(mel[:, :9], f0[:, :9], frozen.init_state(3))
    chosen = torch.tensor([2, 0])
    samples, state = frozen.scan(mel[chosen, 9:], f0[chosen, 9:], select_rows(state, chosen))
    rest = torch.cat([samples, frozen.finish(state)], 1)
    for row, i in enumerate(chosen.tolist()):
        close(rest[row], alone[i][-rest.shape[1] :], 1e-9)


def test_what_does_not_fit_is_refused() -> None:
    frozen = build().freeze()
    mel, f0 = speech(2, 4)
    with pytest.raises(ValueError, match=r"^mel, f0: got \(2, 4, 6\), \(2, 3\) for 2 rows"):
        frozen.scan(mel, f0[:, :3], frozen.init_state(2))
    with pytest.raises(ValueError, match=r"^mel, f0: got .* for 3 rows"):
        frozen.scan(mel, f0, frozen.init_state(3))
    state = frozen.init_state(2)
    with pytest.raises(ValueError, match="differently many frames"):
        frozen.scan(mel, f0, state._replace(fed=torch.tensor([0, 1])))


def test_later_training_does_not_reach_the_frozen_form() -> None:
    model = build(dtype=torch.float32)
    frozen = model.freeze()
    mel, f0 = speech(1, 9, torch.float32)
    wanted = model.whole(mel, f0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1.0
    close(torch.cat(spoken(frozen, mel, f0, [4, 5]), 1), wanted, 1e-4)


def test_the_noise_goes_on_where_it_was_and_begins_again_after_its_table() -> None:
    """With filters of 1 for the noise and 0 for the harmonics, the noise itself comes out."""
    model = build("noise is cut inside a frame")  # 65536 is no multiple of its hop
    hop = model.mel.hop
    count = NOISE_SAMPLES // hop + 9

    def white(hidden: Tensor, mel: Tensor) -> Any:
        ones = torch.ones(*mel.shape[:2], model.bins, dtype=mel.dtype)
        return type(model(*speech(1, 2)))(torch.zeros_like(ones).to(torch.complex128), ones)

    frozen = model.freeze()
    frozen.vocoder.filters = white  # type: ignore[method-assign]
    mel, f0 = speech(1, count)
    place = torch.arange(count * hop) % NOISE_SAMPLES
    samples = torch.cat(spoken(frozen, mel, f0, [1000, count - 1000]), 1)
    inner = slice(model.mel.n_fft, -model.mel.n_fft)  # at the ends windows overlap less
    close(samples[0, inner], model.noise[place][inner], 1e-6)  # the window was made in float32


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_the_vocoder_sees_no_further_than_its_lookahead(ahead: int) -> None:
    torch.manual_seed(0)
    model = Vocoder(MelConfig(**MEL), VocoderConfig(**SMALL, lookahead=ahead)).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    mel, f0 = speech(1, 30)
    changed, place = mel.clone(), 17
    changed[:, place] += 1.0
    with torch.no_grad():
        before, after = model(mel, f0), model(changed, f0)
    for one, other in zip(before, after, strict=True):
        apart = (one - other).abs().amax((0, 2))
        assert float(apart[: place - ahead].max()) == 0
        assert float(apart[place - ahead :].min()) > 1e-9 if ahead else float(apart[place]) > 1e-9


def test_at_the_end_the_last_frame_goes_on() -> None:
    model = build()
    mel, f0 = speech(1, 12)
    longer, f0_longer = (torch.cat([x, x[:, -1:].repeat_interleave(2, 1)], 1) for x in (mel, f0))
    with torch.no_grad():
        close(model(longer, f0_longer).unvoiced[:, :12], model(mel, f0).unvoiced, 1e-9)


def test_windows_add_up_to_what_was_analysed() -> None:
    for name in VARIANTS:
        model = build(name)
        samples = frames(2, 20 * model.mel.hop)
        again = overlap_add(model.synthesise(model.analyse(samples)), model.mel.hop)
        inner = slice(model.mel.n_fft, samples.shape[1] - model.mel.n_fft)
        close(again[:, model.side :][:, inner], samples[:, inner], 1e-6)


def test_overlap_add_is_a_sum() -> None:
    windows = frames(2, 5, 12)
    wanted = torch.zeros(2, 4 * 3 + 12, dtype=torch.float64)
    for i in range(5):
        wanted[:, 3 * i : 3 * i + 12] += windows[:, i]
    close(overlap_add(windows, 3), wanted, 1e-12)


def test_minimum_phase_has_the_phase_of_an_all_pole_filter() -> None:
    """1 / A(z) with its poles inside the circle is of minimum phase, so that its magnitude says its phase."""
    poles = torch.tensor([0.9 * 2.718281828**0.4j, 0.8 * 2.718281828**1.5j, 0.7 * 2.718281828**2.6j])
    response = 3.0 * torch.ones(513, dtype=torch.complex128)
    z = torch.exp(1j * torch.linspace(0, torch.pi, 513, dtype=torch.float64))
    for pole in poles.to(torch.complex128):
        response = response / ((1 - pole / z) * (1 - pole.conj() / z))
    close(torch.view_as_real(minimum_phase(response.abs().log())), torch.view_as_real(response), 1e-9)
    impulse = torch.fft.irfft(minimum_phase(response.abs().log()))
    assert float(impulse[512:].abs().max()) < 1e-9 * float(impulse.abs().max()), "it is causal"


def test_white_noise_in_white_noise_out_before_training() -> None:
    """The network starts at the envelope of its frames: noise is spoken as loud as they are."""
    torch.manual_seed(0)
    model = Vocoder(MelConfig(), VocoderConfig(**SMALL))
    torch.nn.init.zeros_(model.head.weight)
    level = 0.1
    mel = model.level + 2 * torch.tensor(level).log()
    with torch.no_grad():
        filters = model(mel.expand(1, 40, -1), torch.full((1, 40), 150.0))
    gain = 20 * (filters.unvoiced / level).log10()  # dB
    assert float(gain[..., 1:-1].abs().max()) < 0.1
    close(filters.voiced.abs(), filters.unvoiced, 1e-5)
    samples = model.whole(mel.expand(1, 200, -1), torch.full((1, 200), 150.0))[0, 1024:-1024]
    # harmonics and noise, each with the power of the frames
    assert float(samples.square().mean()) == pytest.approx(2 * level**2, rel=0.05)


def test_the_envelope_is_that_of_the_frames() -> None:
    """A tilted spectrum comes out tilted: real noise -> its frames -> the same spectrum within 1 dB."""
    from s4speech.audio.mel import MelFrames

    config = MelConfig()
    model = Vocoder(config, VocoderConfig(**SMALL))
    torch.nn.init.zeros_(model.head.weight)
    noise = frames(1, 400 * 256, dtype=torch.float32, seed=3)
    tilted = 0.05 * (noise + 0.7 * F.pad(noise, (1, 0))[:, :-1])  # |1 + 0.7 z^-1|: 15 dB
    mel = MelFrames(**config.model_dump()).frames(tilted).exp().mean(1, keepdim=True).log()
    with torch.no_grad():
        found = model(mel, torch.full((1, 1), 150.0)).unvoiced[0, 0]
    wanted = 0.05 * (1 + 0.7 * torch.exp(-1j * torch.linspace(0, torch.pi, 513))).abs()
    assert float((20 * (found / wanted).log10())[4:-4].abs().max()) < 1.0
