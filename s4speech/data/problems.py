"""What is wrong with a corpus, as one line."""

from collections.abc import Sequence

from s4speech.errors import InputError


def raise_problems(problems: Sequence[str], next_step: str) -> None:
    """One InputError for a list of problems: the first in full, the others counted."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]}{more}; {next_step}")
