"""Time and peak memory of the sequence layers side by side: training, and the recurrence.

    PYTHONPATH=. python tools/bench_layers.py --threads 1
    PYTHONPATH=. python tools/bench_layers.py --steps 1000000

First form, one table. Training: forward and backward of --batch sequences; ms is a median, "x S4D" the median
of the ratios to an S4D timed right before or after in the same run (the machine may be noisy), MB the peak
of what the call allocates: VmHWM, reset through /proc/self/clear_refs, less VmRSS before it (Linux only;
with --device cuda torch's own count). bfloat16: activations; constants, states and FFTs stay float32.
Recurrence, float32: microseconds of one step and of a chunk of 16 frames, with so many frames before it.
"naive" is the plain S4D: the same parameters, H N/2 L exponentials and an FFT, autograd through all of it.

Second form: steps of one S4D stream, one after another, by tenths; attention beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import mmap
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from s4speech.layers import DSS, S4, S4D, S5, CausalAttention, FrozenLayer, SequenceLayer, State, siso
from s4speech.layers.attention import CausalAttentionState

LAYERS = ("S4D", "naive", "DSS", "S4", "S4 cauchy", "S5", "attention")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHUNK = 16  # frames of the timed `scan`
CALLS, CALLS_S = 200, 0.5  # of the recurrence: at most so many, and so long once there are three
NO_VALUE = "-"


class NaiveS4D(nn.Module):
    """S4D by its equations (arXiv 2206.11893, section 3), with the parameters of an `S4D`, zero-order hold.

    K_l = 2 Re sum_n C_n B_bar_n A_bar_n^l, all H N/2 L powers at once, then one FFT of length 2 L.
    """

    def __init__(self, layer: S4D) -> None:
        super().__init__()
        if layer.discretization != "zoh" or layer.a_imag is None or layer.bidirectional:
            raise ValueError("NaiveS4D wants a causal S4D with zoh and complex eigenvalues")
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D) -> (B, T, D), computed in float32: there is no FFT in bfloat16."""
        layer, length = self.layer, x.shape[1]
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(layer.d.dtype).transpose(1, 2)  # (B, H, L)
            a = layer.per_channel(torch.complex(-layer.log_a_real.exp(), layer.a_imag))
            log_a_bar = layer.log_dt.exp() * a  # (H, N / 2)
            b_bar = (torch.exp(log_a_bar) - 1) / a
            powers = torch.exp(log_a_bar.unsqueeze(-1) * torch.arange(length, device=x.device))
            c = torch.view_as_complex(layer.c[0])
            kernel = 2 * torch.einsum("hn,hnl->hl", c * b_bar, powers).real
            spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(kernel, n=2 * length)
            y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + u * layer.d.unsqueeze(-1)
        return y.transpose(1, 2).to(x.dtype)


class Training(NamedTuple):
    """Median milliseconds, median ratio to S4D, peak megabytes (None: not measured here)."""

    ms: float
    ratio: float
    mb: float | None


class Row(NamedTuple):
    """A line of the table; None: not run. recurrence: step and chunk, batch 1 and --batch, microseconds."""

    length: int
    layer: str
    training: list[Training | None]
    recurrence: list[float] | None


def build(args: argparse.Namespace) -> dict[str, nn.Module]:
    """The layers that are measured, "S4D" always among them."""
    torch.manual_seed(0)
    d, n = args.d_model, args.d_state
    s4d = S4D(d, n)
    makers: dict[str, Callable[[], nn.Module]] = {
        "S4D": lambda: s4d,
        "naive": lambda: NaiveS4D(s4d),
        "DSS": lambda: DSS(d, n),
        "S4": lambda: S4(d, n),
        "S4 cauchy": lambda: S4(d, n, mode="cauchy"),
        "S5": lambda: S5(d, n),
        "attention": lambda: CausalAttention(d, n_heads=4),
    }
    return {name: makers[name]().to(args.device) for name in LAYERS if name in {"S4D", *args.layers}}


