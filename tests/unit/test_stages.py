import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from recipes.__main__ import main
from recipes.stage import Stage, run_stages
from s4speech.config import StrictModel
from s4speech.errors import InputError, Stopped
from tests.conftest import message


class Train(StrictModel):
    lr: float = 0.1
    workers: int = 2


class Config(StrictModel):
    text: str = "a"
    train: Train = Train()


@dataclass
class Toy:
    """prepare -> stats -> train -> score, and lm beside them; `ran` lists what ran."""

    exp_dir: Path
    corpus: Path
    config: Config = field(default_factory=Config)
    ran: list[str] = field(default_factory=list)
    crash: str | None = None
    refuse: bool = False

    def stages(self, version: int = 1) -> list["Stage[Toy]"]:
        return [
            Stage("prepare", step("prepare"), ("text",), inputs=lambda toy: [toy.corpus], version=version),
            Stage("lm", step("lm"), needs=("prepare",)),
            Stage("stats", step("stats"), needs=("prepare",)),
            Stage(
                "train",
                step("train"),
                lambda toy: {"lr": toy.config.train.lr},
                needs=("stats",),
                check=Toy.check,
                kept="work.txt",
            ),
            Stage("score", step("score"), needs=("train",)),
        ]

    def check(self) -> None:
        if self.refuse:
            raise InputError("no such device")

    def run(
        self, stage: str | None = None, stop_stage: str | None = None, dry_run: bool = False, version: int = 1
    ) -> list[str]:
        self.ran = []
        console = Console(file=io.StringIO(), width=200)
        run_stages(self.stages(version), self, self.exp_dir, stage, stop_stage, dry_run, console)
        return self.ran


def step(name: str) -> Callable[[Toy, Path], None]:
    def run(toy: Toy, directory: Path) -> None:
        toy.ran.append(name)
        assert not (directory / "done.json").exists()
        with open(directory / "work.txt", "a", encoding="utf-8") as file:
            file.write("x")
        logging.getLogger("toy").info("working on %s", name)
        if toy.crash == name:
            raise RuntimeError("boom")

    return run


ALL = ["prepare", "lm", "stats", "train", "score"]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    corpus = tmp_path / "corpus"
    (corpus / "a").mkdir(parents=True)
    (corpus / "a" / "1.txt").write_text("one")
    return Toy(tmp_path / "exp", corpus)


def work(toy: Toy, stage: str) -> str:
    return (toy.exp_dir / stage / "work.txt").read_text()


def test_everything_runs_once_and_is_recorded(toy: Toy) -> None:
    assert toy.run() == ALL
    assert toy.run() == []
    done = json.loads((toy.exp_dir / "train" / "done.json").read_text())
    assert done["seconds"] >= 0 and done["fingerprint"]
    log = (toy.exp_dir / "train" / "log.txt").read_text()
    assert "working on train" in log and "working on stats" not in log


def test_only_what_depends_on_a_change_runs_again(toy: Toy) -> None:
    toy.run()
    toy.config = Config(train=Train(workers=8))
    assert toy.run() == []
    toy.config = Config(train=Train(lr=0.2))
    assert toy.run() == ["train", "score"]
    assert work(toy, "train") == "x"  # in an emptied directory
    toy.config = Config(text="b", train=Train(lr=0.2))
    assert toy.run() == ALL
    assert toy.run(version=2) == ALL


@pytest.mark.parametrize("change", ["size", "time", "new", "gone"])
def test_a_changed_corpus_runs_everything_again(toy: Toy, change: str) -> None:
    toy.run()
    path = toy.corpus / "a" / "1.txt"
    match change:
        case "size":
            path.write_text("longer")
        case "time":
            os.utime(path, ns=(1, 1))
        case "new":
            (toy.corpus / "a" / "2.txt").write_text("")
        case "gone":
            path.unlink()
    assert toy.run() == ALL


def test_a_deleted_directory_runs_again_with_all_that_was_made_from_it(toy: Toy) -> None:
    toy.run()
    for path in (toy.exp_dir / "stats").iterdir():
        path.unlink()
    assert toy.run(stop_stage="stats") == ["stats"]
    assert toy.run() == ["train", "score"]  # in another call: the runs are compared, not only the configs
    assert work(toy, "train") == "x"


def test_a_failed_stage_keeps_its_files_and_continues(toy: Toy) -> None:
    toy.crash = "train"
    with pytest.raises(RuntimeError, match="boom"):
        toy.run()
    assert "RuntimeError: boom" in (toy.exp_dir / "train" / "log.txt").read_text()
    toy.crash = None
    assert toy.run() == ["train", "score"]
    assert work(toy, "train") == "xx"
    assert work(toy, "score") == "x"


