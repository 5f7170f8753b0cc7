"""The laws of the autoregressive acoustic model: training is repeated step, a batch is its rows."""

import pytest
import torch
from torch import Tensor

from s4speech.config.tts import AutoregressiveConfig, MelConfig, TextEncoderConfig
from s4speech.models.tts.autoregressive import AutoregressiveModel, Step
from tests.oracles.compare import close, frames

MEL = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=6)
STACK = 3
N_SYMBOLS = 11
TOLERANCE = 1e-4

each_decoder = pytest.mark.parametrize("decoder", ["s4", "transformer"])


def make(decoder: str, seed: int = 0, **options: int) -> AutoregressiveModel:
    torch.manual_seed(seed)
    encoder = TextEncoderConfig(d_model=8, n_layers=1, d_state=4, kernel_size=3)
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24, "d_state": 4, "stack": STACK, **options}
    config = AutoregressiveConfig.model_validate({"decoder": decoder, "encoder": encoder, **sizes})
    model = AutoregressiveModel(N_SYMBOLS, MEL, config, n_speakers=2).eval()
    model.set_statistics(torch.linspace(-3, 1, 6), torch.linspace(0.5, 2, 6), torch.tensor([5.2, 0.25]))
    return model.requires_grad_(False)


def sentences() -> tuple[Tensor, Tensor, Tensor]:
    tokens = torch.randint(N_SYMBOLS, (3, 9), generator=torch.Generator().manual_seed(1))
    return tokens, torch.tensor([9, 5, 1]), torch.tensor([0, 1, 1])


def recorded(model: AutoregressiveModel, b: int, t: int) -> Tensor:
    """What the decoder reads of some recordings."""
    noise = frames(b, t, 8, dtype=torch.float32)
    return model.previous(noise[..., :6], noise[..., 6].exp() * 150, (noise[..., 7] > 0).float())


@each_decoder
def test_teacher_forcing_is_repeated_step(decoder: str) -> None:
    model = make(decoder)
    tokens, lengths, speaker = sentences()
    previous = recorded(model, 3, 40)
    whole = model(tokens, lengths, speaker, previous)
    frozen = model.freeze()
    memories, state = frozen.look(tokens, lengths, speaker), frozen.init_state(3)
    steps: list[Step] = []
    for i in range(previous.shape[1]):
        step, state = frozen.step(previous[:, i], state, memories)
        steps.append(step)
    close(torch.cat([step.frames.mel for step in steps], 1), whole.frames.mel, TOLERANCE)
    close(torch.cat([step.frames.f0 for step in steps], 1), whole.frames.f0, TOLERANCE)
    close(torch.stack([step.stop for step in steps], 1), whole.stop, TOLERANCE)
    seen = torch.stack([step.attention for step in steps], 1)
    close(seen, whole.attention.mean((0, 2)), TOLERANCE)
    voiced = torch.cat([step.frames.voiced for step in steps], 1)
    assert torch.equal(voiced, (whole.frames.voiced > 0).float())
    assert 0 < voiced.mean() < 1
    close(seen.sum(-1), torch.ones(3, 14), TOLERANCE)


@each_decoder
def test_a_sentence_is_spoken_in_a_batch_as_alone(decoder: str) -> None:
    model = make(decoder)
    tokens, lengths, speaker = sentences()
    previous = recorded(model, 3, 30)
    batch = model(tokens, lengths, speaker, previous)
    for row, n in enumerate(lengths.tolist()):
        part = slice(row, row + 1)
        alone = model(tokens[part, :n], lengths[part], speaker[part], previous[part])
        close(batch.frames.mel[part], alone.frames.mel, TOLERANCE)
        close(batch.stop[part], alone.stop, TOLERANCE)
        close(batch.attention[:, part, ..., :n], alone.attention, TOLERANCE)
        assert not batch.attention[:, part, ..., n:].any()


@each_decoder
def test_the_rows_of_a_state_are_independent(decoder: str) -> None:
    model = make(decoder)
    frozen = model.freeze()
    tokens, lengths, speaker = sentences()
    previous = recorded(model, 3, 30)
    memories, state = frozen.look(tokens, lengths, speaker), frozen.init_state(3)
    one, alone = frozen.look(tokens[1:2], lengths[1:2], speaker[1:2]), frozen.init_state(1)
    for i in range(previous.shape[1]):
        step, state = frozen.step(previous[:, i], state, memories, window=2)
        single, alone = frozen.step(previous[1:2, i], alone, one, window=2)
        close(step.frames.mel[1:2], single.frames.mel, TOLERANCE)
        assert int(state.peak[1]) == int(alone.peak)


