"""After a whole run of a recognition recipe: transcribe one held-out file, and say where everything is.

    python tools/show_demo.py CONFIG.yaml [the options of `python -m recipes asr`]

Says nothing when those options were not to run to the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from recipes.__main__ import make_parser
from s4speech.config import load_config
from s4speech.errors import InputError


def show(arguments: list[str]) -> None:
    """Print the transcript of the last test file. Raises InputError: no model, or no test file."""
    options = make_parser().parse_intermixed_args(["asr", *arguments])
    if options.dry_run or options.stop_stage not in (None, "package"):
        return
    from recipes.asr.config import ASRRecipe
    from s4speech import Recognizer

    config = load_config(ASRRecipe, options.config, options.overrides)
    experiment, part = Path(config.exp_dir), config.corpus.test[0]
    model = experiment / "package" / config.package.name
    files = sorted(Path(config.corpus.root, part).rglob("*.flac"))
    if not files:
        raise InputError(f"{Path(config.corpus.root, part)}: no FLAC file; make the corpus again")
    file = files[-1]  # in the demo the last speaker is never heard in training
    [transcripts] = file.parent.glob("*.trans.txt")
    texts = dict(line.split(" ", 1) for line in transcripts.read_text("utf-8").splitlines())
    print(f"""
held-out file  {file}
  said         {texts[file.stem]}
  recognised   {Recognizer.load(model).transcribe_file(file).text}

plots   {experiment}/train/learning_curves.png, {experiment}/average/attention.png
report  {experiment}/score/{part}.{config.decode.methods[-1]}.txt
model   {model}
use it  .venv/bin/s4speech transcribe FILE -m {model}""")


if __name__ == "__main__":
    try:
        show(sys.argv[1:])
    except InputError as error:
        sys.exit(f"show_demo: {error}")
