"""Synthetic callers in real time over the real path: how long a person waits, and what the turn-taking gets wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import figures
from .caller import Caller
from .corpus import Corpus
from .figures import Row
from .scenes import Played, Scene, Step, plain, play, script

Told = Callable[[str], None]

STAGGER_S = 0.7
"""Between the beginnings of calls, so that not all ask at once."""


@dataclass(slots=True)
class Measured:
    """Figures by name, and what each utterance came to."""

    figures: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def utterances(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]


async def measure(
    server: str, token: str, pipeline: str, corpus: Corpus, sessions: int, seed: int, folder: Path, told: Told
) -> Measured:
    """All scenes on one session; with more `sessions`, then its questions again, spread over that many at once.

    `folder` takes the replies. Raises OpenOmniError when a session breaks.
    """
    first = await _calls(server, token, pipeline, [script(corpus, seed)], seed, folder, told)
    rows = [figures.row(call.caller, scene) for call in first for scene in call.scenes]
    found = figures.summary(first, rows)
    found |= {"sessions": sessions, "added_p95_s": 0.0}
    calls = first
    if sessions > 1:
        share = -(-len(corpus.questions) // sessions)
        scripts = [plain(_dealt(corpus, number, share)) for number in range(sessions)]
        calls = await _calls(server, token, pipeline, scripts, seed + 1, folder, told)
        beside = [figures.row(call.caller, scene) for call in calls for scene in call.scenes]
        many = figures.summary(calls, beside)
        for row in beside:
            row.what = "question_beside_others"
        rows += beside
        found["frames_lost"] += many["frames_lost"]
        for name in ("voice_to_voice_p50_s", "voice_to_voice_p95_s"):
            if name in many:
                found[f"sessions_{name}"] = many[name]
        if "voice_to_voice_p95_s" in found and "voice_to_voice_p95_s" in many:
            found["added_p95_s"] = round(many["voice_to_voice_p95_s"] - found["voice_to_voice_p95_s"], 6)
    return Measured(found, rows, [*corpus.notes, *(note for call in calls for note in call.caller.notices)])


def _dealt(corpus: Corpus, number: int, share: int) -> list[Any]:
    """What one of several callers asks: each begins elsewhere."""
    start = number * share
    return [corpus.questions[(start + each) % len(corpus.questions)] for each in range(share)]


async def _calls(
    server: str, token: str, pipeline: str, scripts: Sequence[Sequence[Step]], seed: int, folder: Path, told: Told
) -> list[Played]:
    calls = [Played(Caller(seed + number)) for number in range(len(scripts))]
    total, over = sum(len(steps) for steps in scripts), 0

    def done(scene: Scene) -> None:
        nonlocal over
        over += 1
        told(f"{over} of {total} utterances")

    async def one(number: int) -> None:
        await asyncio.sleep(number * STAGGER_S)
        call = calls[number]
        async with call.caller.call(server, token, pipeline, folder / f"replies-{number}"):
            call.scenes = await play(call.caller, scripts[number], seed + number, done)

    async with asyncio.TaskGroup() as group:
        for number in range(len(scripts)):
            group.create_task(one(number))
    return calls
