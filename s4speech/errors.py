"""The one error that users cause."""


class InputError(ValueError):
    """Bad input: a file, a config key or an option that cannot be used as given.

    The message is one line that says what, where, got, wanted and the next step. Commands print it as
    ``s4speech: MESSAGE`` and exit with code 2; nothing already written is lost.
    """


class Stopped(SystemExit):
    """A training that was asked to stop (SIGTERM, SIGUSR1) has saved its place.

    The exit code is that of SIGTERM.
    """

    def __init__(self) -> None:
        super().__init__(143)
