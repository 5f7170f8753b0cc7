"""The `s4speech` command: its options, its commands, and what its errors look like."""

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from s4speech import __version__
from s4speech.cli.bench import bench
from s4speech.cli.convert import convert
from s4speech.cli.doctor import doctor
from s4speech.cli.models import models
from s4speech.cli.score import score
from s4speech.cli.synthesize import synthesize
from s4speech.cli.transcribe import transcribe
from s4speech.errors import InputError

app = typer.Typer(
    help="Speech recognition and synthesis with state space layers.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # Options have whisper's names, with underscores; dashes are taken too.
        "token_normalize_func": lambda name: name.replace("-", "_"),
    },
)
app.command()(transcribe)
app.command()(synthesize)
app.command()(models)
app.command()(score)
app.command()(doctor)
app.command()(convert)
app.add_typer(bench, name="bench")


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    # `main` takes it out of the arguments, so that it may stand anywhere; here for the help.
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace-back of an error.")] = False,
) -> None:
    if version:
        typer.echo(f"s4speech {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for bad input or usage, 130 for Ctrl-C. Errors are one line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    sys.exit(_run([argument for argument in given if argument != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name need not be text, nor a terminal able to show it: escaped, not an error half-way.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, prog_name="s4speech", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        message = _message(error)
        if message is None:
            raise
        print(f"s4speech: {message}", file=sys.stderr)
        return 2


def _message(error: Exception) -> str | None:
    """Return the line for an error that the user can mend, None for one of ours."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    # Wrong options; the class has moved between typer's versions.
    usage = getattr(error, "format_message", None)
    return f"{usage().rstrip('.')}; see `s4speech --help`" if callable(usage) else None
