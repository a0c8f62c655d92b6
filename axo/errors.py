"""The one exception a user is meant to see."""

from __future__ import annotations


class UserError(Exception):
    """Bad input or a missing tool: one line that names the place and the mend.

    The command line prints it as ``axo: error: <line>`` and exits with 2; no stack trace.
    """


def nearest(word: str, choices: list[str]) -> str:
    """A ``; did you mean 'x'?`` clause for the choice nearest to `word`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
