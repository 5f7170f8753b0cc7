"""A training on two processes is that on one: tools/check_scale.py makes more steps, and more processes."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy

from s4speech.config.lm import LMTrainConfig
from s4speech.config.train import TrainConfig
from s4speech.data.processes import Launched, launched
from s4speech.train.optim import parameter_groups, parameter_kinds
from s4speech.train.strategy import check_processes, make_strategy
from tests.conftest import message
from tests.tiny_training import losses, make_cuts, train


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "audio", 16)
    metrics = []
    for devices in (1, 2):
        train(tmp_path / str(devices), cuts, devices=devices, epochs=1)
        metrics.append((tmp_path / str(devices) / "metrics" / "metrics.csv").read_text().splitlines())
    one, two = (losses(tmp_path / name) for name in ("1", "2"))
    assert list(one) == list(two) and len(one) >= 8
    assert len({round(loss, 3) for loss in one.values()}) > 6  # they are not all alike
    assert max(abs(two[place] - loss) / loss for place, loss in one.items()) < 2e-5
    for rows in zip(*metrics, strict=True):
        if rows[0] != rows[1]:
            values = [[float(value) for value in row.split(",")] for row in rows]
            assert values[1] == pytest.approx(values[0], rel=1e-5)


REFUSED = {
    "devices": ({"devices": 2}, "devices: got 2, wanted 1 or another number that divides accumulate (1)"),
    "nodes": ({"devices": 4, "nodes": 2, "accumulate": 12}, "devices x nodes: got 8"),
    "muon": ({"strategy": "fsdp", "optimizer": "muon"}, "strategy: got fsdp with optimizer muon"),
    "cpu": ({"strategy": "fsdp", "accelerator": "cpu"}, "strategy: got fsdp with accelerator cpu"),
}


@pytest.mark.parametrize(("keys", "told"), REFUSED.values(), ids=REFUSED)
def test_processes_that_cannot_train(keys: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match="Value error") as caught:
        TrainConfig(**keys)
    assert told in str(caught.value)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
ENVIRONMENTS = {
    "alone": ({}, Launched()),
    "torchrun": (TORCHRUN, Launched(3, 4, outside=True)),
    "srun": ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5"}, Launched(5, 8, outside=True)),
    "script of a job": ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, Launched()),
    "by Lightning": ({"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}, Launched(1, 2)),
    "after a training": ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, Launched(1, 2)),
}


@pytest.mark.parametrize(("variables", "wanted"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_how_a_process_was_started(
    variables: dict[str, str], wanted: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {name for other, _ in ENVIRONMENTS.values() for name in other}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == wanted


def test_other_processes_than_the_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    told = message(lambda: check_processes(TrainConfig(devices=2, accumulate=2)))
    assert told.startswith("train.devices x train.nodes: got 2 x 1, but 4 processes")
    check_processes(TrainConfig(devices=2, nodes=2, accumulate=4))
    for name in TORCHRUN:
        monkeypatch.delenv(name)
    told = message(lambda: check_processes(TrainConfig(nodes=2, accumulate=2)))
    assert told.startswith("train.nodes: got 2, but neither torchrun nor srun")
    check_processes(LMTrainConfig())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "fsdp, which takes GPUs" in message(lambda: check_processes(TrainConfig(strategy="fsdp")))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    sharded = make_strategy(TrainConfig(strategy="fsdp", devices=2, accumulate=2))
    assert isinstance(sharded, FSDPStrategy)
    split = make_strategy(TrainConfig(devices=2, accumulate=2))
    assert isinstance(split, DDPStrategy) and split._start_method == "popen"


def test_groups_of_parameters_that_were_sharded_are_those_of_before() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    kinds = parameter_kinds(model)
    assert kinds == {"0.weight": "hidden", "0.bias": "plain", "1.weight": "plain", "1.bias": "plain"}
    wrapped = torch.nn.Sequential()
    for name, part in model.named_children():
        for parameter in part.parameters():
            parameter.data = parameter.data.flatten()  # as FSDP leaves them
        wrapped.add_module(name, torch.nn.Module())
        wrapped[int(name)].add_module("_fsdp_wrapped_module", part)
    groups = parameter_groups(wrapped, 1e-3, 0.1, kinds=kinds)
    assert {group["name"]: len(group["params"]) for group in groups} == {"plain": 3, "decay": 1}
