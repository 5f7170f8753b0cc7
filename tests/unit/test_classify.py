"""The classifier: padding, pooling, sampling rates, per-frame classes, baselines, and what is refused."""

import json
from inspect import signature
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from s4speech.config.classify import ClassifierConfig, ClassifyTrainConfig
from s4speech.config.layer import LayerConfig
from s4speech.data.classify import IGNORE, ClassifyBatch
from s4speech.metrics.accuracy import wilson_interval
from s4speech.models.baseline import LSTM, M5, SelfAttention
from s4speech.models.classify import (
    Stage,
    build_classifier,
    check_rate,
    masked_mean,
    masked_pool,
    pool_frames,
)
from s4speech.models.layer import build_layer
from s4speech.train.classify import ClassifyTask
from tests.oracles.compare import close as close_to
from tests.oracles.compare import frames

LAYERS: dict[str, dict[str, Any]] = {
    "s4d": {"d_state": 8},
    "s4": {"d_state": 8},
    "dss": {"d_state": 8, "norm_length": 40},
    "s5": {"d_state": 8},
    "lssl": {"d_state": 4},
    "attention": {"n_heads": 2},
    "lstm": {},
    "conv": {"kernel_size": 5},
}
BOTH_WAYS = [name for name in LAYERS if name != "conv"]
KINDS = [(name, {}) for name in LAYERS] + [(name, {"bidirectional": True}) for name in BOTH_WAYS]


def close(got: Tensor, wanted: Tensor) -> None:
    close_to(got, wanted, 1e-9)


def ids(kind: tuple[str, dict[str, Any]]) -> str:
    return kind[0] + ("-both" if kind[1] else "")


def model_config(layer: dict[str, Any], **options: Any) -> ClassifierConfig:
    stages = options.pop("stages", [{"d_model": 4, "n_layers": 1, "pool": 4}, {"d_model": 6, "n_layers": 2}])
    return parse({"type": "sequence", "layer": layer, "stages": stages, **options})


def parse(config: dict[str, Any]) -> ClassifierConfig:
    return TypeAdapter(ClassifierConfig).validate_json(json.dumps(config))


