"""The table of errors of the layers: what it prints, and that the errors are those of the laws."""

import pytest

from tools import layer_errors

SMALL = ["--d-model", "2", "--d-state", "8", "--frames", "130", "--only", "legs-bilinear"]


@pytest.mark.parametrize("markdown", [False, True])
def test_every_row_is_within_the_laws(markdown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert layer_errors.main([*SMALL, "--rate", "2"] + ["--markdown"] * markdown) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("d_model 2, N 8, 130 frames, rate 2, seed 0; torch ")
    rows = [line.replace("|", " ").split() for line in lines[4 if markdown else 3 :]]
    names = [" ".join(row[:-4]) for row in rows]
    assert (
        "s4-legs-bilinear-cauchy-n_ssm2 linear" in names and "s4-legs-bilinear-cauchy-n_ssm2 dense" in names
    )
    assert names[0] == "lssl-legs-bilinear-n_ssm2" and names[-1] == "worst" and len(names) == 14
    for row in rows:
        *single, double = map(float, row[-4:])
        assert 0 < max(single) < 1e-4 and 0 < double < 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "--frames: got 0, wanted >= 1"),
        (["--only", "transformer"], "--only: got 'transformer', wanted a part of a name like dss-"),
        (["--d-state", "7", "--only", "s4d"], "d_state: got 7, wanted an even number"),
        (["--rate", "-1"], "rate: got -1.0"),
    ],
)
def test_a_bad_option_is_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert layer_errors.main([*SMALL, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"layer_errors: {message}") and error.count("\n") == 1