def training_call(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward; gradients are dropped at once, so that every call allocates the same."""
    weight = torch.randn_like(x)

    def call() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.dtype == torch.bfloat16):
            y = layer(x)
        y.backward(weight)
        layer.zero_grad()
        x.grad = None

    return call


def seconds(call: Callable[[], object], device: str) -> float:
    """How long one call takes."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_pairs(
    call: Callable[[], None], reference: Callable[[], None], args: argparse.Namespace
) -> tuple[float, float]:
    """Median milliseconds of `call`, median ratio to `reference`; pairs until --repeats or --limit-s."""
    own, other = [], []
    begin = time.perf_counter()
    while len(own) < args.repeats and (not own or time.perf_counter() - begin < args.limit_s):
        order = [(own, call), (other, reference)]
        for times, function in order if len(own) % 2 else reversed(order):
            times.append(seconds(function, args.device))
    ratios = [a / b for a, b in zip(own, other, strict=True)]
    return 1e3 * statistics.median(own), statistics.median(ratios)


def process_mb(key: str) -> float:
    """VmRSS or VmHWM of this process, megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024 / 1e6


M_MMAP_THRESHOLD = -3  # malloc.h
CLEAR_REFS = Path("/proc/self/clear_refs")


def _peak_is_counted() -> bool:
    """Whether VmHWM follows what this process maps: not every sandbox counts it."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    resident = process_mb("VmRSS")
    with mmap.mmap(-1, 16_000_000) as block:
        block.write(bytes(len(block)))
    return process_mb("VmHWM") - resident > 12


def peak_mb(call: Callable[[], None], device: str) -> float | None:
    """What a call needs at its peak above what was there before it, megabytes; None: cannot be told here."""
    if device == "cuda":
        call()  # what libraries allocate once
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    if not _peak_is_counted():
        return None
    libc = ctypes.CDLL("libc.so.6")
    # freed memory that the allocator keeps would hide the need, or be counted with it: for these two calls
    # large arrays go straight back to the system
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 20)
    call()  # what libraries allocate once
    gc.collect()
    libc.malloc_trim(0)
    CLEAR_REFS.write_text("5")  # VmHWM := VmRSS
    resident = process_mb("VmRSS")
    call()
    peak = process_mb("VmHWM") - resident
    libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
    return peak


def free_mb(device: str) -> float:
    """Memory that is free, megabytes; infinite where the system does not tell."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] / 1e6
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024 / 1e6


def needed_mb(name: str, length: int, args: argparse.Namespace) -> float:
    """An upper estimate for the two that materialise H N/2 columns of complex numbers, else 0."""
    modes = args.d_model * args.d_state / 2
    if name == "naive":  # five times all powers, and the input with its spectra
        return length * (5 * 8 * modes + 15 * 4 * args.batch * args.d_model) / 1e6
    if name == "S4 cauchy":  # complex128, 1024 frequencies at a time
        return 12 * 16 * modes * min(1024, length + 1) / 1e6
    return 0.0


def state_after(frozen: FrozenLayer, batch: int, args: argparse.Namespace, frames: int) -> State:
    """A state as after `frames` frames; only attention's knows how many, and its cache is filled directly."""
    state = frozen.init_state(batch)
    if isinstance(state, CausalAttentionState):
        cache = torch.randn(batch, frames, args.d_model, device=args.device)
        return CausalAttentionState(cache, cache.clone(), torch.full_like(state.length, frames))
    return frozen.scan(torch.randn(batch, min(frames, 64), args.d_model, device=args.device), state)[1]


def call_us(function: Callable[[], object], device: str) -> float:
    """Median microseconds of a call that is short: many of them, until CALLS or CALLS_S."""
    function()
    times: list[float] = []
    while len(times) < 3 or (len(times) < CALLS and sum(times) < CALLS_S):
        times.append(seconds(function, device))
    return 1e6 * statistics.median(times)


def recurrence_us(layer: SequenceLayer, frames: int, args: argparse.Namespace) -> list[float]:
    """Microseconds of `step` and of `scan` over 16 frames, each at batch 1 and --batch."""
    frozen, found = layer.freeze(), []
    for shape in ((args.d_model,), (CHUNK, args.d_model)):
        function = frozen.step if len(shape) == 1 else frozen.scan
        for batch in (1, args.batch):
            state = state_after(frozen, batch, args, frames)
            x = torch.randn(batch, *shape, device=args.device)
            found.append(call_us(partial(function, x, state), args.device))
    return found


