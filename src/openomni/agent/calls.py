"""Real-time cells: claimed one at a time, played to the gateway as a person would, recorded, only then acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from ..bounds import MAX_LINE
from ..bus.connection import Bus, BusError
from ..bus.envelope import LATENCY, CallUtterance, CallWork, call_session
from ..bus.records import RecordWriter
from ..bus.work import Claim, WorkQueue
from ..client.caller.call import CallLine, CallOutcome, CallPlan
from ..client.caller.dialogue import PATIENCE_S
from ..components import registry
from ..components.vad import offline
from ..errors import MediaError, OpenOmniError
from ..events import AXIS_RATE
from ..pipeline.spec import Pipeline
from ..records import BuildRecord, CellRecord, PlayerChoice
from ..storage.api import Api, Unreachable
from .call_process import conduct
from .cancelled import CancelledGroups
from .measuring import Measuring, Unserved
from .recordings import Recordings
from .references import References

log = logging.getLogger(__name__)

RETRY_DELAY = 2.0
FLUSH_SECONDS = 10.0


class Again(OpenOmniError):
    """It failed for a reason that may be gone the next time."""


class Calls:
    """Claims calls, one at a time, and plays them. `name`: this agent's, for the record."""

    def __init__(
        self,
        bus: Bus,
        project: str,
        name: str,
        api: Api,
        measuring: Measuring,
        recordings: Recordings,
        references: References,
        writer: RecordWriter,
    ) -> None:
        self._bus, self._project, self._name, self._api = bus, project, name, api
        self._measuring, self._recordings, self._references = measuring, recordings, references
        self._writer = writer

    async def claim(self) -> None:
        """Claims until it is cancelled; the call that is played then is given up, and goes to another caller."""
        groups = CancelledGroups()
        async with await groups.listen(self._bus, self._project), WorkQueue(self._bus, self._project, LATENCY) as queue:
            while True:
                claim = await queue.claim()
                async with claim:
                    if groups.covers(claim.work):
                        await claim.drop()
                        continue
                    playing = asyncio.create_task(self._settle(claim), name=claim.name)
                    groups.watch(playing, claim)
                    try:
                        await asyncio.wait({playing})
                    finally:
                        await _over(playing)
                    if playing.cancelled():
                        log.info("%s is not wanted any more", claim.name)
                    else:
                        playing.result()

    async def _settle(self, claim: Claim) -> None:
        try:
            call = CallWork.of(claim.work)
        except msgspec.ValidationError as error:
            await claim.bury(f"not a call of this version: {error}", "unreadable")
            return
        record = CellRecord(
            project=claim.work.project,
            version=call.attempt,
            cell=call.cell,
            experiment=call.experiment,
            attempt=call.attempt,
            caller=self._name,
            session_id=call_session(call.session_id, claim.attempt),
        )
        try:
            await self._play(claim, call, record)
        except (Again, Unreachable) as error:
            if not claim.last:
                await claim.fail(str(error), delay=RETRY_DELAY)
                return
            record.status, record.reason = "failed", str(error)[:MAX_LINE]
        except BusError as error:
            log.warning("%s: %s", claim.name, error)
            return  # given back
        except Unserved as error:
            record.status, record.reason, record.unserved = "failed", str(error)[:MAX_LINE], True
        except OpenOmniError as error:
            record.status, record.reason = "failed", str(error)[:MAX_LINE]
        except Exception as error:
            log.exception("%s failed", claim.name)
            record.status, record.reason = "failed", f"{type(error).__name__}: {error}"[:MAX_LINE]
        record.ended_at = time.time()
        self._writer.write(record)
        await self._written()
        await claim.done()

    async def _play(self, claim: Claim, call: CallWork, record: CellRecord) -> None:
        pipeline = await self._references.pipeline(claim.work.spec_hash, call.pipeline)
        await asyncio.to_thread(_check_here, call.player)
        with tempfile.TemporaryDirectory(prefix="openomni-call-") as folder:
            lines = [await self._line(each, Path(folder) / f"{number}.wav") for number, each in
                     enumerate(call.utterances)]  # fmt: skip
            plan = self._plan(call, pipeline, record.session_id, lines, folder)
            async with self._measuring.alone(pipeline) as held:
                record.started_at = time.time()
                watching = asyncio.create_task(self._measuring.disturbed(held))
                try:
                    playing = asyncio.create_task(conduct(plan))
                    outcome = await _unless(playing, watching)
                finally:
                    watching.cancel()
        if outcome is None:
            record.status, record.reason = "disturbed", watching.result()[:MAX_LINE]
            return
        if outcome.error:
            raise (Again if outcome.passing else OpenOmniError)(outcome.error)
        record.turns, record.frames_lost = outcome.turns, outcome.frames_lost
        record.microphone_late_s = outcome.microphone_late_s
        for build in (BuildRecord.of(record.project, **each) for each in outcome.builds):
            self._writer.write(build)
            record.player.append(build.build)

    def _plan(
        self, call: CallWork, pipeline: Pipeline, session_id: str, lines: list[CallLine], folder: str
    ) -> CallPlan:
        """By its hash: what was edited since the experiment began is another pipeline."""
        patience, seed = call.settings.get("patience_s", PATIENCE_S), call.settings.get("seed", 0)
        return CallPlan(
            server=self._api.server, token=self._api.token, pipeline=f"{call.pipeline}@{pipeline.hash}",
            session_id=session_id, cell=call.cell, folder=folder, lines=lines, patience_s=float(patience),
            seed=int(seed), context=f"experiment {call.experiment}", sample=call.sample, player=call.player,
        )  # fmt: skip

    async def _line(self, utterance: CallUtterance, path: Path) -> CallLine:
        """Raises `Unreachable` while its recording can't be had, `Refused` or `MediaError` when it never can."""
        of = utterance
        audio = await self._recordings.sound(of.recording, of.start, of.end, of.track, of.channel)
        if utterance.speech is not None:
            first, last = (round((at - utterance.start) * AXIS_RATE) for at in utterance.speech)
            bounds: tuple[int, int] | None = (max(first, 0), min(last, len(audio.samples)))
        else:
            bounds = await asyncio.to_thread(offline.bounds, audio)
        if bounds is None or bounds[0] >= bounds[1]:
            raise MediaError(
                f"no speech was found in recording {utterance.recording} from {utterance.start:g} s on; is it silent?"
            )
        await asyncio.to_thread(audio.save, path)
        told = {name: getattr(utterance, name) for name in ("text", "answer", "fields")}
        return CallLine(path=str(path), start=bounds[0], end=bounds[1], when=utterance.when, **told)

    async def _written(self) -> None:
        while True:
            try:
                await self._writer.flush(FLUSH_SECONDS)
                return
            except BusError as error:
                log.warning("%s; the call is not acknowledged before it is recorded", error)


def _check_here(player: PlayerChoice | None) -> None:
    """Raises `Unserved` where the player, or its voice, is not installed: another caller may have it."""
    if player is None:
        return
    for kind, name in (("player", player.name), ("tts", player.voice)):
        try:
            info = registry.find(kind, name)
        except OpenOmniError as error:
            raise Unserved(f"this caller has no {kind}:{name}: {error}") from None
        if info.missing:
            raise Unserved(f"this caller has no {kind}:{name}: {info.mend}")


async def _unless(playing: asyncio.Task[CallOutcome], watching: asyncio.Task[str]) -> CallOutcome | None:
    """What came of it; None, and it is cancelled, when the other one ends first."""
    try:
        await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
        return None if watching.done() else playing.result()
    finally:
        await _over(playing)


async def _over(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
