"""The token of a command: in the environment or in a file, rather than on the command line, which everybody on the
machine can read."""

from __future__ import annotations

import os

from .. import token_file
from ..token_file import FILE

TOKEN = "OPENOMNI_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_HELP = f"A token with the scope `{{}}`. Better in {TOKEN}, or in the file that {FILE} names: `ps` shows options."
NO_TOKEN = f"there is no token; set {TOKEN} to one with the scope `{{}}`, or {FILE} to a file that holds it"


TAKE_ONE = frozenset(
    {"agent", "campaign", "dataset", "doctor", "experiment", "listen", "metrics add", "pipelines", "report", "respond",
     "turns"}
)  # fmt: skip
"""Commands that take a token. Any other reads no file: that of `up` may be about to write it, and its own parts and
what asks no server work without."""


def read_token_file(command: str, *arguments: str) -> None:
    """What `OPENOMNI_TOKEN_FILE` names becomes `OPENOMNI_TOKEN`, where that is not set, and `OPENOMNI_SERVER`, where
    the file says it and that is not set either. Raises `WrongUsage`."""
    if not {command, " ".join((command, *arguments[:1]))} & TAKE_ONE or "--help" in arguments:
        return
    if os.environ.get(TOKEN) or (found := token_file.read()) is None:
        return
    os.environ[TOKEN] = found.token
    if found.server:
        os.environ.setdefault("OPENOMNI_SERVER", found.server)
