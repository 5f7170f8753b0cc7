"""Optimiser groups and schedules."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from s4speech.layers import DSS, LSSL, S4, S4D, S5, StateSpaceLayer
from s4speech.models.asr.decoder import S4Decoder, TransformerDecoder
from s4speech.models.asr.encoder import ConformerEncoder
from s4speech.train.optim import lr_factor, parameter_groups, set_lr

RELATIVE_BIASES = {
    f"encoder.blocks.{i}.attention.{k}_bias" for i in range(2) for k in ("content", "position")
}


def model() -> nn.Module:
    return nn.ModuleDict(
        {
            "encoder": ConformerEncoder(20, 8, 2, 2, 16, 3, reduce_after=1),
            "s4": S4Decoder(10, 8, 2, 2, 16, d_state=4),
            "transformer": TransformerDecoder(10, 8, 1, 2, 16),
        }
    )


RATES = [(1e-2, None, 1e-3), (1e-4, None, 1e-4), (1e-2, 3e-3, 3e-3)]


@pytest.mark.parametrize("kind", [S4D, S4, DSS, S5, LSSL])
@pytest.mark.parametrize(("lr", "given", "wanted"), RATES)
def test_groups_of_a_layer_alone(
    kind: Callable[[int, int], StateSpaceLayer], lr: float, given: float | None, wanted: float
) -> None:
    layer = kind(4, 4)
    ssm, readout = layer.parameter_groups(lr, given)
    assert (ssm["name"], ssm["lr"], readout["lr"]) == ("ssm", wanted, lr)
    assert ssm["weight_decay"] == readout["weight_decay"] == 0.0
    assert sorted(map(id, ssm["params"] + readout["params"])) == sorted(map(id, layer.parameters()))
    torch.optim.AdamW(layer.parameter_groups(lr, given))


def test_every_parameter_once_and_in_the_right_group() -> None:
    net = model()
    for p in net["s4"].norm.parameters():  # type: ignore[union-attr]
        p.requires_grad_(False)
    names = {p: name for name, p in net.named_parameters()}
    groups = {g["name"]: g for g in parameter_groups(net, 2e-3, 0.01)}
    listed = [p for g in groups.values() for p in g["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {p for p in names if p.requires_grad}
    rates = {name: (g["lr"], g["base_lr"], g["weight_decay"]) for name, g in groups.items()}
    assert rates == {"ssm": (1e-3, 1e-3, 0.0), "plain": (2e-3, 2e-3, 0.0), "decay": (2e-3, 2e-3, 0.01)}

    got = {name: {names[p] for p in g["params"]} for name, g in groups.items()}
    ssm = {f"s4.layers.{i}.mixer.layer.layers.0." for i in range(2)}
    assert got["ssm"] == {prefix + leaf for prefix in ssm for leaf in ("log_a_real", "a_imag", "log_dt")}
    assert {prefix + leaf for prefix in ssm for leaf in ("c", "d")} <= got["plain"]
    for name in got["plain"]:
        kinds = ("bias", "norm", "embedding.weight", ".layers.0.c", ".layers.0.d")
        assert any(kind in name for kind in kinds), name
    for name in got["decay"]:
        assert name.endswith(".weight") and "norm" not in name and "embedding" not in name, name
    assert got["plain"] >= RELATIVE_BIASES


def test_the_biases_of_relative_attention_do_not_decay() -> None:
    net = model()
    names = {p: name for name, p in net.named_parameters()}
    [decay] = [g for g in parameter_groups(net, 2e-3, 0.01) if g["name"] == "decay"]
    assert not RELATIVE_BIASES & {names[p] for p in decay["params"]}


@pytest.mark.parametrize(
    "lr, given, wanted", [(2e-4, None, 2e-4), (2.5e-3, None, 1e-3), (1e-3, 2.5e-3, 2.5e-3)]
)
def test_the_rate_of_the_ssm(lr: float, given: float | None, wanted: float) -> None:
    [ssm] = [g for g in parameter_groups(S4D(4, 4), lr, 0.1, given) if g["name"] == "ssm"]
    assert ssm["lr"] == ssm["base_lr"] == wanted and ssm["weight_decay"] == 0.0


def test_a_model_without_ssm_has_no_empty_group() -> None:
    groups = parameter_groups(nn.Linear(2, 2), 1e-3, 0.1)
    assert [g["name"] for g in groups] == ["plain", "decay"]


def test_only_weight_decay_moves_a_parameter_without_gradient() -> None:
    net = model()
    before = {name: p.clone() for name, p in net.named_parameters()}
    groups = parameter_groups(net, 2e-3, 0.1)
    optimizer = torch.optim.AdamW(groups)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    decayed = {id(p) for g in groups if g["name"] == "decay" for p in g["params"]}
    for name, p in net.named_parameters():
        assert torch.allclose(p, before[name] * (1 - 2e-4 if id(p) in decayed else 1.0), rtol=1e-6), name


def test_set_lr_scales_from_the_base_each_time() -> None:
    optimizer = torch.optim.AdamW(parameter_groups(S4D(4, 4), 2e-3, 0.1))
    for factor in (0.5, 0.25):
        set_lr(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == [1e-3 * factor, 2e-3 * factor]


def test_the_schedules() -> None:
    assert [lr_factor("linear", step, 4, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [lr_factor("linear", 100, 4, progress) for progress in (0.0, 0.25, 1.0, 1.5)] == [1, 0.75, 0, 0]
    assert lr_factor("linear", 1, 4, 0.5) == 0.25
    inverse = [lr_factor("inverse_sqrt", step, 100, 0.9) for step in range(1000)]
    assert inverse[0] == 0.01 and inverse[49] == 0.5 and max(inverse) == inverse[99] == 1.0
    assert inverse[399] == pytest.approx(0.5) and inverse[899] == pytest.approx(1 / 3)
    cosine = [lr_factor("cosine", 100, 4, progress) for progress in (0.0, 0.5, 1.0, 1.5)]
    assert cosine == pytest.approx([1, 0.5, 0, 0]) and lr_factor("cosine", 1, 4, 0.5) == pytest.approx(0.25)
    for schedule in ("linear", "cosine", "inverse_sqrt"):
        assert lr_factor(schedule, 0, 0, 0.0) == 1.0  # no warm-up
        assert all(math.isfinite(lr_factor(schedule, step, 0, 0.5)) for step in range(3))
    with pytest.raises(ValueError, match=r"^schedule: got 'steps'"):
        lr_factor("steps", 0, 4, 0.0)
