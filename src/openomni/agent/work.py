"""Queued turns: claimed from the bus, run on recorded speech, recorded, and only then acknowledged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import msgspec

from ..bus.connection import Bus, BusError
from ..bus.envelope import REPROCESS, THROUGHPUT, found_turn
from ..bus.lanes import Lanes
from ..bus.records import RecordWriter
from ..bus.work import Claim, TurnWork, Work
from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..pipeline.again import referenced
from ..pipeline.beside import Beside
from ..pipeline.judging import TAIL_SECONDS
from ..pipeline.queued import provenance_of, run_queued
from ..pipeline.spec import Pipeline
from ..pipeline.turn_taking import SpeechEnded, find_utterances
from ..pipeline.utterance import Utterance
from ..records import SegmentRecord, Status, TurnRecord
from ..storage.api import Unreachable
from .again import Again, Known
from .cancelled import CancelledGroups
from .health import AgentHealth, Busy
from .pool import ComponentPool
from .recordings import Recordings, blocks
from .references import References
from .reply_sound import ReplySounds
from .runner import FleetRunner

log = logging.getLogger(__name__)

REMEMBERED = 512
"""Finished turns that are known again when their claim comes back."""
HISTORY = 200
"""Messages that a queued turn is told at most."""
LEAD_IN_SECONDS = 1.0
"""What a detector hears before the place where speech is looked for: it tells speech from what was before it."""
RESCUED = "its agent or its gateway was gone before it was answered: this was run from the recording"
RETRY_DELAY = 2.0
FLUSH_SECONDS = 10.0


class QueuedTurns:
    """Claims turns while there is room, and does them. A turn is acknowledged when the bus has its record on disk."""

    def __init__(
        self,
        bus: Bus,
        project: str,
        health: AgentHealth,
        pool: ComponentPool,
        recordings: Recordings,
        replies: ReplySounds,
        writer: RecordWriter,
        references: References,
        runner: Callable[[], FleetRunner],
        unmeasured: Callable[[], Awaitable[None]],
    ) -> None:
        """`unmeasured` returns once nobody measures on this machine."""
        self._bus, self._project, self._health, self._pool = bus, project, health, pool
        self._references, self._again = references, Again(references, recordings)
        self._recordings, self._replies, self._writer, self._runner = recordings, replies, writer, runner
        self._unmeasured = unmeasured
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._running, self._cancelled = Beside(), CancelledGroups()

    async def claim(self) -> None:
        """Claims until it is cancelled; the turns that are under way go on then, until they end or `stop`. What a
        person waits for comes before what an experiment asks."""
        async with (
            await self._cancelled.listen(self._bus, self._project),
            Lanes(self._bus, self._project, REPROCESS, THROUGHPUT) as lanes,
        ):
            while True:
                await self._unmeasured()
                await self._health.until_room("turn")
                claim = await lanes.claim()
                self._cancelled.watch(self._running.start(self._do(claim), claim.name), claim)
                # Its task takes the slot before the next look at the room.
                await asyncio.sleep(0)

    async def stop(self) -> None:
        """Gives up what runs; its claims go back to the queue."""
        await self._running.stop()

    async def _do(self, claim: Claim) -> None:
        async with claim:
            while True:
                await self._unmeasured()
                try:
                    with self._health.hold("turn"):
                        await self._settle(claim)
                    return
                except Busy as busy:
                    if self._health.draining:
                        return  # on leaving, the claim goes back to the queue
                    log.debug("%s waits: %s", claim.name, busy)
                    await self._health.until_room("turn")

    async def _settle(self, claim: Claim) -> None:
        try:
            turn = TurnWork.of(claim.work)
        except msgspec.ValidationError as error:
            await claim.bury(f"not a turn of this version: {error}", "unreadable")
            return
        try:
            if self._cancelled.covers(claim.work):
                await claim.drop()
            elif claim.work.message_id in self._finished:
                await claim.done()
            elif turn.segment:
                await self._segment(claim, turn)
            else:
                await self._turn(claim, turn)
        except Unreachable as error:
            await self._failed(claim, turn, str(error), retry=True)
        except BusError as error:
            # Not acknowledged, so it comes again; `_finished` knows it then.
            log.warning("turn %s: %s", turn.turn_id, error)
        except OpenOmniError as error:
            await self._failed(claim, turn, str(error), retry=False)
        except Exception as error:
            log.exception("turn %s failed", turn.turn_id)
            await self._failed(claim, turn, f"{type(error).__name__}: {error}", retry=False)

    async def _turn(self, claim: Claim, turn: TurnWork) -> None:
        work, runner = claim.work, self._runner()
        pipeline = await self._references.pipeline(work.spec_hash, turn.pipeline)
        known = await self._again.known(turn, pipeline) if turn.reruns else await self._first(turn, pipeline)
        record = await run_queued(
            work, turn, pipeline, known.utterance, runner, lambda: self._replies.of(turn.session_id),
            believed=known.believed,
        )  # fmt: skip
        if record.status == "failed" and runner.unserved and not claim.last:
            await claim.fail(record.reason, delay=RETRY_DELAY)
            return
        if turn.rescued and record.status == "completed":
            record.reason = RESCUED
        if not turn.reruns:
            self._references.remember(record, known.history)
        await self._report(record, work)
        if record.status == "failed":
            await claim.bury(record.reason)
        else:
            await claim.done()

    async def _first(self, turn: TurnWork, pipeline: Pipeline) -> Known:
        """Of a recording that is run for the first time."""
        history = (await self._references.history(turn.session_id, turn.after)).last(HISTORY)
        audio = await self._recordings.sound(turn.recording, turn.start, turn.end, turn.track, turn.channel)
        wants_pictures = any(stage.framework.frames for stage in pipeline.stages)
        pictures = await self._recordings.pictures(turn.recording, turn.start, turn.end) if wants_pictures else []
        given = referenced(pipeline, turn.given)
        utterance = Utterance(
            audio=audio, frames=pictures, history=history.messages, items=history.items, given=given.values,
            given_as=given.sources,
        )  # fmt: skip
        return Known(utterance, history)

    async def _failed(self, claim: Claim, turn: TurnWork, reason: str, retry: bool) -> None:
        """Tries again where that may help; else the turn is recorded as failed and put among the dead."""
        if retry and not claim.last:
            await claim.fail(reason, delay=RETRY_DELAY)
            return
        await self._report(_bare_record(claim.work, turn, "failed", reason), claim.work)
        await claim.bury(reason)

    async def _report(self, record: TurnRecord, work: Work) -> None:
        """Returns when the record is on the bus's disk. What follows in the session is queued by the API, when it has
        written it."""
        await self._replies.settle()
        self._writer.write(record)
        await self._written()
        if record.status == "completed":
            self._finished[work.message_id] = None
            while len(self._finished) > REMEMBERED:
                self._finished.popitem(last=False)

    async def _written(self) -> None:
        while True:
            try:
                await self._writer.flush(FLUSH_SECONDS)
                return
            except BusError as error:
                log.warning("%s; the turn is not acknowledged before they are", error)

    # ---- finding the turns of a recording --------------------------------------------------------------------

    async def _segment(self, claim: Claim, turn: TurnWork) -> None:
        """Each utterance becomes a turn of its own; the first keeps the id, the others follow it in the session. They
        are recorded as found, and the API, which writes that, queues them."""
        pipeline = await self._references.pipeline(claim.work.spec_hash, turn.pipeline)
        found = await self._utterances(turn, pipeline)
        if not found and turn.rescued:
            reason = "it was looked for in the recording, and nothing was said there"
            await self._report(_bare_record(claim.work, turn, "cancelled", reason), claim.work)
            await claim.done()
            return
        if not found:
            reason = f"no speech was found in recording {turn.recording}; is it silent, or very quiet?"
            await self._report(_bare_record(claim.work, turn, "failed", reason), claim.work)
            await claim.done()
            return
        for number, speech in enumerate(found):
            self._writer.write(_found_record(claim.work, turn, number, speech, pipeline))
        await self._written()
        await claim.done()

    async def _utterances(self, turn: TurnWork, pipeline: Pipeline) -> list[SpeechEnded]:
        detector = await self._pool.turn_taking.detector(pipeline.turn_taking.vad)
        async with self._recordings.held(turn.recording, track=turn.track, channel=turn.channel) as path:
            begin = max(turn.start - LEAD_IN_SECONDS, 0.0)
            sound = blocks(path, begin, turn.end)
            found = await asyncio.to_thread(lambda: list(find_utterances(sound, detector, pipeline.turn_taking)))
        first, wanted = round(begin * AXIS_RATE), round(turn.start * AXIS_RATE)
        found = [SpeechEnded(each.start + first, each.end + first, each.decided + first) for each in found]
        found = [each for each in found if each.end > wanted]
        return _as_heard(found, turn) if turn.rescued else found


def _as_heard(found: list[SpeechEnded], turn: TurnWork) -> list[SpeechEnded]:
    """What a host had heard as one utterance is one, whatever pauses are in it."""
    start, heard_to = round(turn.start * AXIS_RATE), round(turn.heard_to * AXIS_RATE)
    if heard_to <= start:
        return found
    heard = [each for each in found if each.start < heard_to]
    whole = SpeechEnded(start, max([heard_to, *(each.end for each in heard)]), heard_to)
    return [whole, *(each for each in found if each.start >= heard_to)]


def _found_record(work: Work, turn: TurnWork, number: int, speech: SpeechEnded, pipeline: Pipeline) -> TurnRecord:
    """An utterance that waits to be run: its segment is what is to be run of the recording."""
    start = max(speech.start / AXIS_RATE - pipeline.turn_taking.padding, 0.0)
    first, last = round(start * AXIS_RATE), round(speech.end + TAIL_SECONDS * AXIS_RATE)
    segment = SegmentRecord("user", first + turn.position, last + turn.position)
    found = msgspec.structs.replace(turn, turn_id=found_turn(turn.turn_id, number), index=turn.index + number)
    # The row of the first was made as version 1 when it was queued.
    record = _bare_record(work, found, "pending", version=2)
    return msgspec.structs.replace(record, segments=[segment])


def _bare_record(work: Work, turn: TurnWork, status: Status, reason: str = "", version: int = 2) -> TurnRecord:
    """The record of a turn that has not begun, or could not."""
    return TurnRecord(
        project=work.project,
        version=version,
        turn_id=turn.turn_id,
        session_id=turn.session_id,
        index=turn.index,
        pipeline=turn.pipeline,
        pipeline_hash=work.spec_hash,
        status=status,
        reason=reason,
        recording=turn.recording,
        started_at=time.time() if status != "pending" else 0.0,
        outcome={"failed": "failed", "cancelled": "dismissed"}.get(status, ""),  # type: ignore[arg-type]
        live=False,
        **asdict(provenance_of(turn)),
    )