@each_decoder
def test_the_future_is_not_heard(decoder: str) -> None:
    model = make(decoder)
    tokens, lengths, speaker = sentences()
    previous = recorded(model, 3, 30)
    changed = previous.clone()
    changed[:, 6:] += 10
    before, after = (model(tokens, lengths, speaker, x) for x in (previous, changed))
    close(after.frames.mel[:, : 6 * STACK], before.frames.mel[:, : 6 * STACK], TOLERANCE)
    assert (after.frames.mel[:, 6 * STACK :] - before.frames.mel[:, 6 * STACK :]).abs().max() > 0.01


@each_decoder
@pytest.mark.parametrize("window", [None, 2])
def test_generation_reads_its_own_frames(decoder: str, window: int | None) -> None:
    """Frames that were generated without a window, read by teacher forcing, come out again."""
    model = make(decoder)
    model.stop.bias.fill_(-100.0)
    tokens, lengths, speaker = (part[:1] for part in sentences())
    spoken, attention = model.freeze().generate(tokens[0], int(speaker), max_steps=8, window=window)
    assert spoken.mel.shape == (1, 8 * STACK, 6) and attention.shape == (8, 9)
    if window is None:
        again = model(tokens, lengths, speaker, model.previous(*spoken))
        close(again.frames.mel, spoken.mel, TOLERANCE)
        close(again.frames.f0, spoken.f0, TOLERANCE)
        close(again.attention.mean((0, 2))[0], attention, TOLERANCE)


def test_an_utterance_is_read_one_step_late() -> None:
    model = make("s4")
    mel = frames(1, 7, 6, dtype=torch.float32)
    f0, voiced = torch.full((1, 7), 150.0), torch.tensor([[1.0, 0, 1, 1, 0, 1, 1]])
    read = model.previous(mel, f0, voiced).unflatten(2, (STACK, 8))
    assert read.shape == (1, 3, STACK, 8)
    assert not read[:, 0].any()
    close(read[0, 1:].flatten(0, 1)[..., :6], model.normalize(mel)[0, :6], TOLERANCE)
    assert torch.equal(read[0, 1:].flatten(0, 1)[:, 7], voiced[0, :6])
    assert not read[0, 1:].flatten(0, 1)[voiced[0, :6] == 0, 6].any()


@each_decoder
def test_the_window_holds_attention_near_its_last_peak(decoder: str) -> None:
    model = make(decoder)
    model.stop.bias.fill_(-100.0)
    tokens = torch.randint(N_SYMBOLS, (30,), generator=torch.Generator().manual_seed(2))
    _, attention = model.freeze().generate(tokens, max_steps=25, window=2)
    peak = 0
    for row in attention:
        seen = row.nonzero()[:, 0]
        assert int(seen.min()) == max(0, peak - 1) and int(seen.max()) == min(29, peak + 2)
        peak = max(peak, int(row.argmax()))
    _, free = model.freeze().generate(tokens, max_steps=25, window=None)
    assert (free > 0).all()


@each_decoder
def test_generation_ends_at_the_stop_token_or_at_the_limit(decoder: str) -> None:
    model = make(decoder)
    tokens = sentences()[0][0]
    model.stop.weight.zero_()
    model.stop.bias.fill_(1.0)
    assert len(model.freeze().generate(tokens, window=None)[1]) == 1
    # held to a window of 4 tokens, a stop far from the end of the text is not believed
    assert len(model.freeze().generate(tokens[:4])[1]) == 1
    assert len(model.freeze().generate(tokens.repeat(3))[1]) >= (27 - 4) // 4
    model.stop.bias.fill_(-1.0)
    frozen = model.freeze()
    spoken, attention = frozen.generate(tokens)
    assert len(attention) == frozen.max_steps(len(tokens))
    assert 15 * 9 + 100 <= spoken.mel.shape[1] < 15 * 9 + 100 + STACK


def test_freezing_copies() -> None:
    model = make("s4")
    tokens = sentences()[0][0]
    frozen = model.freeze()
    before = frozen.generate(tokens, max_steps=3)[0].mel
    for parameter in model.parameters():
        parameter.add_(1.0)
    assert torch.equal(frozen.generate(tokens, max_steps=3)[0].mel, before)
