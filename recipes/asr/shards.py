"""Batches of utterances shared by processes: each batch's result is a file, and a run that stops goes on."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from recipes.asr.config import ASRRecipe
from recipes.asr.context import ASRContext
from recipes.fingerprint import digest
from s4speech.data.processes import TookPart, launched
from s4speech.errors import InputError
from s4speech.files import write_by_rename

Batch = Sequence[Any]  # of cuts, or what else has an `id`
Result = dict[str, Any]  # what JSON can hold
Work = Callable[[Any], Result]  # of a batch
Prepare = Callable[[ASRContext], Work]  # a function of a module: it is called once in each process

_LOOK_S = 0.5  # between two looks at how far the processes are


@dataclass(frozen=True)
class Shard:
    """One batch, and the file that its result is written to."""

    batch: Batch
    path: Path


class Shards:
    """The batches of several parts, and their results, kept in a folder until they are merged.

    A result belongs to the utterances of its batch: of a run with other batches it is not used.
    """

    def __init__(self, folder: Path, parts: Mapping[str, Sequence[Batch]]) -> None:
        self._folder = folder / ".shards"
        self._parts = {
            part: [
                Shard(batch, self._folder / f"{part}.{i:05d}.{digest([one.id for one in batch])}.json")
                for i, batch in enumerate(batches)
            ]
            for part, batches in parts.items()
        }

    def run(self, context: ASRContext, prepare: Prepare, name: str) -> None:
        """Make the results that are not there, in `decode.processes` processes.

        Each has one thread, or one GPU, by its number. One process is this one, with all of its threads: its
        results are those of several to the last bit if that is one thread. Of the processes of torchrun or
        srun each makes its own ones, and the first waits for the others.

        Raises InputError: bad input, or a process that died; the same command continues. Raises TookPart in
        those of torchrun or srun that are not the first.
        """
        everything = [one for shards in self._parts.values() for one in shards]
        self._folder.mkdir(exist_ok=True)
        group = launched()
        if group.outside:
            _take_device(int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
            self._make(context, prepare, name, everything[group.rank :: group.size], 1)
            if group.rank:
                raise TookPart
            while not all(one.path.exists() for one in everything):
                time.sleep(_LOOK_S)
        else:
            self._make(context, prepare, name, everything, context.config.decode.processes)

    def _make(
        self, context: ASRContext, prepare: Prepare, name: str, shards: Sequence[Shard], processes: int
    ) -> None:
        todo = [one for one in shards if not one.path.exists()]
        processes = min(processes, len(todo))
        with Progress(console=context.console, disable=not context.console.is_terminal) as progress:
            bar = progress.add_task(name, total=len(todo))
            if processes <= 1:
                work = prepare(context) if todo else None
                for one in todo:
                    assert work is not None
                    _write(one, work)
                    progress.advance(bar)
            else:
                for done in _run_processes(context, prepare, todo, processes):
                    progress.update(bar, completed=done)

    def results(self, part: str) -> list[Result]:
        """Of a part, in the order of its batches."""
        return [json.loads(one.path.read_text("utf-8")) for one in self._parts[part]]

    def remove(self) -> None:
        """The files, once what was made of them is written."""
        rmtree(self._folder, ignore_errors=True)


def _write(shard: Shard, work: Work) -> None:
    write_by_rename(shard.path, json.dumps(work(shard.batch)))


@dataclass
class _Worker:
    process: BaseProcess
    told: Connection  # what was wrong with its input
    shards: Sequence[Shard]

    @property
    def done(self) -> int:
        return sum(one.path.exists() for one in self.shards)


def _run_processes(context: ASRContext, prepare: Prepare, todo: Sequence[Shard], processes: int) -> Any:
    """Yields how many of `todo` are done, now and then."""
    spawn = multiprocessing.get_context("spawn")  # a fork would not have a GPU
    workers = []
    try:
        for rank in range(processes):
            here, there = spawn.Pipe(duplex=False)
            # Neighbours are of like length: every process gets short and long ones.
            own = todo[rank::processes]
            arguments = (context.config, context.command, prepare, own, rank, there)
            process = spawn.Process(target=_process, args=arguments, name=f"decode {rank}", daemon=True)
            process.start()
            there.close()
            workers.append(_Worker(process, here, own))
        running = list(workers)
        while running:
            wait([worker.process.sentinel for worker in running], timeout=_LOOK_S)
            for worker in [one for one in running if not one.process.is_alive()]:
                running.remove(worker)
                _check(worker)
            yield sum(worker.done for worker in workers)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _check(worker: _Worker) -> None:
    """Raise InputError unless the process did all of its work."""
    if worker.process.exitcode == 0:
        return
    told = None
    with contextlib.suppress(EOFError):
        told = worker.told.recv() if worker.told.poll() else None
    if told is not None:
        raise InputError(told)
    code = worker.process.exitcode or 0
    how = f"was ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"failed ({code})"
    memory = "; out of memory? take fewer decode.processes" if code == -signal.SIGKILL else ""
    raise InputError(
        f"decode.processes: a process {how} with {worker.done} of its {len(worker.shards)} batches done"
        f"{memory}; the same command continues"
    )


def _process(
    config: ASRRecipe, command: str, prepare: Prepare, shards: Sequence[Shard], rank: int, told: Connection
) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    parent = os.getppid()
    torch.set_num_threads(1)
    _take_device(rank)
    try:
        work = prepare(ASRContext(config, Console(quiet=True), command))
        for one in shards:
            if os.getppid() != parent:  # it was killed: nobody waits for us
                return
            _write(one, work)
    except InputError as error:
        told.send(str(error))
        raise SystemExit(2) from None


def _take_device(number: int) -> None:
    """What `cuda` means in this process."""
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
