"""``python -m recipes RECIPE CONFIG.yaml [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]``."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from s4speech.data.processes import launched
from s4speech.errors import InputError, Stopped

# Each is a module recipes.NAME with main(config_path, overrides, stage, stop_stage, dry_run) -> exit code.
RECIPES = ("asr", "classify", "lm", "tts", "vocoder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a recipe; return the exit code: 0, 2 for bad input, 130 when interrupted, 143 when a signal has
    stopped the training."""
    start = launched()  # Lightning changes the environment
    # Intermixed, so that key=value may follow an option.
    options = make_parser().parse_intermixed_args(arguments)
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)  # the stages' logs hold the rest
    logging.getLogger().addHandler(handler)
    try:
        _check(options.config, options.overrides)
        recipe = importlib.import_module(f"recipes.{options.recipe}")  # late: this imports torch
        return int(
            recipe.main(
                config_path=options.config,
                overrides=options.overrides,
                stage=options.stage,
                stop_stage=options.stop_stage,
                dry_run=options.dry_run,
            )
        )
    except InputError as error:
        print(f"recipes: {error}", file=sys.stderr)
        return 2
    except Stopped:
        if start.rank and not start.outside:
            return 0  # for an error Lightning would kill the first process, which tells the user
        print("recipes: saved; the same command continues", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("recipes: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    finally:
        logging.getLogger().removeHandler(handler)


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see python -m recipes --help\n")


def make_parser() -> argparse.ArgumentParser:
    """The command line of every recipe."""
    parser = _Parser(prog="recipes", description="Run a recipe; finished stages are skipped.")
    parser.add_argument("recipe", choices=RECIPES, help="which recipe")
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="its configuration")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="set one config key, e.g. train.lr=1e-3"
    )
    parser.add_argument("--stage", metavar="NAME", help="start at this stage")
    parser.add_argument("--stop-stage", metavar="NAME", help="stop after this stage")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would run, and why; change nothing"
    )
    return parser


def _check(config: Path, overrides: Sequence[str]) -> None:
    """Find the cheap mistakes before torch is imported. Raises InputError."""
    if not config.is_file():
        raise InputError(
            f"{config}: no such file; wanted the recipe's YAML, such as egs/mini/asr/recipe.yaml"
        )
    for override in overrides:
        if "=" not in override:
            raise InputError(f"argument {override!r}: wanted key=value, such as train.lr=1e-3")


if __name__ == "__main__":
    sys.exit(main())
