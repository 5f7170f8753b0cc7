"""How far every state space layer is from a dense float64 recurrence.

    PYTHONPATH=. python tools/layer_errors.py --markdown

Each kind with each combination of its options, as initialised, over normal noise. An entry is the largest
difference from the oracle over the largest value of the oracle: the parallel form, repeated steps and a scan
in chunks of 100 frames in float32, and the parallel form in float64. The oracle is that of the tests,
tests/oracles/ssm.py: one dense complex matrix a channel, stepped in float64, with the same parameters.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from copy import deepcopy
from typing import NoReturn

import torch
from torch import Tensor

from s4speech.layers import StateSpaceLayer
from tests.oracles import ssm as oracle
from tests.oracles.compare import frames, scans, steps
from tests.oracles.variants import Build, frozen_forms, variants

COLUMNS = ("float32 forward", "step", "scan", "float64 forward")
CHUNK = 100


def relative(got: Tensor, wanted: Tensor) -> float:
    """The largest difference over the largest wanted value."""
    return float((got.double() - wanted).abs().max() / wanted.abs().max())


def errors(build: Build, args: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
    """The name of each recurrent form of a layer (S4 has two) and its row of errors."""
    torch.manual_seed(args.seed)
    layer: StateSpaceLayer = build()
    x = frames(1, args.frames, args.d_model, dtype=torch.float32, seed=args.seed)
    wanted = oracle.run(layer, x, args.rate)
    with torch.no_grad():
        single = relative(layer(x, rate=args.rate), wanted)
        double = relative(deepcopy(layer).double()(x.double(), rate=args.rate), wanted)
    sizes = [min(CHUNK, args.frames - start) for start in range(0, args.frames, CHUNK)]
    for form, frozen in frozen_forms(layer, args.rate):
        stepped, _ = steps(frozen, x, frozen.init_state(1))
        scanned, _ = scans(frozen, x, sizes, frozen.init_state(1))
        yield form, [single, relative(stepped, wanted), relative(scanned, wanted), double]


def print_table(args: argparse.Namespace) -> None:
    """Row by row, as they are computed, and the worst of each column."""
    every = variants(args.d_model, args.d_state, [args.n_ssm])
    chosen = {name: build for name, build in every.items() if args.only in name}
    if not chosen:
        raise ValueError(f"--only: got {args.only!r}, wanted a part of a name like {next(iter(every))}")
    print(
        f"d_model {args.d_model}, N {args.d_state}, {args.frames} frames, rate {args.rate:g}, "
        f"seed {args.seed}; torch {torch.__version__}\n"
    )
    if args.markdown:
        print(f"| layer | {' | '.join(COLUMNS)} |\n|---{'|---:' * len(COLUMNS)}|")
    else:
        print(f"{'layer':<44}" + "".join(f"{column:>16}" for column in COLUMNS))

    def row(name: str, values: list[float]) -> None:
        cells = [f"{value:.1e}" for value in values]
        if args.markdown:
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        else:
            print(f"{name:<44}" + "".join(f"{cell:>16}" for cell in cells), flush=True)

    worst = [0.0] * len(COLUMNS)
    for name, build in chosen.items():
        for form, values in errors(build, args):
            row(f"{name} {form}".rstrip(), values)
            worst = [max(pair) for pair in zip(worst, values, strict=True)]
    row("worst", worst)


class OneLineParser(argparse.ArgumentParser):
    """Bad options are one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = OneLineParser(
        prog="layer_errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--d-model", type=int, default=4, metavar="N", help="channels (default 4)")
    add("--d-state", type=int, default=64, metavar="N", help="state variables, a multiple of 4 (default 64)")
    add("--n-ssm", type=int, default=2, metavar="N", help="different A, blocks of S5 (default 2)")
    add("--frames", type=int, default=1024, metavar="N", help="length of the input (default 1024)")
    add("--rate", type=float, default=1.0, metavar="R", help="sampling rate trained with / that of the input")
    add("--seed", type=int, default=0, metavar="N")
    add("--only", default="", metavar="TEXT", help="layers with this in their names: s4d-legs, cauchy, ...")
    add("--markdown", action="store_true", help="a Markdown table")
    args = parser.parse_args(argv)
    try:
        if args.frames < 1:
            raise ValueError(f"--frames: got {args.frames}, wanted >= 1")
        print_table(args)
    except ValueError as error:
        print(f"layer_errors: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
