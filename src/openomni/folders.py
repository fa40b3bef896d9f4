"""Where things are kept on this machine when nobody says where: the user's own folders, as the system has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from .errors import OpenOmniError


class Homeless(OpenOmniError):
    """This user has no folder of their own; the message names what to set instead."""


def server_data() -> Path:
    """What a server keeps: `OPENOMNI_DATA_DIR`, else with the user's data. Raises `Homeless`."""
    given = os.environ.get("OPENOMNI_DATA_DIR")
    return Path(given).absolute() if given else _own(platformdirs.user_data_path, "OPENOMNI_DATA_DIR")


def agents_data() -> Path:
    """What agents have yet to send. Raises `Homeless`."""
    return _own(platformdirs.user_data_path, "OPENOMNI_AGENT_DIR") / "agents"


def spool() -> Path:
    """What was captured and waits for the server. Raises `Homeless`."""
    return _own(platformdirs.user_state_path, "OPENOMNI_SPOOL") / "spool"


def models() -> Path:
    """What was fetched: `OPENOMNI_MODELS`, else in the user's cache. Raises `Homeless`."""
    given = os.environ.get("OPENOMNI_MODELS")
    if given:
        return Path(given).expanduser()
    return _own(platformdirs.user_cache_path, "OPENOMNI_MODELS") / "models"


def cache() -> Path:
    """What can be made again. Raises `Homeless`."""
    return _own(platformdirs.user_cache_path, "XDG_CACHE_HOME")


def settings() -> Path | None:
    """What the user wrote; None for a user who has no folder for it."""
    try:
        return _own(platformdirs.user_config_path, "XDG_CONFIG_HOME")
    except Homeless:
        return None


def _own(place: Callable[[str], Path], variable: str) -> Path:
    try:
        folder = place("openomni")
    except RuntimeError:
        folder = Path("~")
    if folder.parts[0] == "~":  # as platformdirs leaves it, in some of its versions
        raise Homeless(f"this user has no home folder; set HOME, or {variable}, to a folder that may be written to")
    return folder
