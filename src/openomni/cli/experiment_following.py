"""An experiment as the command line shows it: while it runs, and what became of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..storage.api import Api
from ..timeline import hours_and_minutes

LOOK_EVERY, LOOK_SELDOM, LOOKS = 1.0, 5.0, 20
"""Seconds between looks at how far it is, at least and at most, and how many there are while what is left is run: each
costs the server some of what the experiment could have."""
TELL_EVERY = 30.0
"""Seconds between lines where nobody looks at a bar."""


async def follow(api: Api, name: str) -> dict[str, Any]:
    """Waits until it is over, with a bar on standard error; gives it as it is then."""
    from rich import progress as rich
    from rich.console import Console

    patient = api.patient(lambda line: print(line, file=sys.stderr))
    console = Console(file=sys.stderr)
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TextColumn("{task.fields[how]}"))
    silent, told = 0.0, ""
    with rich.Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=None, how="")
        while True:
            found: dict[str, Any] = await patient.get(f"/experiments/{quote(name, safe='')}")
            cells = found["cells"]
            shown.update(task, completed=cells["run"], total=cells["planned"], how=how_far(found))
            if found["status"] != "running":
                return found
            if not console.is_terminal and silent <= 0 and how_far(found) != told:
                silent, told = TELL_EVERY, how_far(found)
                print(told, file=sys.stderr, flush=True)
            pause = min(max((found["left_s"] or 0.0) / LOOKS, LOOK_EVERY), LOOK_SELDOM)
            silent -= pause
            await asyncio.sleep(pause)


def _played(player: Mapping[str, Any]) -> str:
    kind = player.get("kind", "recording")
    return "" if kind == "recording" else f", the user played by {kind} in the voice {player['voice']}"


def how_far(found: Mapping[str, Any]) -> str:
    """In one line: planned, running, done, failed, left, and what holds it up."""
    cells = found["cells"]
    parts = [f"{cells['run']:,} of {cells['planned']:,} cells", f"{cells['running']:,} queued or running"]
    if cells["failed"]:
        parts.append(f"{cells['failed']:,} failed")
    if found["left_s"] is not None and found["status"] == "running":
        parts.append(f"{hours_and_minutes(found['left_s'])} left")
    return "; ".join([", ".join(parts), *found["held_up"][:2]])


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """What there is to say of it, for people."""
    cells, of, turns = found["cells"], found["dataset"], found["turns"]
    lines = [
        f"experiment  {found['experiment']}, {found['status']}",
        f"dataset     {of['name']}@{of['version']}  {of['hash']}",
        f"run         {found['pace']} pace, {found['repeats']} × each, seed {found['seed']}, "
        f"baseline {found['baseline']}"
        + _played(found["manifest"].get("player", {}))
        + "".join(f", {kind} given the {what}" for kind, what in found["manifest"].get("given", {}).items()),
        f"cells       {cells['planned']:,} planned, {cells['run']:,} run, {cells['failed']:,} failed, "
        f"{cells['cancelled']:,} cancelled, {cells['scored']:,} scored",
    ]
    for each in found["pipelines"]:
        one = each["cells"]
        lines.append(f"pipeline    {each['pipeline']} {each['pipeline_hash']}  {one['run']:,} of {one['planned']:,}")
    if found["manifest"].get("imported"):
        return [*lines, "turns       stayed on the server that they were run on"]
    words = {"missing": "still to come"} if found["status"] == "running" else {}
    kinds = ", ".join(f"{count:,} {words.get(kind, kind.replace('_', ' '))}" for kind, count in turns.items()
                      if kind != "total" and count)  # fmt: skip
    lines.append(f"turns       {turns['total']:,}{f': {kinds}' if kinds else ''}")
    if found["status"] == "running":
        lines.append(f"now         {how_far(found)}")
    return lines
