"""Synthetic callers in real time over the real path: how long a person waits, and what the turn-taking gets wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ..client.caller.caller import SyntheticCaller, first_cause
from ..client.caller.utterance import SpokenUtterance
from ..errors import OpenOmniError
from . import figures, kept
from .corpus import Corpus
from .figures import UtteranceRow
from .scenes import PlayedCall, Scene, Step, plain, play, script

Told = Callable[[str], None]

STAGGER_S = 0.7
"""Between the beginnings of calls, so that not all ask at once."""


@dataclass(slots=True)
class LiveFigures:
    """Figures by name, and what each utterance came to."""

    figures: dict[str, float]
    rows: list[UtteranceRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def utterances(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]


async def measure(
    server: str, token: str, pipeline: str, corpus: Corpus, sessions: int, seed: int, folder: Path, told: Told
) -> LiveFigures:
    """All scenes on one session; with more `sessions`, then its questions again, spread over that many at once.

    `folder` takes the replies. Raises OpenOmniError when a session breaks, or nothing is answered.
    """
    door = _Door(server, token, pipeline, told)
    (alone,) = await door.calls([script(corpus, seed)], seed, folder / "alone")
    rows = _rows([alone])
    found = figures.summary([alone], rows) | {"sessions": sessions, "added_p95_s": 0.0}
    if not found["answered"]:
        reasons = (turn["reason"] for turn in alone.caller.turns if turn["reason"])
        raise OpenOmniError(f"no question was answered: {next(reasons, 'no turn was found in them')}")
    calls = [alone]
    if sessions > 1:
        scripts = [plain(questions) for questions in _dealt(corpus, sessions)]
        beside = await door.calls(scripts, seed + 1, folder / "beside")
        calls += beside
        rows_beside = _rows(beside)
        found |= _beside(found, figures.summary(beside, rows_beside))
        for row in rows_beside:
            row.what = "question_beside_others"
        rows += rows_beside
    told("comparing what was kept with what was said and played")
    lost = await _frames_lost(server, token, calls)
    found["frames_lost"] = sum(each or 0 for each in lost)
    found |= _history(await asyncio.to_thread(kept.heard_words, alone.caller, folder / "alone" / "0"), rows)
    notes = ["a recording was not complete in time; its frames are not counted"] if None in lost else []
    return LiveFigures(found, rows, [*notes, *corpus.notes, *(note for call in calls for note in call.caller.notices)])


def _history(played: dict[str, kept.HeardWords], rows: Sequence[UtteranceRow]) -> dict[str, float]:
    """Whether what was kept of the replies that were cut is what was played; fills it into their rows."""
    for row in rows:
        if row.turn_id in played:
            row.played_text = played[row.turn_id].text
            row.history_words_off = kept.words_off(row.remembered, played[row.turn_id])
    off = [row.history_words_off for row in rows if row.history_words_off is not None]
    if not off:
        return {}
    exact = sum(each == 0 for each in off) / len(off)
    return {"history_words_off": round(sum(off) / len(off), 3), "history_exact_rate": round(exact, 3)}


def _rows(calls: Sequence[PlayedCall]) -> list[UtteranceRow]:
    return [figures.row(call.caller, scene) for call in calls for scene in call.scenes]


def _beside(alone: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    """What a caller waits while others talk, and how much that adds."""
    names = ("voice_to_voice_p50_s", "voice_to_voice_p95_s")
    found = {f"sessions_{name}": others[name] for name in names if name in others}
    if all(names[1] in each for each in (alone, others)):
        found["added_p95_s"] = round(others[names[1]] - alone[names[1]], 6)
    return found


def _dealt(corpus: Corpus, sessions: int) -> list[list[SpokenUtterance]]:
    """The questions as several callers ask them: a share each, and each begins elsewhere."""
    questions = corpus.questions
    share = -(-len(questions) // sessions)
    return [[questions[(number * share + each) % len(questions)] for each in range(share)]
            for number in range(sessions)]  # fmt: skip


async def _frames_lost(server: str, token: str, calls: Sequence[PlayedCall]) -> list[int | None]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server, headers=headers, timeout=60, trust_env=False) as client:
        return [await kept.frames_lost(client, call.caller) for call in calls]


@dataclass(frozen=True, slots=True)
class _Door:
    """Where calls go."""

    server: str
    token: str
    pipeline: str
    told: Told

    async def calls(self, scripts: Sequence[Sequence[Step]], seed: int, folder: Path) -> list[PlayedCall]:
        """One caller for each script, all at once; over when the last one is. Replies go to `folder/NUMBER`."""
        calls = [PlayedCall(SyntheticCaller(seed + number)) for number in range(len(scripts))]
        total, over = sum(len(steps) for steps in scripts), 0

        def done(scene: Scene) -> None:
            nonlocal over
            over += 1
            self.told(f"{over} of {total} utterances")

        async def one(number: int) -> None:
            await asyncio.sleep(number * STAGGER_S)
            caller = calls[number].caller
            async with caller.call(self.server, self.token, self.pipeline, folder / str(number)):
                calls[number].scenes = await play(caller, scripts[number], seed + number, done)

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(len(scripts)):
                    group.create_task(one(number))
        except BaseExceptionGroup as several:
            raise first_cause(several) from None
        return calls
