"""A token in a file: the token alone, or what `openomni up --ready-file` wrote, which says where it is for, too."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from .errors import WrongUsage

FILE = "OPENOMNI_TOKEN_FILE"
LARGEST = 64 << 10
AWAITED_S = 120.0
"""How long a ready file (`*.json`) is waited for that is not there yet: who writes it is still starting."""


class TokenFile(NamedTuple):
    token: str
    server: str = ""
    """The address that it is for, where the file says it."""


class _Ready(msgspec.Struct):
    url: str
    token: str


def _await(path: Path) -> None:
    until = time.monotonic() + AWAITED_S
    told = False
    while path.suffix == ".json" and path.parent.is_dir() and not path.exists() and time.monotonic() < until:
        if not told:
            print(f"· {path} is not there yet; waiting for the server that writes it …", file=sys.stderr, flush=True)
        told = True
        time.sleep(0.2)


def read() -> TokenFile | None:
    """What is in the file that `OPENOMNI_TOKEN_FILE` names; None where that names none. Raises `WrongUsage`."""
    name = os.environ.get(FILE)
    if not name:
        return None
    _await(Path(name))
    try:
        with Path(name).open("rb") as file:
            text = file.read(LARGEST).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{FILE}: {name} can't be read ({getattr(error, 'strerror', None) or error})") from None
    found = TokenFile(text)
    if text.startswith("{"):
        try:
            ready = msgspec.json.decode(text, type=_Ready)
        except msgspec.MsgspecError:
            found = TokenFile("")
        else:
            found = TokenFile(ready.token, ready.url)
    if len(found.token.split()) != 1:
        raise WrongUsage(
            f"{FILE}: {name} holds no token; put one there, and nothing else, or name a ready file of `up`"
        )
    return found
