"""Queued turns: claimed from the bus, run on recorded speech, recorded, and only then acknowledged."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from ..bus.connection import Bus, BusError
from ..bus.records import RecordWriter
from ..bus.work import Claim, TurnWork, WorkQueue, enqueue
from ..errors import OpenOmniError
from ..events import AXIS_RATE, Message
from ..pipeline.earlier import spoken_history
from ..pipeline.judging import TAIL_SECONDS
from ..pipeline.queued import run_queued
from ..pipeline.spec import Pipeline, parse
from ..pipeline.turn_taking import SpeechEnded, find_utterances
from ..records import Status, TurnRecord
from ..storage.api import Unreachable
from .built import Built
from .health import Busy, Health
from .recordings import Recordings, blocks
from .replies import Replies
from .runner import FleetRunner

log = logging.getLogger(__name__)

REMEMBERED = 512
"""Finished turns that are known again when their claim comes back."""
HISTORY = 200
"""Messages that a queued turn is told at most: a message of the bus takes 1 MiB."""
RETRY_DELAY = 2.0
FLUSH_SECONDS = 10.0


class QueuedTurns:
    """Claims turns while there is room, and does them. A turn is acknowledged when the bus has its record on disk."""

    def __init__(
        self,
        bus: Bus,
        project: str,
        health: Health,
        built: Built,
        recordings: Recordings,
        replies: Replies,
        writer: RecordWriter,
        runner: Callable[[], FleetRunner],
    ) -> None:
        self._bus, self._project, self._health, self._built = bus, project, health, built
        self._recordings, self._replies, self._writer, self._runner = recordings, replies, writer, runner
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    async def claim(self) -> None:
        """Claims until it is cancelled; the turns that are under way go on then, until they end or `stop`."""
        while True:
            try:
                await self._claim()
            except BusError as error:
                log.warning("claiming queued turns: %s; trying again", error)
                await asyncio.sleep(1.0)

    async def _claim(self) -> None:
        async with WorkQueue(self._bus, self._project) as queue:
            while True:
                await self._health.until_room("turn")
                claim = await queue.claim()
                task = asyncio.create_task(self._do(claim), name=f"turn {claim.work.turn_id}")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                # Its task takes the slot before the next look at the room.
                await asyncio.sleep(0)

    async def stop(self) -> None:
        """Gives up what runs; its claims go back to the queue."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _do(self, claim: Claim) -> None:
        async with claim:
            while True:
                try:
                    with self._health.hold("turn"):
                        await self._settle(claim)
                    return
                except Busy as busy:
                    if self._health.draining:
                        return  # on leaving, the claim goes back to the queue
                    log.debug("turn %s waits: %s", claim.work.turn_id, busy)
                    await self._health.until_room("turn")

    async def _settle(self, claim: Claim) -> None:
        work = claim.work
        try:
            if work.turn_id in self._finished and not work.segment:
                await claim.done()
            elif work.segment:
                await self._segment(claim)
            else:
                await self._turn(claim)
        except Unreachable as error:
            await self._failed(claim, str(error), retry=True)
        except BusError as error:
            # Not acknowledged, so it comes again; `_finished` knows it then.
            log.warning("turn %s: %s", work.turn_id, error)
        except OpenOmniError as error:
            await self._failed(claim, str(error), retry=False)
        except Exception as error:
            log.exception("turn %s failed", work.turn_id)
            await self._failed(claim, f"{type(error).__name__}: {error}", retry=False)

    async def _turn(self, claim: Claim) -> None:
        work, runner = claim.work, self._runner()
        pipeline = parse(work.spec, work.pipeline)
        audio = await self._recordings.sound(work.recording, work.start, work.end)
        wants_pictures = any(stage.framework.frames for stage in pipeline.stages)
        pictures = await self._recordings.pictures(work.recording, work.start, work.end) if wants_pictures else []
        record = await run_queued(work, audio, runner, lambda: self._replies.of(work.session_id), pictures)
        if record.status == "failed" and runner.unserved and not claim.last:
            await claim.fail(record.reason, delay=RETRY_DELAY)
            return
        await self._report(record, work)
        if record.status == "failed":
            await claim.bury(record.reason)
        else:
            await claim.done()

    async def _failed(self, claim: Claim, reason: str, retry: bool) -> None:
        """Tries again where that may help; else the turn is recorded as failed and put among the dead."""
        if retry and not claim.last:
            await claim.fail(reason, delay=RETRY_DELAY)
            return
        await self._report(_bare_record(claim.work, "failed", reason), claim.work)
        await claim.bury(reason)

    async def _report(self, record: TurnRecord, work: TurnWork) -> None:
        """Returns when the record is on the bus's disk, and the session's next turn in the queue."""
        await self._replies.settle()
        self._writer.write(record)
        await self._written()
        if work.then:
            await self._enqueue(_following(work, record))
        if record.status == "completed":
            self._finished[work.turn_id] = None
            while len(self._finished) > REMEMBERED:
                self._finished.popitem(last=False)

    async def _written(self) -> None:
        while True:
            try:
                await self._writer.flush(FLUSH_SECONDS)
                return
            except BusError as error:
                log.warning("%s; the turn is not acknowledged before they are", error)

    async def _enqueue(self, work: TurnWork, key: str = "") -> None:
        while True:
            try:
                await enqueue(self._bus, work, key)
                return
            except BusError as error:
                log.warning("the next turn could not be queued (%s); trying again", error)
                await self._bus.connected.wait()
                await asyncio.sleep(0.5)

    # ---- finding the turns of a recording --------------------------------------------------------------------

    async def _segment(self, claim: Claim) -> None:
        """Each utterance becomes a turn of its own; the first keeps the id, the others follow it in the session."""
        work = claim.work
        pipeline = parse(work.spec, work.pipeline)
        found = await self._utterances(work, pipeline)
        if not found:
            reason = f"no speech was found in recording {work.recording}; is it silent, or very quiet?"
            await self._report(_bare_record(work, "failed", reason), work)
            await claim.done()
            return
        first, *rest = [_turn_of(work, number, speech, pipeline) for number, speech in enumerate(found)]
        for turn in rest:
            self._writer.write(_bare_record(turn, "pending", version=1))
        await self._written()
        own = ("turn_id", "index", "start", "end")
        first.then = [{name: getattr(turn, name) for name in own} for turn in rest] + work.then
        await self._enqueue(first, f"{work.turn_id}-found")
        await claim.done()

    async def _utterances(self, work: TurnWork, pipeline: Pipeline) -> list[SpeechEnded]:
        path = await self._recordings.path(work.recording)
        detector = await self._built.turn_taking.detector(pipeline.turn_taking.vad)
        return await asyncio.to_thread(lambda: list(find_utterances(blocks(path), detector, pipeline.turn_taking)))


