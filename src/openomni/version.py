"""The version of this distribution, and which others it works with. A module of its own, so that what needs it imports
nothing else."""

from __future__ import annotations

import re

from . import installs

__version__ = "0.2.0"

OLDEST = "0.2.0"
"""The oldest release that this one works with, whichever part of it: listener, responder, agent, gateway or API. What
it says over a wire and keeps in journals is as it was since then, with fields and types added."""


def numbers(version: str) -> tuple[int, ...]:
    """`1.4.0rc2` as (1, 4, 0), for comparing; what says nothing is older than all."""
    return tuple(map(int, re.findall(r"[0-9]{1,9}", version.partition("+")[0])[:3]))


def too_old(version: str) -> bool:
    """Whether a part of that version can't be worked with; one that does not say its own is of before 0.2.0."""
    return numbers(version) < numbers(OLDEST)


def upgrade_line(version: str, they: str, we: str) -> str:
    """What to upgrade, and how: `they` are who is too old for `we`, in words ("the agent lab-1", "this server")."""
    theirs = version or "of before 0.2.0"
    return (
        f"{they} is openomni {theirs} and too old for {we} ({__version__}), which needs {OLDEST} or later; "
        f"upgrade {they}: {installs.UPGRADE}"
    )