def test_a_failed_stage_starts_afresh_when_config_or_upstream_changed(toy: Toy) -> None:
    for before, after in [
        (Config(train=Train(lr=0.2)), Config(train=Train(lr=0.3))),
        (Config(text="b"), Config(text="c")),
    ]:
        toy.crash, toy.config = "train", before
        with pytest.raises(RuntimeError):
            toy.run()
        toy.crash, toy.config = None, after
        assert toy.run()[-2:] == ["train", "score"]
        assert work(toy, "train") == "x"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"fingerprint": 3', "\x00\xff"])
def test_a_damaged_record_counts_as_not_done(toy: Toy, content: str) -> None:
    toy.run()
    (toy.exp_dir / "stats" / "done.json").write_bytes(content.encode("latin-1"))
    assert toy.run() == ["stats", "train", "score"]
    assert work(toy, "stats") == "xx"  # the work itself is still of this config
    assert work(toy, "train") == "x"
    assert toy.run() == []


def test_going_back_to_an_earlier_config_never_meets_the_files_of_the_other(toy: Toy) -> None:
    toy.run()
    toy.config, toy.crash = Config(train=Train(lr=0.2)), "train"
    with pytest.raises(RuntimeError):
        toy.run()
    toy.config, toy.crash = Config(), None
    assert toy.run() == ["train", "score"]
    assert work(toy, "train") == "x"


def test_stage_and_stop_stage(toy: Toy) -> None:
    text = message(lambda: toy.run(stage="train"))
    assert "stage 'prepare'" in text and "not done yet" in text and "--stage prepare" in text
    assert toy.ran == []
    assert toy.run(stop_stage="stats") == ["prepare", "lm", "stats"]
    assert toy.run(stage="train", stop_stage="train") == ["train"]
    assert toy.run(stage="score") == ["score"]
    toy.config = Config(text="b")
    text = message(lambda: toy.run(stage="score"))
    assert "stage 'prepare'" in text and "config or inputs changed" in text


def test_stages_beside_the_chosen_ones_need_not_be_done(toy: Toy) -> None:
    toy.run(stop_stage="prepare")
    assert toy.run(stage="stats") == ["stats", "train", "score"]
    assert toy.run() == ["lm"]


def test_unknown_stages_and_missing_inputs_are_named(toy: Toy) -> None:
    assert "--stage: got 'trian', wanted one of: prepare, lm, stats" in message(
        lambda: toy.run(stage="trian")
    )
    assert "--stop-stage: got 'x'" in message(lambda: toy.run(stop_stage="x"))
    assert "comes before" in message(lambda: toy.run(stage="train", stop_stage="stats"))
    toy.corpus = toy.corpus / "none"
    text = message(toy.run)
    assert "stage 'prepare'" in text and str(toy.corpus) in text
    assert not toy.exp_dir.exists()


def test_dry_run_prints_the_plan_and_writes_nothing(toy: Toy) -> None:
    console = Console(file=io.StringIO(), width=200, record=True)
    run_stages(toy.stages(), toy, toy.exp_dir, dry_run=True, console=console)
    assert toy.ran == [] and not toy.exp_dir.exists()
    toy.run()
    toy.config = Config(train=Train(lr=0.2))
    plan = run_stages(toy.stages(), toy, toy.exp_dir, dry_run=True, console=console)
    assert [planned.stage for planned in plan if planned.run] == ["train", "score"]
    assert plan[3].why == "config or inputs changed" and plan[4].why == "train runs"
    assert "train runs" in console.export_text()


def test_dry_run_needs_no_external_input_and_names_what_is_missing(toy: Toy) -> None:
    console = Console(file=io.StringIO(), width=200, record=True)
    toy.run()
    there, toy.corpus = toy.corpus, toy.corpus / "none"
    before = sorted(toy.exp_dir.rglob("*"))
    plan = run_stages(toy.stages(), toy, toy.exp_dir, dry_run=True, console=console)
    assert all(planned.run for planned in plan)
    assert [planned.why for planned in plan[:2]] == [
        f"waits for {toy.corpus}, which is not there", "prepare runs",
    ]  # fmt: skip
    assert str(toy.corpus) in console.export_text() and sorted(toy.exp_dir.rglob("*")) == before
    assert "does not exist" in message(toy.run)  # only a dry run does without
    toy.corpus = there
    assert toy.run() == []


