"""What a user can get wrong: one line that says what, where, and the mend. The command line prints it and exits."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OpenOmniError(Exception):
    """Something a person can mend; its message is one line. `exit_code` 1: it failed; 2: it was asked wrongly."""

    exit_code = 1


class WrongUsage(OpenOmniError):
    """The call itself is wrong: an unknown name, a parameter that does not fit."""

    exit_code = 2


class MediaError(OpenOmniError, ValueError):
    """Media that we can't use; the message says what is wrong and the mend."""


class Declined(OpenOmniError):
    """A component does not have what a session asks of this call: a `voice` or a `language`.

    Raised before anything is taken or given, it fails nothing: the component is called again without that option, and
    the turn's record says why.
    """

    def __init__(self, option: str, reason: str) -> None:
        self.option = option
        super().__init__(reason)


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint to put behind «unknown name»: the nearest valid one, or all of them when none is near."""
    valid = sorted(valid)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(valid)}" if valid else "there are none"
