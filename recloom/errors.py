"""The one error that bad input raises."""


class InputError(ValueError):
    """Something the caller gave cannot be used; the message says what was found and what to do.

    The command line prints the message alone and exits with code 2.
    """