def test_a_result_that_took_long_is_moved_aside_and_can_come_back(toy: Toy) -> None:
    toy.run()
    first = (toy.exp_dir / "train" / "done.json").read_text()
    toy.config = Config(train=Train(lr=0.2))
    console = Console(file=io.StringIO(), width=200, record=True)
    run_stages(toy.stages(), toy, toy.exp_dir, console=console)
    old = toy.exp_dir / "train.old"
    assert str(old) in console.export_text()
    assert (old / "done.json").read_text() == first and (old / "work.txt").read_text() == "x"
    assert not list(toy.exp_dir.glob("score.old")) and not list(toy.exp_dir.glob(".trash*"))

    (toy.exp_dir / "train" / "work.txt").unlink()  # nothing worth keeping: it does not take the place
    toy.config = Config(train=Train(lr=0.3))
    toy.run()
    assert (old / "done.json").read_text() == first
    toy.config = Config(train=Train(lr=0.4))
    toy.run()  # one generation
    assert json.loads((old / "done.json").read_text())["fingerprint"] != json.loads(first)["fingerprint"]
    assert {path.name for path in toy.exp_dir.iterdir()} == {*ALL, "train.old", ".lock"}


def test_what_a_stage_lacks_is_found_out_before_the_first_one_runs(toy: Toy) -> None:
    toy.run()
    toy.refuse = True
    assert toy.run() == []  # train is done
    toy.config = Config(text="b")
    before = (toy.exp_dir / "prepare" / "done.json").read_text()
    assert message(toy.run) == "no such device"
    assert toy.ran == [] and (toy.exp_dir / "prepare" / "done.json").read_text() == before


def test_files_that_no_stage_made_are_never_removed(toy: Toy) -> None:
    mine = toy.exp_dir / "train" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years")
    assert str(mine.parent) in message(toy.run)
    assert mine.read_text() == "years"


def test_stages_out_of_order_are_a_programming_error(toy: Toy) -> None:
    with pytest.raises(ValueError, match="score"):
        run_stages([Stage("score", step("score"), needs=("train",))], toy, toy.exp_dir)


def test_the_log_levels_of_the_caller_are_restored(toy: Toy) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    toy.run()
    assert (root.level, root.handlers) == before


SLEEPER = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from recipes.stage import Stage, run_stages
from s4speech.config import StrictModel
class Config(StrictModel): ...
@dataclass
class Context:
    config: Config
def sleep(context, directory):
    with open(directory / "work.txt", "a") as file:
        file.write("x")
    if len((directory / "work.txt").read_text()) == 1:
        time.sleep(60)
run_stages([Stage("first", sleep)], Context(Config()), Path(sys.argv[1]))
"""


def test_kill_9_then_the_same_command_continues_and_two_runs_do_not_collide(tmp_path: Path) -> None:
    exp_dir = tmp_path / "exp"
    command = [sys.executable, "-c", SLEEPER, str(exp_dir)]
    killed = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while not (exp_dir / "first" / "work.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode != 0
        assert f"process {killed.pid} is running a recipe in it" in second.stderr
        time.sleep(0.1)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not (exp_dir / "first" / "done.json").exists()
    third = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert third.returncode == 0, third.stderr
    assert "interrupted, continues" in third.stdout
    assert (exp_dir / "first" / "work.txt").read_text() == "xx"


def fake_recipe(monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]) -> None:
    module = type(sys)("recipes.asr")
    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recipes.asr", module)


def test_command_passes_everything_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    fake_recipe(monkeypatch, lambda **given: seen.update(given) or 0)  # type: ignore[func-returns-value]
    path = tmp_path / "recipe.yaml"
    path.write_text("")
    command = ["asr", str(path), "a=1", "--stage", "x", "b.c=2", "--stop-stage", "y", "--dry-run"]
    assert main(command) == 0
    assert seen == {
        "config_path": path,
        "overrides": ["a=1", "b.c=2"],
        "stage": "x",
        "stop_stage": "y",
        "dry_run": True,
    }


def test_command_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    assert main(["asr", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"recipes: {path}: no such file")
    path.write_text("")
    assert main(["asr", str(path), "oops"]) == 2
    assert "key=value" in capsys.readouterr().err

    def interrupted(**given: object) -> int:
        raise KeyboardInterrupt

    fake_recipe(monkeypatch, interrupted)
    assert main(["asr", str(path)]) == 130
    assert "the same command continues" in capsys.readouterr().err

    def stopped(**given: object) -> int:
        os.environ.pop("WORLD_SIZE", None)  # Lightning does that
        raise Stopped

    fake_recipe(monkeypatch, stopped)
    for rank, code in (("0", 143), ("1", 0)):  # of those that Lightning has started only the first one tells
        monkeypatch.setenv("LOCAL_RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main(["asr", str(path)]) == code
        assert ("the same command continues" in capsys.readouterr().err) == (code == 143)
    with pytest.raises(SystemExit) as caught:
        main(["nonsense", str(path)])
    assert caught.value.code == 2


def test_the_command_starts_without_torch() -> None:
    code = "import sys, recipes.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
