"""The form of the logs of parts, and what a part complains of in its own."""

from __future__ import annotations

import logging
import os
import re

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up() -> None:
    """Of this process: on standard error, from the level that OPENOMNI_LOG says on."""
    level = os.environ.get("OPENOMNI_LOG", "INFO").upper()
    known = level in logging.getLevelNamesMapping()
    logging.basicConfig(level=level if known else "INFO", format=FORMAT)
    if not known:
        logging.getLogger(__name__).warning("OPENOMNI_LOG=%s is no level; INFO is taken", level)
    for quiet in ("httpx", "httpcore"):
        logging.getLogger(quiet).setLevel(logging.WARNING)


def complaint(line: str) -> str:
    """What a line of a log complains of; empty when it does not."""
    found = re.fullmatch(r"\S+ \S+ (?:WARNING|ERROR|CRITICAL) \S+: (.*)", line)
    return found[1] if found else ""
