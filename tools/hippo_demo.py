"""What the state of a HiPPO system remembers, as a picture: a signal, and its reconstruction from the state.

    python tools/hippo_demo.py -o hippo.png --d-state 64

A random signal without frequencies above --bandwidth-hz goes through HiPPO-LegS, LegT and FouT, one row each.
At three moments the N numbers of the state are turned back into the past: all of it for legs, the last
--window-s seconds for legt and fourier. The relative errors are printed.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from typing import NoReturn

import torch
from matplotlib.figure import Figure
from torch import Tensor

from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.layers.hippo import HIPPOS
from s4speech.layers.projection import project, reconstruct

SAMPLES_PER_PERIOD = 250  # of the highest frequency: discretisation is then not what limits the error
MOMENTS = 3
TITLES = {"legs": "LegS: the whole past", "legt": "LegT: a window", "fourier": "FouT: a window"}


class OneLineParser(argparse.ArgumentParser):
    """Bad options are one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def band_limited(times: Tensor, bandwidth_hz: float, seed: int) -> Tensor:
    """times (T,) seconds -> a sum of 32 cosines of random frequency and phase, variance 1."""
    generator = torch.Generator().manual_seed(seed)
    hz = bandwidth_hz * torch.rand(32, generator=generator, dtype=torch.float64)
    phase = 2 * math.pi * torch.rand(32, generator=generator, dtype=torch.float64)
    return torch.cos(2 * math.pi * times[:, None] * hz + phase).sum(1) / 16**0.5


def draw(options: argparse.Namespace) -> tuple[Figure, dict[str, list[float]]]:
    """The figure, and the relative error of each init at each moment.

    Raises InputError naming the option.
    """
    inits = options.init or list(HIPPOS)
    dt = 1 / (SAMPLES_PER_PERIOD * options.bandwidth_hz)
    samples = round(options.seconds / dt)
    grid = (torch.arange(samples, dtype=torch.float64) + 0.5) * dt
    signal = band_limited(grid, options.bandwidth_hz, options.seed)
    fractions = torch.linspace(0, 1, 1001, dtype=torch.float64)
    figure = Figure(figsize=(4.4 * MOMENTS, 2.4 * len(inits) + 0.4), layout="constrained")
    axes = figure.subplots(len(inits), MOMENTS, squeeze=False, sharex=True, sharey=True)
    errors: dict[str, list[float]] = {}
    for row, init in zip(axes, inits, strict=True):
        try:
            states = project(signal, init, options.d_state, dt, options.window_s)
        except ValueError as error:
            raise InputError(f"--{str(error).replace('d_state', 'd-state')}") from error
        errors[init] = []
        for column, panel in enumerate(row):
            frame = samples * (column + 1) // MOMENTS - 1
            now = (frame + 1) * dt
            memory_s = now if init == "legs" else min(now, options.window_s)
            kept = fractions if init == "legs" else 1 - (1 - fractions) * memory_s / options.window_s
            times = now - memory_s * (1 - fractions)
            past = reconstruct(states[frame], init, kept)
            wanted = band_limited(times, options.bandwidth_hz, options.seed)
            errors[init].append(float((past - wanted).norm() / wanted.norm()))
            panel.plot(grid, signal, color="0.75", linewidth=2.5, label="signal")
            panel.plot(times, past, color="C3", linewidth=1, label=f"from the state, N = {options.d_state}")
            panel.axvline(now, color="0.4", linewidth=0.8, linestyle=":")
            panel.set_title(f"{TITLES[init]}, at {now:.3g} s: error {errors[init][-1]:.2g}", fontsize=9)
            panel.grid(alpha=0.3)
    limit = 1.4 * float(signal.abs().max())
    axes[0, 0].set_ylim(-limit, limit)  # a reconstruction that overshoots must not hide the signal
    axes[0, 0].legend(fontsize=7, loc="lower right")
    for panel in axes[-1]:
        panel.set_xlabel("seconds")
    return figure, errors


def check(options: argparse.Namespace) -> None:
    """Raises InputError naming the option, what it was and what is wanted."""
    for init in options.init or ():
        if init not in HIPPOS:
            raise InputError(f"--init: got {init!r}, wanted one of {', '.join(HIPPOS)}")
    limits: dict[str, tuple[float, float]] = {
        "d_state": (1, 256),
        "seconds": (0.1, 60),
        "window_s": (0.01, 60),
        "bandwidth_hz": (0.1, 50),
        "seed": (0, 2**32),
    }
    for name, (least, most) in limits.items():
        value = getattr(options, name)
        if not least <= value <= most:
            raise InputError(f"--{name.replace('_', '-')}: got {value}, wanted {least} to {most}")
    if options.seconds * options.bandwidth_hz > 200:  # 50 000 samples, each a dense step
        raise InputError(
            f"--seconds: got {options.seconds} at {options.bandwidth_hz} Hz, wanted at most 200 periods"
        )


def main(argv: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = OneLineParser(
        prog="hippo_demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", default="hippo.png", metavar="FILE", help="PNG (default hippo.png)")
    parser.add_argument(
        "--d-state", type=int, default=64, metavar="N", help="numbers in a state (default 64)"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the signal (default 4)")
    parser.add_argument("--window-s", type=float, default=1.0, help="window of legt and fourier (default 1)")
    parser.add_argument("--bandwidth-hz", type=float, default=4.0, help="highest frequency (default 4)")
    parser.add_argument("--init", action="append", metavar="|".join(HIPPOS), help="repeatable (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="draws the signal (default 0)")
    options = parser.parse_args(argv)
    try:
        check(options)
        figure, errors = draw(options)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=110)
        write_by_rename(options.output, image.getvalue())
    except InputError as error:
        print(f"hippo_demo: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hippo_demo: {options.output}: {error.strerror}; choose another --output", file=sys.stderr)
        return 2
    for init, row in errors.items():
        print(f"{init:<8} N = {options.d_state}, relative error {', '.join(f'{error:.2g}' for error in row)}")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