def build(config: ClassifierConfig, *arguments: Any, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(config, *arguments, **options).double().eval()


def s4d(**options: Any) -> dict[str, Any]:
    return {"type": "s4d", "d_state": 8, **options}


@pytest.mark.parametrize("kind", KINDS, ids=ids)
def test_a_layer_of_every_type(kind: tuple[str, dict[str, Any]]) -> None:
    name, options = kind
    config = TypeAdapter(LayerConfig).validate_json(json.dumps({"type": name, **LAYERS[name], **options}))
    layer = build_layer(config, 8)
    y = layer(frames(2, 11, 8).to(torch.get_default_dtype()))
    assert y.shape == (2, 11, 8)
    y.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_the_defaults_of_the_config_are_those_of_the_layer(name: str) -> None:
    config = TypeAdapter(LayerConfig).validate_json(json.dumps({"type": name}))
    parameters = signature(type(build_layer(config, 8))).parameters
    for option, value in config.model_dump(exclude={"type", "bidirectional"}).items():
        assert parameters[option].default == value, option


@pytest.mark.parametrize("mix", ["gated", "feed_forward"])
@pytest.mark.parametrize("kind", KINDS, ids=ids)
def test_padding_never_changes_the_scores(kind: tuple[str, dict[str, Any]], mix: str) -> None:
    name, options = kind
    layer = {"type": name, **LAYERS[name], **options}
    lengths = torch.tensor([40, 5, 1, 17])
    noise = 1e3 * torch.randn(4, 60, 1, dtype=torch.float64)
    waves = torch.randn(4, 60, 1, dtype=torch.float64)
    tokens, others = torch.randint(7, (4, 60)), torch.randint(7, (4, 60))
    valid = torch.arange(60) < lengths.unsqueeze(1)
    flat = [{"d_model": 4, "n_layers": 2}]
    for inputs, padding, model in (
        (waves, noise, build(model_config(layer, mix=mix, dropout=0.5), 3)),
        (tokens, others, build(model_config(layer, mix=mix), 3, vocab_size=7)),
        (tokens, others, build(model_config(layer, mix=mix, stages=flat), 3, vocab_size=7, per_frame=True)),
    ):
        mask = valid.unsqueeze(-1) if inputs.dim() == 3 else valid
        together = model(torch.where(mask, inputs, padding), lengths)
        for row, n in enumerate(lengths.tolist()):
            alone = model(inputs[row : row + 1, :n], lengths[row : row + 1])
            expected = together[row : row + 1, :n] if together.dim() == 3 else together[row : row + 1]
            close(alone, expected)


@pytest.mark.parametrize("config", [model_config(s4d()), parse({"type": "m5", "channels": [4, 6]})])
def test_a_louder_recording_has_the_same_scores(config: ClassifierConfig) -> None:
    model, lengths = build(config, 3), torch.tensor([2000, 1500, 1900])
    waves = torch.randn(3, 2000, 1, dtype=torch.float64)
    gains = torch.tensor([100.0, 0.01, 0.0], dtype=torch.float64).view(3, 1, 1)
    louder = model(gains * waves, lengths)
    close(louder[:2], model(waves, lengths)[:2])
    assert torch.isfinite(louder).all()  # silence


def test_padding_never_changes_the_scores_of_m5() -> None:
    model = build(parse({"type": "m5", "channels": [4, 6], "kernel_size": 9, "stride": 2}), 3)
    lengths = torch.tensor([400, 150, 100])
    waves = torch.randn(3, 400, 1, dtype=torch.float64)
    together = model(waves, lengths)
    for row, n in enumerate(lengths.tolist()):
        close(model(waves[row : row + 1, :n], lengths[row : row + 1]), together[row : row + 1])


@pytest.mark.parametrize(("kernel_size", "stride"), [(80, 4), (9, 2), (5, 5)])
def test_m5_knows_how_many_frames_are_valid(kernel_size: int, stride: int) -> None:
    model = M5((2, 2, 2), kernel_size, stride).eval()
    shortest = next(n for n in range(1, 4000) if model.out_lengths(torch.tensor(n)) == 1)
    for n in (shortest, shortest + 1, 2 * shortest, 3000):
        assert model(torch.randn(1, n, 1)).shape[1] == model.out_lengths(torch.tensor(n))
    with pytest.raises(ValueError, match=f"T: got {shortest - 1} samples"):
        model(torch.randn(1, shortest - 1, 1))


def test_pooling_is_the_mean_of_what_is_there() -> None:
    x, lengths = torch.randn(3, 10, 2, dtype=torch.float64), torch.tensor([10, 3, 4])
    pooled, after = masked_pool(x, lengths, 4)
    assert after.tolist() == [3, 1, 1] and pooled.shape == (3, 3, 2)
    for row, n in enumerate(lengths.tolist()):
        for number, begin in enumerate(range(0, n, 4)):
            close(pooled[row, number], x[row, begin : min(begin + 4, n)].mean(0))
    close(masked_mean(x, lengths), torch.stack([x[row, :n].mean(0) for row, n in enumerate(lengths)]))


@pytest.mark.parametrize(
    ("pool", "rate", "frames"), [(4, 1.0, 4), (4, 2.0, 2), (4, 4.0, 1), (4, 0.5, 8), (6, 1.5, 4), (1, 1.0, 1)]
)
def test_a_pool_lasts_as_long_at_any_rate(pool: int, rate: float, frames: int) -> None:
    assert pool_frames(pool, rate) == frames


@pytest.mark.parametrize(("pool", "rate"), [(4, 8.0), (4, 3.0), (3, 2.0), (2, 16000 / 11025)])
def test_a_pool_of_no_whole_number_of_frames_is_refused(pool: int, rate: float) -> None:
    with pytest.raises(ValueError, match=rf"^pool: got {pool} at rate {rate}"):
        pool_frames(pool, rate)
    with pytest.raises(ValueError, match=rf"^pool: got {pool} at rate {rate}"):
        check_rate(model_config(s4d(), stages=[{"d_model": 2, "n_layers": 1, "pool": pool}]), rate)
    check_rate(model_config(s4d(), stages=[{"d_model": 2, "n_layers": 1}]), rate)
    check_rate(parse({"type": "m5"}), rate)


def test_only_layers_before_the_first_pooling_hear_of_the_rate() -> None:
    stages = [
        {"d_model": 2, "n_layers": 1},
        {"d_model": 4, "n_layers": 1, "pool": 4},
        {"d_model": 4, "n_layers": 1, "pool": 2},
        {"d_model": 4, "n_layers": 1},
    ]
    model = build(model_config(s4d(), stages=stages), 3)
    seen: list[tuple[int, list[int], float]] = []
    for stage in model.stages:  # type: ignore[union-attr]
        assert isinstance(stage, Stage)
        stage.blocks.register_forward_pre_hook(
            lambda _, inputs: seen.append((inputs[0].shape[1], inputs[1].tolist(), inputs[2]))
        )
    model(torch.randn(2, 64, 1, dtype=torch.float64), torch.tensor([64, 40]))
    assert seen == [(64, [64, 40], 1), (64, [64, 40], 1), (16, [16, 10], 1), (8, [8, 5], 1)]
    seen.clear()
    model(torch.randn(2, 32, 1, dtype=torch.float64), torch.tensor([32, 20]), 2.0)
    assert seen == [(32, [32, 20], 2), (32, [32, 20], 2), (16, [16, 10], 1), (8, [8, 5], 1)]


@torch.no_grad()
def test_a_slow_signal_has_the_same_scores_at_half_the_rate() -> None:
    config = model_config({"type": "s4d", "d_state": 8, "dt_min": 1e-3, "dt_max": 1e-2})
    model = build(config, 5)
    time = torch.arange(2048, dtype=torch.float64)
    wave = (torch.sin(time / 40) + torch.sin(time / 170)).view(1, -1, 1)
    half = wave.unflatten(1, (-1, 2)).mean(2)
    full, lengths = model(wave, torch.tensor([2048])), torch.tensor([1024])
    told, untold = (float((model(half, lengths, rate) - full).norm() / full.norm()) for rate in (2.0, 1.0))
    assert told < 1e-3 and untold > 20 * told


def test_lstm_forward_is_its_recurrence() -> None:
    torch.manual_seed(0)
    layer = LSTM(4).double().eval()
    x = frames(3, 13, 4)
    fast, expected = layer.freeze(), layer(x)
    state = fast.init_state(3)
    outputs = []
    for begin, end in pairwise([0, 5, 5, 6, 13]):
        y, state = fast.scan(x[:, begin:end], state)
        outputs.append(y)
    close(torch.cat(outputs, 1), expected)
    state = fast.init_state(3)
    for t in range(13):
        y, state = fast.step(x[:, t], state)
        close(y, expected[:, t])


@pytest.mark.parametrize("layer", [LSTM(4, bidirectional=True), SelfAttention(4, 2)])
def test_a_layer_that_sees_the_future_has_no_state(layer: Any) -> None:
    with pytest.raises(ValueError, match=r"^bidirectional: got true"):
        layer.freeze()


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (model_config(s4d()), {"vocab_size": 7, "per_frame": True}, "stages: got a pool above 1"),
        (parse({"type": "m5"}), {"vocab_size": 7}, "type: got m5, wanted sequence"),
        (model_config(s4d(n_ssm=3)), {}, "n_ssm: got 3, wanted a divisor of d_model 4"),
        (model_config({"type": "attention", "n_heads": 3}), {}, "n_heads: got 3"),
        (
            model_config({"type": "attention", "n_heads": 1}, stages=[{"d_model": 3, "n_layers": 1}]),
            {},
            "d_model",
        ),
        (
            model_config({"type": "lstm", "bidirectional": True}, stages=[{"d_model": 3, "n_layers": 1}]),
            {},
            "d_model: got 3",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    config: ClassifierConfig, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build_classifier(config, 3, **options)


class Constant(nn.Module):
    """Scores that are given."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        return self.scores


def test_only_targets_that_are_asked_for_count() -> None:
    scores = torch.tensor([[[2.0, 1.0], [0.0, 3.0], [9.0, 0.0]], [[0.0, 1.0], [5.0, 0.0], [7.0, 0.0]]])
    targets = torch.tensor([[0, 0, IGNORE], [1, IGNORE, IGNORE]])
    batch = ClassifyBatch(torch.zeros(2, 3, dtype=torch.long), torch.tensor([3, 2]), targets)
    score = ClassifyTask(Constant(scores), ClassifyTrainConfig()).score(batch)
    chosen = scores.log_softmax(-1)
    expected = -(chosen[0, 0, 0] + chosen[0, 1, 0] + chosen[1, 0, 1]) / 3
    assert score.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert (int(score.right), int(score.asked)) == (2, 3)


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),  # Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(right: int, asked: int, low: float, high: float) -> None:
    assert wilson_interval(right, asked) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(asked - right, asked) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("right", "asked"), [(0, 0), (3, 2), (-1, 4)])
def test_an_impossible_accuracy_is_refused(right: int, asked: int) -> None:
    with pytest.raises(ValueError, match=f"got {right}, {asked}"):
        wilson_interval(right, asked)
