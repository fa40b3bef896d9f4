"""A call by the letter: what is played in it, and what was measured, each a message, so that a process of its own plays
it: what a caller measures must not wait for whatever else its agent does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from ... import clock
from ...datasets import AfterReply, When
from ...errors import MediaError
from ...latency import percentile
from ...media import Audio
from ...records import CalledRecord, PlayerChoice
from ...storage.api import Api, Refused, Unreachable
from .caller import SyntheticCaller
from .dialogue import PATIENCE_S, Line, LineSource, WrittenLines, play
from .measured import measured, missing_blocks
from .utterance import SpokenUtterance

WAV_HEAD = 44
"""Bytes in front of the samples of a WAV as the gateway records it."""
RECORDED_S = 20.0
"""How long the recording of a call that is over may take to be complete."""


class CallLine(msgspec.Struct, kw_only=True):
    """An utterance of the sample: a WAV at 16 kHz, with the places of its first speech sample and of the one after the
    last, and what a player is told of it."""

    path: str
    start: int
    end: int
    when: When = AfterReply()
    text: str | None = None
    answer: str | None = None
    fields: dict[str, Any] = {}


class CallPlan(msgspec.Struct, kw_only=True):
    """A call as it is to be. `pipeline`: a name, or `name@hash`; `folder` takes the replies; `player`: who says
    something else than the sample's recordings."""

    server: str
    token: str
    pipeline: str
    session_id: str
    cell: str
    folder: str
    lines: list[CallLine]
    context: str = ""
    seed: int = 0
    patience_s: float = PATIENCE_S
    sample: str = ""
    player: PlayerChoice | None = None


class CallOutcome(msgspec.Struct, kw_only=True):
    """A call as it was. With an `error`, one line, nothing else of it counts."""

    turns: list[CalledRecord] = []
    frames_lost: int | None = None
    microphone_late_s: float | None = None
    builds: list[dict[str, Any]] = []
    """Who played, as it was built, and the voice that spoke: fields of a `records.BuildRecord` each."""
    error: str = ""
    passing: bool = False
    """Of an error: another time it may go well."""


def recorded(plan: CallPlan) -> list[Line]:
    """The sample's recordings. It reads files; raises MediaError for one that can't be read."""
    return [_line(each) for each in plan.lines]


async def conduct(plan: CallPlan, source: LineSource | None = None) -> CallOutcome:
    """Plays what the source says, else the recordings. Raises OpenOmniError when its sound can't be read, and when the
    session breaks."""
    source = source or WrittenLines(await asyncio.to_thread(recorded, plan))
    caller = SyntheticCaller(plan.seed)
    told = {"source": "caller", "origin": "experiment", "cell": plan.cell, "session_id": plan.session_id,
            "context": plan.context}  # fmt: skip
    async with caller.call(plan.server, plan.token, plan.pipeline, Path(plan.folder), **told):
        played = await play(caller, source, plan.patience_s)
    if caller.breaks:
        raise Unreachable(f"the session broke off in between ({caller.breaks[0]}), so its times say nothing")
    late = percentile(caller.room.late, 99) if caller.room.late else None
    return CallOutcome(
        turns=measured(caller, played),
        frames_lost=await _frames_lost(plan, caller),
        microphone_late_s=None if late is None else round(late, 6),
    )


def _line(line: CallLine) -> Line:
    audio = Audio.load(line.path)
    if not 0 <= line.start < line.end <= len(audio.samples):
        raise MediaError(f"{line.path}: speech from {line.start} to {line.end} does not lie in it; give its samples")
    return Line(SpokenUtterance(line.path, "", audio, line.start, line.end), line.when)


async def _frames_lost(plan: CallPlan, caller: SyntheticCaller) -> int | None:
    """None where there is no complete recording."""
    recording = next((turn["recording"] for turn in caller.turns if turn["recording"]), "")
    if not recording:
        return None
    file = Path(plan.folder) / "recording.wav"
    try:
        async with Api(plan.server, plan.token) as api:
            deadline = clock.now() + RECORDED_S
            while (await api.get(f"/recordings/{recording}")).get("status") != "complete":
                if clock.now() > deadline:
                    return None
                await asyncio.sleep(0.25)
            await api.download(recording, file)
    except (Refused, Unreachable):
        return None
    kept = await asyncio.to_thread(file.read_bytes)
    return missing_blocks(caller.room.sent, kept[WAV_HEAD:])
