"""The one error that users cause."""


class InputError(ValueError):
    """Bad input: a file, a config key or an option that cannot be used as given.

    The message is one line that says what, where, got, wanted and the next step. Commands print it as
    ``s4speech: MESSAGE`` and exit with code 2; nothing already written is lost.
    """
