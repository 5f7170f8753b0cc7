"""The laws of the acoustic model: padding is not heard, and chunks of a plan are the convolution."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s4speech.config.tts import MelConfig, ParallelConfig, TextEncoderConfig
from s4speech.models.tts.norm import Frames
from s4speech.models.tts.parallel import BLOCK, ParallelModel, Plan, Prosody, phone_of_frame
from tests.oracles.compare import TOLERANCE, close, frames

SYMBOLS, MELS = 11, 5
ENCODER: dict[str, Any] = {"d_model": 16, "n_layers": 2, "d_state": 4, "kernel_size": 3, "dropout": 0.0}
DECODER: dict[str, Any] = {"d_model": 16, "n_layers": 2, "d_state": 4, "kernel_size": 3, "dropout": 0.0}


def build(stack: int = 2, dtype: torch.dtype = torch.float64) -> ParallelModel:
    torch.manual_seed(0)
    mel = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=MELS)
    model = ParallelModel(
        SYMBOLS,
        mel,
        ParallelConfig(encoder=TextEncoderConfig(**ENCODER), **DECODER, stack=stack),
        n_speakers=3,
    )
    torch.nn.init.constant_(model.duration.output.bias, 1.3)  # about three frames a phone
    model.set_statistics(torch.randn(MELS), torch.rand(MELS) + 0.5, torch.tensor([5.0, 0.3]))
    return model.to(dtype).eval()


def sentences(
    *lengths: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Prosody, Tensor]:
    """What `forward` reads, padded with what is no sentence."""
    rows, n = len(lengths), max(lengths)
    random = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, SYMBOLS, (rows, n), generator=random)
    durations = torch.randint(1, 6, (rows, n), generator=random)
    for row, length in enumerate(lengths):
        durations[row, length:] = 0
    prosody = Prosody(*frames(3, rows, n, dtype=dtype, seed=4))
    return tokens, torch.tensor(lengths), torch.arange(rows) % 3, prosody, durations


def row_of(found: tuple[Frames, Prosody], row: int, t: int, n: int) -> list[Tensor]:
    return [part[row, :t] for part in found[0]] + [part[row, :n] for part in found[1]]


@pytest.mark.parametrize("stack", [1, 2, 3])
def test_a_row_does_not_hear_its_padding_or_the_other_rows(stack: int) -> None:
    model = build(stack)
    tokens, lengths, speaker, prosody, durations = sentences(9, 4, 1)
    with torch.no_grad():
        together = model(tokens, lengths, speaker, prosody, durations)
        assert together[0].mel.shape[1] == -(-int(durations.sum(1).max()) // stack) * stack
        for row, n in enumerate(lengths.tolist()):
            one = slice(row, row + 1)
            alone = model(
                tokens[one, :n],
                lengths[one],
                speaker[one],
                Prosody(*(part[one, :n] for part in prosody)),
                durations[one, :n],
            )
            t = int(durations[row].sum())
            assert alone[0].mel.shape == (1, -(-t // stack) * stack, MELS)
            for got, wanted in zip(row_of(together, row, t, n), row_of(alone, 0, t, n), strict=True):
                close(got, wanted, 1e-9)


def test_speakers_sound_different() -> None:
    model = build()
    tokens, lengths, _, prosody, durations = sentences(6)
    with torch.no_grad():
        one, other = (model(tokens, lengths, torch.tensor([i]), prosody, durations)[0].mel for i in (0, 1))
    assert float((one - other).abs().max()) > 1e-3


def test_the_decoder_is_causal() -> None:
    model = build(stack=2)
    x = frames(1, 20, 16)
    changed = x.clone()
    changed[:, 12] += frames(1, 16, seed=2)
    with torch.no_grad():
        apart = (
            (model.frames(model.decoder(x)).mel - model.frames(model.decoder(changed)).mel).abs().amax((0, 2))
        )
    assert float(apart[:24].max()) == 0 and float(apart[24]) > 1e-6


def plan_of(model: ParallelModel, tokens: Tensor, durations: Tensor, prosody: Prosody) -> Plan:
    """A plan with the durations and the prosody of a recording."""
    with torch.no_grad():
        hidden = model.encoder(tokens, torch.tensor([tokens.shape[1]]), torch.tensor([0]))
        size = int(durations.sum())
        inputs = model.expand(hidden, prosody, durations, size + -size % model.config.stack)
    return Plan(inputs, durations[0], torch.zeros(inputs.shape[1] * model.config.stack))


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@settings(max_examples=8, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=5), stack=st.integers(1, 3))
def test_chunks_are_the_convolution(dtype: torch.dtype, sizes: list[int], stack: int) -> None:
    model = build(stack, dtype)
    tokens, lengths, speaker, prosody, durations = sentences(14, dtype=dtype)
    with torch.no_grad():
        wanted, _ = model(tokens, lengths, speaker, prosody, durations)
    frozen, plan = model.freeze(), plan_of(model, tokens, durations, prosody)
    steps = plan.inputs.shape[1]
    state, start, parts = frozen.init_state(), 0, []
    for size in [*sizes, steps]:
        made, state = frozen.scan(plan, start, min(start + size, steps), state)
        start = min(start + size, steps)
        parts.append(made)
    mel, f0, voiced = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    close(mel, wanted.mel, TOLERANCE[dtype])
    close(f0, wanted.f0, TOLERANCE[dtype])
    assert torch.equal(voiced, (wanted.voiced > 0).to(voiced.dtype))


@pytest.mark.parametrize("n", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 2])
def test_a_plan_is_what_forward_would_read(n: int) -> None:
    """Whatever the padding to blocks of tokens."""
    model = build(dtype=torch.float32)
    tokens, lengths, _, _, _ = sentences(n)
    plan = model.freeze().plan(tokens[0], speaker=2)
    with torch.no_grad():
        hidden = model.encoder(tokens, lengths, torch.tensor([2]))
        predicted = model.predict(hidden, lengths)
        size = plan.inputs.shape[1] * 2
        wanted = model.expand(hidden, predicted, plan.durations.unsqueeze(0), size)
    close(plan.inputs, wanted, 1e-5)
    assert plan.shift.shape == (size,) and not plan.shift.any()
    assert 0 <= size - int(plan.durations.sum()) < 2
    # rounding is carried on: everywhere the sum is that of the predictions
    wanted_sum = predicted.duration[0].expm1().clamp(min=1).cumsum(0)
    assert float((plan.durations.cumsum(0) - wanted_sum).abs().max()) <= 1.0


@pytest.mark.parametrize("slowness", [0.01, 0.5, 1.0, 2.0, 7.3])
def test_slowness_scales_the_durations_and_none_is_lost(slowness: float) -> None:
    model = build(dtype=torch.float32)
    tokens = sentences(40)[0][0]
    frozen = model.freeze()
    usual = frozen.plan(tokens).durations
    plan = frozen.plan(tokens, slowness=torch.full((40,), slowness))
    assert int(plan.durations.min()) >= 1
    if slowness >= 1:
        assert float(plan.durations.sum()) == pytest.approx(slowness * float(usual.sum()), rel=0.05)
    else:
        assert 40 <= int(plan.durations.sum()) < int(usual.sum())


def test_slowness_semitones_and_extra_frames_are_those_of_their_tokens() -> None:
    frozen = build(dtype=torch.float32).freeze()
    tokens = sentences(10)[0][0]
    usual = frozen.plan(tokens)
    slowness = torch.ones(10)
    slowness[3] = 5.0
    slow = frozen.plan(tokens, slowness=slowness).durations
    assert float(slow[3]) == pytest.approx(5.0 * float(usual.durations[3]), abs=3)
    assert float((slow - usual.durations)[[0, 1, 2, 4, 5, 6, 7, 8, 9]].abs().max()) <= 1

    extra = torch.zeros(10)
    extra[6] = 50.0
    longer = frozen.plan(tokens, extra=extra).durations
    assert (longer - usual.durations).tolist() == extra.long().tolist()

    semitones = torch.zeros(10)
    semitones[4] = 12.0
    higher = frozen.plan(tokens, semitones=semitones)
    phone = phone_of_frame(usual.durations.unsqueeze(0), len(higher.shift))[0]
    close(higher.shift.exp(), torch.where(phone == 4, 2.0, 1.0), 1e-6)
    assert torch.equal(higher.inputs, usual.inputs), "the frames are as they were"


def test_the_phone_of_each_frame() -> None:
    durations = torch.tensor([[2, 1, 0, 3], [1, 1, 0, 0]])
    found = phone_of_frame(durations, 8)
    # past the end it is the last one, but for the padding of the sentence
    assert found.tolist() == [[0, 0, 1, 3, 3, 3, 3, 3], [0, 1, 1, 1, 1, 1, 1, 1]]


def test_measured_are_the_means_of_the_frames_of_each_phone() -> None:
    model = build()
    _, lengths, _, _, durations = sentences(7, 3)
    t = int(durations.sum(1).max()) + 2
    mel = frames(2, t, MELS)
    f0 = 150 * (0.3 * frames(2, t, seed=5)).exp()
    voiced = (frames(2, t, seed=6) > 0).double()
    voiced[0, : int(durations[0, 0])] = 0.0  # a phone without voice
    found = model.measure(mel, f0, voiced, durations)
    for row, n in enumerate(lengths.tolist()):
        start = 0
        for phone in range(n):
            place = range(start, start + int(durations[row, phone]))
            start = place.stop
            bands = [
                (float(mel[row, i, k]) - float(model.mean[k])) / float(model.std[k])
                for i in place
                for k in range(MELS)
            ]
            pitches = [(float(f0[row, i].log()) - 5.0) / 0.3 for i in place]
            heard = [p for i, p in zip(place, pitches, strict=True) if voiced[row, i]] or pitches
            assert float(found.energy[row, phone]) == pytest.approx(sum(bands) / len(bands), abs=1e-6)
            assert float(found.pitch[row, phone]) == pytest.approx(sum(heard) / len(heard), abs=0.02)
            assert float(found.duration[row, phone].expm1()) == pytest.approx(len(place), rel=1e-6)


def test_every_parameter_learns() -> None:
    model = build().train()
    tokens, lengths, speaker, prosody, durations = sentences(9, 5, 7)
    made, predicted = model(tokens, lengths, speaker, prosody, durations)
    sum(part.square().sum() for part in (*made, *predicted)).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_the_encoder_does_not_learn_from_durations() -> None:
    model = build()
    tokens, lengths, speaker, _, _ = sentences(6)
    model.predict(model.encoder(tokens, lengths, speaker), lengths).duration.sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_frozen_forms_share_nothing_with_the_model() -> None:
    model = build(dtype=torch.float32)
    tokens = sentences(12)[0][0]
    frozen = model.freeze()
    plan = frozen.plan(tokens)
    before, _ = frozen.scan(plan, 0, plan.inputs.shape[1], frozen.init_state())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5
    again = frozen.plan(tokens)
    after, _ = frozen.scan(again, 0, again.inputs.shape[1], frozen.init_state())
    assert torch.equal(again.inputs, plan.inputs) and torch.equal(before.mel, after.mel)
