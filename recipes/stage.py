"""Stages of a recipe: what to run, what each depends on, and running only what is not done yet.

A stage writes under ``EXP_DIR/NAME/`` and gets ``done.json`` last. It is done while its fingerprint (config,
external inputs, upstream stages) is the recorded one and no upstream stage has run since.
"""

import logging
import os
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from recipes.fingerprint import InputFiles, MissingInput, config_part, digest
from recipes.records import (
    DONE,
    LOG,
    STARTED,
    Record,
    clear_stage,
    experiment_lock,
    read_record,
    write_record,
)
from s4speech.data.processes import TookPart, launched
from s4speech.errors import InputError

_log = logging.getLogger(__name__)


class Context(Protocol):
    """What a recipe hands to its stages; at least the recipe's config."""

    @property
    def config(self) -> BaseModel: ...


C = TypeVar("C", bound=Context)
POLL_S = 0.5  # how often a process looks what the first one does


def _no_inputs(context: object) -> Sequence[Path]:
    return ()


def _no_check(context: object) -> None:
    pass


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One named step of a recipe.

    `check` finds out before the first stage runs that this one cannot (raises InputError). A result that has
    the file `kept` took long to make: it is moved aside, to NAME.old, instead of being removed.

    `run` may find files of an earlier, interrupted run of the same stage in its directory, and may continue
    from them (training does) or write over them. It never sees files made with another config.
    """

    name: str
    run: Callable[[C, Path], None]  # (context, stage directory)
    config: (
        tuple[str, ...] | Callable[[C], object]
    ) = ()  # dotted config keys, or a function to JSON-able data
    needs: tuple[str, ...] = ()  # stages whose results it reads; they come earlier in the list
    inputs: Callable[[C], Sequence[Path]] = _no_inputs  # external files and directories it reads
    check: Callable[[C], None] = _no_check
    kept: str | None = None
    version: int = 1  # add one when new code makes old results wrong
    training: bool = False  # run by all processes of torchrun or srun; other stages by the first
    shared: bool = False  # the same of other work, which processes that Lightning has started leave alone


@dataclass(frozen=True)
class Planned:
    """What will happen to one stage, and why."""

    stage: str
    run: bool
    why: str


def run_stages(
    stages: Sequence[Stage[C]],
    context: C,
    exp_dir: Path,
    stage: str | None = None,
    stop_stage: str | None = None,
    dry_run: bool = False,
    console: Console | None = None,
) -> list[Planned]:
    """Run the stages that are not done, from `stage` to `stop_stage` (both included); return the plan.

    A stage whose dependencies changed starts in an empty directory; one that was interrupted keeps its files.
    With `dry_run` the plan is printed and nothing is written; external input may be missing, and is named.
    Of several processes with the same command (torchrun, srun, GPUs) the first one does all this; the others
    wait, and take part in trainings.
    Raises InputError: an unknown stage name, missing external input, an upstream stage outside the range that
    is not done, a directory in use or not ours. Raises ValueError: `stages` itself is not in order.
    """
    console = console or Console()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    chosen = _chosen(stages, stage, stop_stage)
    if dry_run:
        missing: dict[str, Path] = {}
        plan = _plan(stages, chosen, _fingerprints(stages, context, chosen, missing), exp_dir, missing)
        console.print(_table(plan, exp_dir))
        return plan
    fingerprints = _fingerprints(stages, context, chosen)
    if launched().rank:
        console.quiet = True
        _take_part([one for one in stages if one.name in chosen], context, exp_dir, fingerprints)
        return []
    with experiment_lock(exp_dir):
        plan = _plan(stages, chosen, fingerprints, exp_dir)
        by_name = {one.name: one for one in stages}
        for planned in plan:
            if planned.run:
                by_name[planned.stage].check(context)
        for number, planned in enumerate(plan, start=1):
            label = f"[{number}/{len(plan)}] {planned.stage}"
            verb = "run" if planned.run else "skip"
            say(f"{label}: {verb}, {planned.why}")
            if planned.run:
                current = by_name[planned.stage]
                old = _start(current, exp_dir, fingerprints[current.name])
                if old is not None:
                    say(f"{label}: the earlier result is kept in {old}; move it back to use it again")
                seconds = _run_one(current, context, exp_dir, fingerprints[current.name])
                say(f"{label}: done in {seconds:.1f} s")
    if not any(planned.run for planned in plan):
        say(f"nothing to do; to run a stage again, delete its directory in {exp_dir}")
    return plan


def _take_part(stages: Sequence[Stage[C]], context: C, exp_dir: Path, fingerprints: dict[str, str]) -> None:
    """What a process does that is not the first one: wait for each stage, and train with the others.

    What the first process does is seen in its files: started.json, then done.json, each for this config and
    these results of earlier stages. One that the first process has started ends after the last training,
    with its share of a GPU, and when the first one is no more. Those of torchrun or srun end together, which
    is what these expect.
    """
    outside, first = launched().outside, os.getppid()
    for position, one in enumerate(stages):
        if not outside and not any(later.training for later in stages[position:]):
            return
        helped, directory = False, exp_dir / one.name
        while _why_run(one, fingerprints[one.name], exp_dir, set()) is not None:
            if not outside and os.getppid() != first:
                return
            token = _token(one, fingerprints[one.name], exp_dir)
            takes_part = one.training or (one.shared and outside)
            if takes_part and not helped and _matches(read_record(directory / STARTED), token):
                with suppress(TookPart):
                    one.run(context, directory)
                helped = True
            time.sleep(POLL_S)


def _chosen(stages: Sequence[Stage[C]], first: str | None, last: str | None) -> list[str]:
    """Names from `first` to `last`. Raises InputError or ValueError as `run_stages` does."""
    names = [one.name for one in stages]
    for position, one in enumerate(stages):
        if one.name in names[:position] or not set(one.needs) <= set(names[:position]):
            raise ValueError(
                f"stage {one.name!r}: named twice, or needs a stage that does not come before it"
            )
    for name, option in ((first, "--stage"), (last, "--stop-stage")):
        if name is not None and name not in names:
            raise InputError(f"{option}: got {name!r}, wanted one of: {', '.join(names)}")
    start = names.index(first) if first is not None else 0
    stop = names.index(last) if last is not None else len(names) - 1
    if start > stop:
        raise InputError(
            f"--stop-stage: {last!r} comes before --stage {first!r}; the order is: {', '.join(names)}"
        )
    return names[start : stop + 1]


def _fingerprints(
    stages: Sequence[Stage[C]], context: C, chosen: Sequence[str], missing: dict[str, Path] | None = None
) -> dict[str, str]:
    """Fingerprints of the chosen stages and of everything upstream of them.

    missing: filled with the first external input of each stage that is not there, which is then no error.
    """
    wanted = set(chosen)
    for one in reversed(stages):  # needs come earlier, so one pass from the end collects all of them
        if one.name in wanted:
            wanted.update(one.needs)
    files = InputFiles()
    result: dict[str, str] = {}
    for one in stages:
        if one.name in wanted:
            config = one.config(context) if callable(one.config) else config_part(context.config, one.config)
            inputs: list[str] = []
            try:
                inputs += [files.digest(path, one.name) for path in one.inputs(context)]
            except MissingInput as error:
                if missing is None:
                    raise
                missing[one.name] = error.path
            upstream = {name: result[name] for name in one.needs}
            result[one.name] = digest([one.name, one.version, config, inputs, upstream])
    return result


def _plan(
    stages: Sequence[Stage[C]],
    chosen: Sequence[str],
    fingerprints: dict[str, str],
    exp_dir: Path,
    missing: Mapping[str, Path] = MappingProxyType({}),
) -> list[Planned]:
    plan: list[Planned] = []
    running: set[str] = set()
    for one in stages:
        if one.name not in fingerprints:
            continue
        reason = _why_run(one, fingerprints[one.name], exp_dir, running)
        if one.name in missing:
            reason = f"waits for {missing[one.name]}, which is not there"
        if one.name in chosen:
            plan.append(Planned(one.name, reason is not None, reason or "unchanged"))
            running.update([one.name] if reason is not None else [])
        elif reason is not None:
            raise InputError(
                f"--stage {chosen[0]}: needs the result of stage {one.name!r} in {exp_dir / one.name} "
                f"({reason}); give the same command with --stage {one.name}, or without --stage"
            )
    return plan


def _why_run(stage: Stage[C], fingerprint: str, exp_dir: Path, running: set[str]) -> str | None:
    """Why a stage has to run, or None when it is done."""
    upstream = [name for name in stage.needs if name in running]
    if upstream:
        return f"{upstream[0]} runs"
    token = _token(stage, fingerprint, exp_dir)
    done = read_record(exp_dir / stage.name / DONE)
    if _matches(done, token) and "run" in done:
        return None
    if _matches(read_record(exp_dir / stage.name / STARTED), token):
        return "interrupted, continues"
    if not done:
        return "not done yet"
    if done.get("fingerprint") == fingerprint:
        return "an earlier stage ran again"
    return "config or inputs changed"


def _token(stage: Stage[C], fingerprint: str, exp_dir: Path) -> Record:
    """What has to be equal for a result to stand: the fingerprint, and the upstream runs it was made from."""
    runs = {name: read_record(exp_dir / name / DONE).get("run") for name in stage.needs}
    return {"fingerprint": fingerprint, "needs": runs}


def _matches(record: Record, token: Record) -> bool:
    return all(record.get(key) == value for key, value in token.items())


def _start(stage: Stage[C], exp_dir: Path, fingerprint: str) -> Path | None:
    """Make the stage's directory ready, emptied of another result; return where that is kept, if it is."""
    directory, aside = exp_dir / stage.name, None
    token = _token(stage, fingerprint, exp_dir)
    done, started = read_record(directory / DONE), read_record(directory / STARTED)
    if done or not _matches(started, token):
        if stage.kept is not None and (directory / stage.kept).exists():
            aside = exp_dir / f"{stage.name}.old"
        clear_stage(directory, aside)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DONE).unlink(missing_ok=True)  # a damaged one
    write_record(directory / STARTED, {**token, "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    return aside


def _run_one(stage: Stage[C], context: C, exp_dir: Path, fingerprint: str) -> float:
    """Run one stage in its directory; return the seconds it took (of this run, without interrupted ones)."""
    directory = exp_dir / stage.name
    token = _token(stage, fingerprint, exp_dir)
    begin = time.monotonic()
    with _stage_log(directory / LOG):
        _log.info("stage %s starts (fingerprint %s)", stage.name, fingerprint)
        stage.run(context, directory)
        seconds = round(time.monotonic() - begin, 1)
        _log.info("stage %s done in %.1f s", stage.name, seconds)
    write_record(directory / DONE, {**token, "run": uuid.uuid4().hex, "seconds": seconds})
    return seconds


@contextmanager
def _stage_log(path: Path) -> Iterator[None]:
    """Everything logged at INFO or above, and the traceback of a failure, appended to the stage's log."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    except BaseException:
        traceback.print_exc(file=handler.stream)  # not logged: the caller prints it on the terminal
        raise
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def _table(plan: Sequence[Planned], exp_dir: Path) -> Table:
    table = Table(title=f"plan for {exp_dir}", title_justify="left")
    for heading in ("stage", "", "why"):
        table.add_column(heading)
    for planned in plan:
        table.add_row(planned.stage, "run" if planned.run else "skip", planned.why)
    return table
