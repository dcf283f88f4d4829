"""Errors that a person can act on."""


class UserError(Exception):
    """Bad input or a missing part: one line that says what is wrong, where, and what to do next.

    Command lines print the message and exit with code 2; nothing else is lost. Raise it at the edge,
    where input enters; inside, trust the types.
    """


class WorkFailedError(Exception):
    """The job itself could not be done (not the caller's fault): one line, exit code 1."""
