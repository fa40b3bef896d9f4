"""A server with simulated components, and how a command that is refused must end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2e.conftest import Installation

OFFER = "host,vad,stt:simulated,llm:simulated,tts:simulated"
KINDS = ("stt", "llm", "tts")


def pipeline(name: str, **stages: dict[str, Any]) -> dict[str, Any]:
    """Simulated stages, with more parameters for those that are named."""
    return {"name": name, "stages": [{kind: "simulated", **stages.get(kind, {})} for kind in KINDS]}


def refused(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> str:
    """Ended with that code and one line on standard error, which has all the parts; the line."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("openomni: ")
    for part in parts:
        assert part in lines[0]
    return lines[0]


def children(made: Installation, like: str = "") -> list[int]:
    """Processes that `up` started, those whose command line holds `like`."""
    listed = subprocess.run(
        ["pgrep", "-f", "-P", str(made.processes["up"].pid), like or "."], capture_output=True, text=True, check=True
    )
    return [int(pid) for pid in listed.stdout.split()]
