"""The token of a command: in the environment or in a file, rather than on the command line, which everybody on the
machine can read."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import WrongUsage

TOKEN = "OPENOMNI_TOKEN"  # noqa: S105 - the name of a variable
FILE = "OPENOMNI_TOKEN_FILE"
TOKEN_HELP = f"A token with the scope `{{}}`. Better in {TOKEN}, or in the file that {FILE} names: `ps` shows options."
NO_TOKEN = f"there is no token; set {TOKEN} to one with the scope `{{}}`, or {FILE} to a file that holds it"


def read_token_file() -> None:
    """What `OPENOMNI_TOKEN_FILE` names becomes `OPENOMNI_TOKEN`, where that is not set. Raises `WrongUsage`."""
    name = os.environ.get(FILE)
    if not name or os.environ.get(TOKEN):
        return
    try:
        text = Path(name).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{FILE}: {name} can't be read ({getattr(error, 'strerror', None) or error})") from None
    if not text or len(text.split()) != 1:
        raise WrongUsage(f"{FILE}: {name} holds no token; put one there, and nothing else")
    os.environ[TOKEN] = text