def _turn_of(work: TurnWork, number: int, speech: SpeechEnded, pipeline: Pipeline) -> TurnWork:
    turn_id = work.turn_id if number == 0 else uuid.uuid5(uuid.UUID(work.turn_id), str(number)).hex
    return msgspec.structs.replace(
        work,
        turn_id=turn_id,
        index=work.index + number,
        start=max(speech.start / AXIS_RATE - pipeline.turn_taking.padding, 0.0),
        end=speech.end / AXIS_RATE + TAIL_SECONDS,
        segment=False,
        then=[],
        ready_at=0.0,
    )


def _following(work: TurnWork, record: TurnRecord) -> TurnWork:
    """The session's next turn, told what was said so far. Its entry in `then` may leave out what is as in this one."""
    history = spoken_history(record, msgspec.convert(work.history, list[Message]))[-HISTORY:]
    entry = {**msgspec.to_builtins(work), **work.then[0]}
    own = {"history": msgspec.to_builtins(history), "then": work.then[1:], "ready_at": time.time()}
    return msgspec.convert({**entry, **own}, TurnWork)


def _bare_record(work: TurnWork, status: Status, reason: str = "", version: int = 2) -> TurnRecord:
    """The record of a turn that has not begun, or could not."""
    return TurnRecord(
        project=work.project,
        version=version,
        turn_id=work.turn_id,
        session_id=work.session_id,
        index=work.index,
        pipeline=work.pipeline,
        pipeline_hash=work.pipeline_hash,
        status=status,
        reason=reason,
        recording=work.recording,
        started_at=time.time() if status != "pending" else 0.0,
    )