class Bench:
    """The measurements of one run: the layers, the last time of each, and notes on what was not run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.layers = args, build(args)
        self.notes: list[str] = []
        self.last: dict[tuple[str, str], tuple[int, float]] = {}  # frames and milliseconds

    def rows(self) -> Iterator[Row]:
        """Row by row, as they are measured."""
        for length in self.args.lengths:
            for name in self.args.layers:
                layer = self.layers[name]
                training = [self.training(name, length, dtype) for dtype in self.args.dtype]
                recurrent = isinstance(layer, SequenceLayer)
                yield Row(
                    length, name, training, recurrence_us(layer, length, self.args) if recurrent else None
                )

    def training(self, name: str, length: int, dtype: str) -> Training | None:
        """Forward and backward of one layer; None, and a note, if that would take too much."""
        args = self.args
        refused = self.refuse(name, length, dtype)
        if refused:
            self.notes.append(f"{name}, {length} frames, {dtype}: not run, {refused}.")
            return None
        x = torch.randn(args.batch, length, args.d_model, device=args.device)
        x = x.to(DTYPES[dtype]).requires_grad_()
        call, reference = training_call(self.layers[name], x), training_call(self.layers["S4D"], x)
        mb = peak_mb(call, args.device)
        reference()
        ms, ratio = time_pairs(call, reference, args)
        self.last[name, dtype] = length, ms
        return Training(ms, ratio, mb)

    def refuse(self, name: str, length: int, dtype: str) -> str:
        """Why a measurement is left out, or nothing."""
        needed, free = needed_mb(name, length, self.args), free_mb(self.args.device)
        if needed > free:
            return f"it needs about {needed:.0f} MB and {free:.0f} are free"
        before, ms = self.last.get((name, dtype), (length, 0.0))
        expected_s = ms / 1e3 * (length / before) ** (2 if name == "attention" else 1)
        if expected_s > self.args.limit_s:
            return f"a call takes about {expected_s:.0f} s (--limit-s {self.args.limit_s:g})"
        return ""


def short(value: float) -> str:
    """Three digits: a noisy machine gives no more."""
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"


def cells(row: Row) -> list[str]:
    """The text of a row."""
    found = [str(row.length), row.layer]
    for part in row.training:
        if part is None:
            found += [NO_VALUE] * 3
        else:
            found += [short(part.ms), f"{part.ratio:.2f}", "n/a" if part.mb is None else f"{part.mb:.0f}"]
    return found + ([short(us) for us in row.recurrence] if row.recurrence else [NO_VALUE] * 4)


def aligned(texts: list[str]) -> str:
    """The cells of a row in columns; 99 characters with both dtypes."""
    frames, layer, *numbers = texts
    training = [f"{text:>{8 + at % 3 // 2}}" for at, text in enumerate(numbers[:-4])]
    return f"{frames:>6}  {layer:<9}" + "".join([*training, *(f"{text:>8}" for text in numbers[-4:])])


def print_table(args: argparse.Namespace) -> None:
    """Measures and prints, row by row."""
    bench, per_batch = Bench(args), ["b 1", f"b {args.batch}"]
    print(
        f"d_model {args.d_model}, N {args.d_state}, batch {args.batch}; {hardware(args)}; "
        f"torch {torch.__version__}\n"
    )
    if args.markdown:
        training = [f"{dtype} {what}" for dtype in args.dtype for what in ("ms", "x S4D", "MB")]
        recurrent = [f"{what} us, {batch}" for what in ("step", f"{CHUNK} frames") for batch in per_batch]
        titles = ["frames", "layer", *training, *recurrent]
        print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    else:
        groups = "".join(f"{dtype + ', training':>25}" for dtype in args.dtype)
        print(f"{'':17}{groups}{'step, us':>16}{f'{CHUNK} frames, us':>16}")
        print(aligned(["frames", "layer", *["ms", "x S4D", "MB"] * len(args.dtype), *per_batch * 2]))
    length = args.lengths[0]
    for row in bench.rows():
        if args.markdown:
            print(f"| {' | '.join(cells(row))} |", flush=True)
        else:
            print("\n" * (row.length != length) + aligned(cells(row)), flush=True)
        length = row.length
    if bench.notes:
        print("", *bench.notes, sep="\n")


def hardware(args: argparse.Namespace) -> str:
    """What it runs on."""
    if args.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{args.threads} thread{'s' * (args.threads > 1)} of {platform.machine()}"


def print_steps(args: argparse.Namespace) -> None:
    """Cost of a step against how much went before it: S4D, stepped; attention, with caches of some sizes."""
    frozen = build(args)["S4D"].freeze()
    frames, state = torch.randn(1024, 1, args.d_model, device=args.device), frozen.init_state(1)
    tenth = args.steps // 10

    def run(count: int) -> None:
        nonlocal state
        for at in range(count):
            _, state = frozen.step(frames[at % len(frames)], state)

    run(min(1000, tenth))
    print(f"S4D, d_model {args.d_model}, N {args.d_state}, batch 1, {hardware(args)}\n")
    print(f"{'steps':>10}{'us a step':>12}{'resident MB':>14}")
    for part in range(11):
        us = NO_VALUE if part == 0 else f"{1e6 * seconds(partial(run, tenth), args.device) / tenth:.1f}"
        resident = f"{process_mb('VmRSS'):.1f}" if platform.system() == "Linux" else "n/a"
        print(f"{part * tenth:>10}{us:>12}{resident:>14}", flush=True)
    print("\nattention: a step after so many frames\n")
    print(f"{'frames':>10}{'us a step':>12}")
    attention = CausalAttention(args.d_model, n_heads=4).to(args.device).freeze()
    for before in (0, 1000, 10000):
        past = state_after(attention, 1, args, before)
        print(f"{before:>10}{call_us(partial(attention.step, frames[0], past), args.device):>12.1f}")


class OneLineParser(argparse.ArgumentParser):
    """Bad options are one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def check(args: argparse.Namespace) -> None:
    """Raises ValueError naming the option, what it was and what is wanted."""
    limits = {"threads": (1, 1024), "repeats": (1, 1000), "d_model": (4, 8192), "d_state": (2, 1024)}
    limits |= {"batch": (1, 4096), "limit_s": (0.1, 86400)}
    limits |= {"steps": (10, 10**9), "block": (1, 4096)}
    for name, (least, most) in limits.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"--{name.replace('_', '-')}: got {value}, wanted {least} to {most}")
    for length in args.lengths:
        if not 1 <= length <= 2**20:
            raise ValueError(f"--lengths: got {length}, wanted 1 to {2**20} frames")
    for option, given, known in (("layers", args.layers, LAYERS), ("dtype", args.dtype, tuple(DTYPES))):
        for name in given:
            if name not in known:
                raise ValueError(f"--{option}: got {name!r}, wanted some of {', '.join(known)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: got 'cuda', but torch finds no CUDA device")


