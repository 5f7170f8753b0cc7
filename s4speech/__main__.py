"""``python -m s4speech``: the `s4speech` command, also where it is not installed."""

from s4speech.cli.main import main

main()
