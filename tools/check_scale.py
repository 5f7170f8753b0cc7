"""The same training on 1, 2 and 4 processes: how far apart their losses are.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tools/check_scale.py [--steps 50] [--processes 2 4]

A tiny recognition model on noise, with dropout, stochastic depth, SpecAugment, joined rows, speeds and a
curriculum, float32, gloo. Prints the largest relative difference of any micro-batch's loss, and whether every
process count heard the same utterances and validated to the same loss.
"""

import argparse
import csv
import tempfile
from pathlib import Path

from tests.tiny_training import losses, make_cuts, train

ACCUMULATE = 4


def last_row(folder: Path) -> dict[str, str]:
    """The last validation."""
    with (folder / "metrics" / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["valid/wer"]][-1]


def main() -> None:
    """Train with each number of processes, compare with one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50, help="optimiser steps, at least")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cuts = make_cuts(folder / "audio", 48)
        shared = {"accumulate": ACCUMULATE, "max_duration_s": 2.0, "validate_every": 4}

        def run(processes: int, epochs: int) -> Path:
            where = folder / f"{processes}-{epochs}"
            train(where, cuts, devices=processes, epochs=epochs, **shared)
            return where

        an_epoch = len([key for key in losses(run(1, 1)) if key[0] == 1]) // ACCUMULATE
        epochs = -(-options.steps // an_epoch)
        alone = run(1, epochs)
        reference = losses(alone)
        print(f"{len(reference) // ACCUMULATE} optimiser steps of {ACCUMULATE} micro-batches")
        for processes in options.processes:
            where = run(processes, epochs)
            found = losses(where)
            if list(found) != list(reference):
                raise SystemExit(f"{processes} processes: other micro-batches")
            apart = max(abs(found[key] - loss) / abs(loss) for key, loss in reference.items())
            validated = [float(last_row(one)["valid/total"]) for one in (alone, where)]
            print(
                f"{processes} processes: largest relative difference of a loss {apart:.1e}, "
                f"validation loss {validated[1]:.7f} ({validated[0]:.7f} on one)"
            )


if __name__ == "__main__":
    main()