def comma_list(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",")]


def lengths(text: str) -> list[int]:
    """Numbers between commas, rising: the time of one length foretells that of the next."""
    return sorted({int(word) for word in text.split(",")})


def main(argv: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = OneLineParser(
        prog="bench_layers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, shown = parser.add_argument, {"metavar": "N"}
    add("--threads", type=int, default=1, help="of torch (default 1)", **shown)
    add("--lengths", type=lengths, default=[256, 1024, 4096, 16384], metavar="L,L,..", help="frames")
    add("--layers", type=comma_list, default=LAYERS, metavar="A,B,..", help=f"some of {', '.join(LAYERS)}")
    add("--dtype", type=comma_list, default=list(DTYPES), metavar="D,D", help="float32, bfloat16 or both")
    add("--repeats", type=int, default=9, help="pairs of calls behind a median (default 9)", **shown)
    add("--limit-s", type=float, default=60.0, metavar="S", help="for the pairs of one entry (default 60)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--d-model", type=int, default=256, help="channels (default 256)", **shown)
    add("--d-state", type=int, default=64, help="state variables (default 64)", **shown)
    add("--batch", type=int, default=8, help="sequences (default 8)", **shown)
    add("--block", type=int, help="frames of a block of S4D, DSS, S4 (default: as they choose)", **shown)
    add("--markdown", action="store_true", help="a table for a document")
    add("--steps", type=int, help="step S4D so often instead", **shown)
    args = parser.parse_args(argv)
    try:
        check(args)
        torch.set_num_threads(args.threads)
        if args.block is not None:
            siso.block_size = lambda rows, frames: min(args.block, frames)
        print_table(args) if args.steps is None else print_steps(args)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
