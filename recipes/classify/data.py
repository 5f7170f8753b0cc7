"""From the config of a task to its data; stage prepare."""

import json
from pathlib import Path

from rich.table import Table

from recipes.classify.context import ClassifyContext
from s4speech.config.classify import SpeechCommandsConfig
from s4speech.data.classify import SequenceDataset
from s4speech.data.speech_commands import SAMPLE_RATE_HZ, read_speech_commands
from s4speech.files import write_by_rename


def task_files(context: ClassifyContext) -> list[Path]:
    """External files and folders that the task is made from."""
    task = context.config.task
    if not isinstance(task, SpeechCommandsConfig):
        return []
    noise = task.augment.noise if task.augment else None
    return [Path(task.root), *([] if noise is None else [Path(noise)])]


def prepare(context: ClassifyContext, folder: Path) -> None:
    """Check the data; how many examples each part has, and for a corpus which clips, as PART.jsonl."""
    data = context.load_task(cache=False)
    table = Table("part", "examples", "shortest", "longest", "rate", title=context.config.task.type, box=None)
    parts: dict[str, SequenceDataset] = {"train": data.train, "valid": data.valid, **data.test}
    for name, part in parts.items():
        shortest, longest = min(part.lengths), max(part.lengths)
        table.add_row(name, str(len(part)), str(shortest), str(longest), f"{part.rate:g}")
    context.console.print(table)
    task = context.config.task
    if isinstance(task, SpeechCommandsConfig):
        clips = read_speech_commands(Path(task.root), task.split, task.words, task.percentages)
        for name, members in clips.items():
            rows = ({"path": str(c.path), "word": c.word, "speaker": c.speaker} for c in members)
            write_by_rename(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        speakers = {name: len({clip.speaker for clip in members}) for name, members in clips.items()}
        hours = sum(data.train.lengths) / SAMPLE_RATE_HZ / 3600
        told = ", ".join(f"{count} in {name}" for name, count in speakers.items())
        context.say(f"prepare: {hours:.2f} h of training; speakers: {told}")
