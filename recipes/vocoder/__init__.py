"""The vocoder recipe: from recordings to a vocoder. It is the synthesis recipe as far as no text is needed,
with the same configuration and the same folders: that recipe goes on where this one ends."""

from collections.abc import Sequence
from pathlib import Path


def main(
    config_path: Path,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    stop_stage: str | None = None,
    dry_run: bool = False,
) -> int:
    """Run the stages that are not done. Raises InputError for what the user has to change."""
    from recipes import tts  # late: it imports the stages of this package

    options = (config_path, overrides, stage, stop_stage, dry_run)
    return tts.main(*options, recipe="vocoder", stages=tts.VOCODER_STAGES)
