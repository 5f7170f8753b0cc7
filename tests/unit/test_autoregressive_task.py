"""Training of the autoregressive model: its losses by hand, and that it learns an alignment and to stop."""

import math
from pathlib import Path

import pytest
import torch

from recipes.tts.config import TTSRecipe
from s4speech.config.base import load_config
from s4speech.config.tts import (
    AutoregressiveConfig,
    MelConfig,
    ParallelConfig,
    SpeechTrainConfig,
    TextEncoderConfig,
)
from s4speech.data.speech import SpeechBatch
from s4speech.errors import InputError
from s4speech.models.tts.autoregressive import AutoregressiveModel, Decoded
from s4speech.models.tts.norm import Frames
from s4speech.train.autoregressive import AutoregressiveTask, distance, guided_attention_loss

RECIPES = Path(__file__).resolve().parents[2] / "egs/kathleen/tts"
MEL = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=4)


def task(decoder: str = "s4", **options: float) -> AutoregressiveTask:
    torch.manual_seed(0)
    encoder = TextEncoderConfig(d_model=16, n_layers=1, d_state=4, kernel_size=3, dropout=0.0)
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 1, "d_ff": 24, "d_state": 4, "stack": 2, "dropout": 0.0}
    config = AutoregressiveConfig.model_validate({"decoder": decoder, "encoder": encoder, **sizes, **options})
    return AutoregressiveTask(AutoregressiveModel(7, MEL, config), SpeechTrainConfig(), 1.0, MEL.hop_s)


def batch() -> SpeechBatch:
    """Each token has frames of its own kind; the second row is shorter."""
    tokens = torch.tensor([[1, 2, 3, 4, 5], [3, 1, 2, 0, 0]])
    durations = torch.tensor([[3, 4, 1, 4, 3], [5, 3, 3, 0, 0]])
    kinds = torch.randn(7, 4, generator=torch.Generator().manual_seed(3))
    mel = torch.zeros(2, 15, 4)
    for row in range(2):
        spoken = tokens[row].repeat_interleave(durations[row])
        mel[row, : len(spoken)] = kinds[spoken]
    voiced = (mel[..., 0] > 0).float()
    lengths = durations.sum(1)
    return SpeechBatch(
        ["a", "b"],
        tokens,
        torch.tensor([5, 3]),
        torch.zeros(2, dtype=torch.long),
        mel,
        torch.full((2, 15), 150.0),
        voiced,
        lengths,
        durations,
    )


def test_distance_to_the_tokens_that_a_step_speaks() -> None:
    away = distance(torch.tensor([[3, 1, 2]]), steps=4, stack=2)
    # frames 0 0 | 0 1 | 2 2 | past the end
    assert away.tolist() == [[[0, 1, 2], [0, 0, 1], [2, 1, 0], [2, 1, 0]]]


def test_guided_attention_loss_by_hand() -> None:
    away = torch.tensor([[[0, 1, 2], [2, 1, 0]]])
    attention = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]).view(1, 1, 1, 2, 3)
    first = -math.log(0.5 + 0.5 * math.exp(-0.5))
    both = torch.ones(1, 2, dtype=torch.bool)
    loss = guided_attention_loss(attention, away, both, sigma=1.0)
    assert float(loss) == pytest.approx((first + 2.0) / 2)
    only = guided_attention_loss(attention, away, torch.tensor([[True, False]]), sigma=1.0)
    assert float(only) == pytest.approx(first)
    heads = attention.expand(3, 1, 2, 2, 3)
    assert float(guided_attention_loss(heads, away, both, sigma=1.0)) == pytest.approx(float(loss))


def test_the_losses_of_perfect_frames_are_none() -> None:
    trained, data = task(), batch()
    stop = torch.full((2, 8), -30.0)
    stop[0, 7] = stop[1, 5] = 30.0  # of 15 and 11 frames, 2 a step
    frames = Frames(data.mel, data.f0, data.voiced * 60 - 30)
    decoded = Decoded(frames, stop, torch.zeros(0))
    losses = trained.of_frames(decoded, data) | {"stop": trained.of_stop(decoded, data)}
    assert all(float(loss) < 1e-6 for loss in losses.values())
    late = decoded._replace(stop=stop.roll(1, 1))
    assert float(trained.of_stop(late, data)) > 10


def test_what_is_padded_has_no_loss() -> None:
    trained, data = task().eval(), batch()
    mel, f0 = data.mel.clone(), data.f0.clone()
    mel[1, 11:], f0[1, 11:] = 100.0, 1000.0
    with torch.no_grad():
        before, after = (
            trained.losses(one) for one in (data, data._replace(mel=mel, f0=f0, voiced=data.voiced))
        )
    for name, loss in before.items():
        assert float(after[name]) == pytest.approx(float(loss), rel=1e-5), name


def test_noise_only_in_training() -> None:
    trained, data = task(noise=1.0, step_dropout=0.5, prenet_dropout=0.0), batch()
    previous = torch.ones(4, 100, 12)
    disturbed = trained.disturb(previous)
    gone = (disturbed == 0).all(-1)
    assert 0.3 < gone.float().mean() < 0.7
    assert 0.9 < (disturbed - previous)[~gone].std() < 1.1
    with torch.no_grad():
        once, again = (trained.train().losses(data)["mel"] for _ in range(2))
        assert once != again
        once, again = (trained.eval().losses(data)["mel"] for _ in range(2))
        assert once == again


@pytest.mark.parametrize("decoder", ["s4", "transformer"])
def test_it_learns_to_speak_and_to_stop(decoder: str) -> None:
    trained = task(decoder, noise=0.1, step_dropout=0.0, prenet_dropout=0.0, guide_sigma=0.5)
    data = batch()
    optimizer = torch.optim.Adam(trained.parameters(), 1e-2)
    trained.train()
    for _ in range(150):
        losses = trained.losses(data)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    frozen = trained.model.freeze()
    for row, (n, t) in enumerate(zip([5, 3], data.lengths.tolist(), strict=True)):
        spoken, attention = frozen.generate(data.tokens[row, :n])
        assert len(attention) == -(-t // 2)
        away = distance(data.durations[row : row + 1, :n], len(attention), 2)[0]
        assert (attention * (away == 0)).sum(1).mean() > 0.7
        assert (spoken.mel[0, :t] - data.mel[row, :t]).abs().mean() < 0.35


def test_recipes_name_the_model() -> None:
    path = RECIPES / "recipe.yaml"
    assert load_config(TTSRecipe, path).model == ParallelConfig()
    smaller = load_config(TTSRecipe, path, ["model.d_model=64"]).model
    assert smaller == ParallelConfig(d_model=64)
    with pytest.raises(InputError, match=r"model\.type: got 'flow', wanted .*'parallel'"):
        load_config(TTSRecipe, path, ["model.type=flow"])
    with pytest.raises(InputError, match="twice n_heads"):
        load_config(TTSRecipe, path, ["model.type=autoregressive", "model.n_heads=3"])


def test_the_twins_differ_in_the_decoder_alone() -> None:
    s4, twin = (load_config(TTSRecipe, RECIPES / f"ar_{kind}.yaml") for kind in ("s4", "transformer"))
    assert s4.model == AutoregressiveConfig(decoder="s4")
    assert twin.model == AutoregressiveConfig(decoder="transformer")
    same = {"exp_dir": "", "model": ParallelConfig()}
    assert s4.model_copy(update=same) == twin.model_copy(update=same)
