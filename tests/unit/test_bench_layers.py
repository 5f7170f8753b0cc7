"""The layer benchmark: that it compares equals, that it measures what it says, and the table it prints."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from s4speech.layers import S4D, siso
from tests.oracles.compare import close, frames
from tools import bench_layers

SMALL = ["--d-model", "8", "--d-state", "4", "--batch", "2", "--repeats", "1"]
linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="peak memory is measured on Linux only")


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command changes for its own process is changed back."""
    monkeypatch.setattr(siso, "block_size", siso.block_size)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)


@pytest.mark.parametrize("init", ["legs", "lin"])
def test_the_naive_form_is_the_layer_and_so_are_its_gradients(init: str) -> None:
    torch.manual_seed(0)
    layer = S4D(8, 64, init, n_ssm=2)
    naive = bench_layers.NaiveS4D(layer)
    x = frames(2, 300, 8, dtype=torch.float32).requires_grad_()
    weight = frames(2, 300, 8, dtype=torch.float32, seed=2)
    found = []
    for module in (layer, naive):
        y = module(x)
        inputs = (x, *layer.parameters())
        found.append((y, *torch.autograd.grad(y, inputs, weight)))
    for wanted, got in zip(*found, strict=True):
        close(got, wanted, 1e-4)
    assert list(naive.parameters()) == list(layer.parameters()), "the same parameters, not a copy"
    close(naive(x.bfloat16()), naive(x).bfloat16(), 1e-2)


@pytest.mark.parametrize(
    "build",
    [lambda: S4D(4, 8, "real"), lambda: S4D(4, 8, bidirectional=True)],
)
def test_the_naive_form_refuses_what_it_is_not(build: Callable[[], S4D]) -> None:
    with pytest.raises(ValueError, match="NaiveS4D wants"):
        bench_layers.NaiveS4D(build())


PEAK = """
import torch
from tools import bench_layers
print(bench_layers.peak_mb(lambda: torch.ones(2_000_000).add(1), "cpu"))  # 8 MB, and 8 MB
"""


@linux
def test_peak_memory_is_what_a_call_allocates() -> None:
    # in a process of its own: the heap that thousands of tests leave behind would hold both arrays
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", PEAK], cwd=root, capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("VmHWM does not follow the memory of a process here")
    assert 14 < float(done.stdout) < 20


def test_one_run_one_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_layers, "CALLS", 3)
    assert bench_layers.main([*SMALL, "--lengths", "24", "--block", "8"]) == 0
    title, _, groups, names, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("d_model 8, N 4, batch 2; 1 thread")
    assert groups.split("  ")[-1].strip() == "16 frames, us"
    assert names.split() == ["frames", "layer", *["ms", "x", "S4D", "MB"] * 2, *["b", "1", "b", "2"] * 2]
    assert len(rows) == len(bench_layers.LAYERS)
    assert all(len(row) < 100 for row in [title, groups, *rows])
    for row, layer in zip(rows, bench_layers.LAYERS, strict=True):
        assert row.startswith(f"    24  {layer}")
        assert len(row[17:].split()) == 10
        assert (row.split()[-4:] == ["-"] * 4) == (layer == "naive")  # it has no recurrent form


def test_what_does_not_fit_is_not_run_and_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_layers, "free_mb", lambda device: 1e-3)
    options = [*SMALL, "--lengths", "5,24", "--layers", "S5,naive", "--dtype", "float32", "--markdown"]
    assert bench_layers.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and len(table) == 6
    assert "| naive | - | - | - | - | - | - | - |" in table[-1]
    assert [line.split(": ")[0] for line in lines[-2:]] == [f"naive, {n} frames, float32" for n in (5, 24)]
    assert "needs about" in lines[-1]
    monkeypatch.setattr(bench_layers, "free_mb", lambda device: 1e9)
    monkeypatch.setattr(bench_layers, "time_pairs", lambda *_: (1e6, 1.0))
    assert bench_layers.main([*SMALL, "--lengths", "24,5", "--layers", "attention"]) == 0
    assert "attention, 24 frames, bfloat16: not run, a call takes about 23040 s" in capsys.readouterr().out


def test_the_cost_of_a_step_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_layers.main(["--steps", "50", "--d-model", "8", "--d-state", "4"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    counts = [row[0] for row in rows if len(row) == 3 and row[0].isdigit()]
    assert counts == [str(n) for n in range(0, 51, 5)]
    assert [row[0] for row in rows[-3:]] == ["0", "1000", "10000"]


@pytest.mark.parametrize(
    "options",
    [
        "--layers S6",
        "--lengths 1,x",
        "--lengths 0",
        "--dtype half",
        "--d-model 6",
        "--repeats 0",
        "--steps 3",
    ],
)
def test_a_bad_option_is_one_line_and_code_2(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench_layers.main(options.split())
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("bench_layers: ")
