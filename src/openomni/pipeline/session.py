"""A live conversation on the agent that hosts it: what the person says in, turns through the stages, replies out.

One task reads the input and finds the utterances; another answers them in their order. Neither waits for a record
to be written.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from .. import clock, records
from ..clock import Offset
from ..events import (
    AXIS_RATE,
    AudioEnd,
    AudioIn,
    CancelResponse,
    Commit,
    Message,
    PictureIn,
    Played,
    ReplyEnd,
    ReplySound,
    SessionChange,
    SessionClose,
    SessionEnded,
    SessionInput,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    TextIn,
    TurnDone,
)
from ..records import AnyRecord, SessionRecord, Status
from .account import Account, Heard, ReplySink
from .earlier import NOTHING_EARLIER, Earlier
from .prompt import beginning
from .spec import Pipeline, parse
from .tape import Tape
from .turn import StageRunner, Turn, TurnFailed, Utterance
from .turn_taking import Detector, SpeechBegan, SpeechFinder

if TYPE_CHECKING:
    from ..bus.sessions import OpenSession

TAIL_SECONDS = 0.2
"""Sound after the last speech sample that still belongs to the utterance: a soft ending."""
FIRST_REPORT_SECONDS = 1.5
"""How long a session that is over waits for a responder's first word about a reply."""
PLAYBACK_SLACK_SECONDS = 3.0
"""How much longer than its sound a reply may take to be played before nobody is thought to play it."""


class LiveSession:
    """One conversation; `run` once.

    `emit` publishes to the gateway; `record` takes a record and returns at once; `new_sink` opens the keeping of a
    reply; `offset` is that from this machine's clock to the gateway's; `earlier` is what another host did of it.
    """

    def __init__(
        self,
        opened: OpenSession,
        runner: StageRunner,
        detector: Detector,
        emit: Callable[[SessionOutput], Awaitable[None]],
        record: Callable[[AnyRecord], None],
        new_sink: Callable[[], ReplySink],
        offset: Callable[[], Offset] = Offset,
        earlier: Earlier = NOTHING_EARLIER,
    ) -> None:
        self._opened = opened
        self._pipeline: Pipeline = parse(opened.spec, opened.pipeline)
        self._runner, self._detector = runner, detector
        self._emit, self._record, self._new_sink, self._offset = emit, record, new_sink, offset
        self._tape = Tape()
        self._finder: SpeechFinder | None = None
        self._committed = 0
        self._next_turn_id = uuid.uuid4().hex
        self._history: list[Message] = [*earlier.history]
        self._first_index = earlier.turns
        self._version = records.later_version() if opened.settings.get("resumed") else 1
        self._accounts: dict[str, Account] = {}
        self._waiting: asyncio.Queue[Account | None] = asyncio.Queue()
        self._current: Account | None = None
        self._running: asyncio.Task[None] | None = None
        self._reported = False
        self._news = asyncio.Event()
        self._started_at = time.time()
        settings = opened.settings
        self._detects_turns = bool(settings.get("turn_detection", True))
        taking = self._pipeline.turn_taking
        self._interruptible = bool(settings.get("interrupt_response", taking.interruption == "stop"))
        self._instructions: str | None = settings.get("instructions")
        self._wants_pictures = any(stage.framework.frames for stage in self._pipeline.stages)

    async def run(self, inputs: AsyncIterator[SessionInput]) -> None:
        """Returns when the client left, or its capture ended and everything was answered and heard."""
        self._record(self._session_record("open"))
        status: Literal["closed", "lost"] = "lost"
        try:
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self._answer(), name="answering")
                if await self._read(inputs) == "ended":
                    self._waiting.put_nowait(None)
                    reports = group.create_task(self._read(inputs), name="playback reports")
                    await answering
                    await self._playback_over()
                    reports.cancel()
                answering.cancel()
            status = "closed"
        finally:
            for account in self._accounts.values():
                if account.status == "started":
                    self._close_account(account, "cancelled", "the session ended")
                    self._record(account.record())
            self._record(self._session_record(status))
        await self._emit(SessionEnded())

    # ---- what comes in ----

    async def _read(self, inputs: AsyncIterator[SessionInput]) -> Literal["ended", "left"]:
        """`ended`: the capture is over and what was said is to be answered; `left`: nobody waits for an answer."""
        async for event in inputs:
            match event:
                case AudioIn():
                    await self._hear(event)
                case Played():
                    await self._note_playback(event)
                case PictureIn():
                    self._tape.show(event)
                case Commit():
                    await self._commit()
                case TextIn():
                    await self._take_turn(Utterance(text=event.text), self._tape.end, self._tape.end)
                case CancelResponse():
                    await self._interrupt("the client cancelled it")
                case SessionChange():
                    self._change(event)
                case AudioEnd():
                    await self._commit(anything=False)
                    return "ended"
                case SessionClose():
                    break
        self._news.set()
        return "left"

    async def _hear(self, event: AudioIn) -> None:
        new = self._tape.write(event)
        taking = self._pipeline.turn_taking
        if self._finder is None:
            self._finder = SpeechFinder(self._detector, taking, event.position)
            self._committed = event.position
        for found in self._finder.feed(new):
            if isinstance(found, SpeechBegan):
                await self._emit(SpeechStarted(self._next_turn_id, found.start))
                await self._interrupt("the person spoke")
            elif self._detects_turns:
                await self._spoken(found.start, found.end)
        if not self._detects_turns:
            if self._tape.end - self._committed >= taking.max_utterance * AXIS_RATE:
                await self._commit()
        elif not self._finder.speaking:
            keep = taking.padding + taking.min_speech + 0.5
            self._tape.forget(self._tape.end - round(keep * AXIS_RATE))

    async def _commit(self, anything: bool = True) -> None:
        """The utterance ends here. `anything`: also one in which the detector heard no speech."""
        if self._finder is None:
            return
        if self._detects_turns:
            ended = self._finder.finish()
            if ended is not None:
                await self._spoken(ended.start, ended.end)
            return
        start, end = self._committed, self._tape.end
        self._committed = end
        self._finder.finish()
        heard = self._finder.last_speech
        if end > start and (anything or heard > start):
            await self._spoken(start, min(heard, end) if heard > start else end)
        self._tape.forget(end)

    async def _spoken(self, start: int, end: int) -> None:
        padding = round(self._pipeline.turn_taking.padding * AXIS_RATE)
        start_of_sound = start - padding if self._detects_turns else start
        audio = self._tape.sound(start_of_sound, end + round(TAIL_SECONDS * AXIS_RATE))
        frames = self._tape.pictures(start, end) if self._wants_pictures else []
        await self._take_turn(Utterance(audio=audio, frames=frames), start, end)

    async def _take_turn(self, utterance: Utterance, start: int, end: int) -> None:
        turn_id, self._next_turn_id = self._next_turn_id, uuid.uuid4().hex
        utterance.instructions = self._instructions
        decided = clock.now()
        spoken = utterance.audio is not None
        speech_end = self._captured(end) if spoken else decided
        speech_start = self._captured(start) if spoken else decided
        account = Account(
            project=self._opened.project,
            session_id=self._opened.session_id,
            index=self._first_index + len(self._accounts),
            turn=Turn(turn_id, self._pipeline, self._runner, utterance, self._emit, self._to_gateway),
            start=start,
            end=end,
            speech_end=speech_end,
            decided=decided,
            speech_start=speech_start,
            began_at=time.time() - (decided - speech_start),
            recording=self._opened.recording,
        )
        account.turn.emit = self._reply_emitter(account)
        self._accounts[turn_id] = account
        # The turn begins first: what is told and kept of it must not hold it up.
        self._waiting.put_nowait(account)
        await self._emit(SpeechStopped(turn_id, end))
        self._record(account.record())

    def _captured(self, position: int) -> float:
        """When a sample was captured, on this machine's clock."""
        return self._offset().to_local(self._tape.captured(position))

    def _to_gateway(self, stamp: float) -> float:
        return self._offset().to_remote(stamp)

    def _change(self, event: SessionChange) -> None:
        if event.instructions is not None:
            self._instructions = event.instructions
        if event.turn_detection is not None:
            self._detects_turns = event.turn_detection
            self._committed = max(self._committed, self._tape.end)
        if event.interrupt_response is not None:
            self._interruptible = event.interrupt_response

    # ---- what goes out ----

    async def _answer(self) -> None:
        """Answers the turns in their order: a later one builds on what was said in the earlier."""
        while True:
            preparing = asyncio.create_task(self._prepare(), name="preparing")
            try:
                account = await self._waiting.get()
            finally:
                preparing.cancel()
                await asyncio.gather(preparing, return_exceptions=True)
            if account is None:
                return
            self._current = account
            account.turn.utterance.history = list(self._history)
            self._running = asyncio.create_task(account.turn.run(), name=f"turn {account.turn.turn_id}")
            try:
                await asyncio.wait({self._running})
            finally:
                self._running.cancel()
                self._current = None
            await self._turn_over(account, self._running)

    async def _prepare(self) -> None:
        """Language models read instructions and history while the person has the word."""
        for stage in self._pipeline.stages:
            if stage.kind == "llm":
                told = beginning(stage.framework, self._history, self._instructions)
                await self._runner.prepare(stage, told)

    async def _turn_over(self, account: Account, run: asyncio.Task[None]) -> None:
        turn = account.turn
        status: Status = "completed"
        if run.cancelled():
            status = "completed" if account.interrupted else "cancelled"
        elif (error := run.exception()) is not None:
            if not isinstance(error, TurnFailed):
                error = TurnFailed(f"{type(error).__name__}: {error}")
            status, account.reason = "failed", str(error)
        self._close_account(account, status, account.reason)
        if turn.reply.transcript.strip():
            self._history.append(Message("user", turn.reply.transcript))
            if turn.reply.text.strip():
                self._history.append(Message("assistant", turn.reply.text.strip()))
        turn.let_go()
        ended = "cancelled" if account.interrupted else status
        await self._emit(ReplyEnd(turn.turn_id, ended, account.reason))  # type: ignore[arg-type]
        await self._publish(account)

    def _close_account(self, account: Account, status: Status, reason: str) -> None:
        account.close_sink()
        account.status, account.reason, account.ended = status, reason, clock.now()

    def _reply_emitter(self, account: Account) -> Callable[[SessionOutput], Awaitable[None]]:
        sink: ReplySink | None = None

        async def emit(event: SessionOutput) -> None:
            nonlocal sink
            if isinstance(event, ReplySound):
                if self._interruptible and self._finder is not None and self._finder.speaking:
                    # The person speaks on: nobody is talked over. The cut cancels this very task as it waits.
                    await self._interrupt("the person spoke on")
                    await asyncio.get_running_loop().create_future()
                if sink is None:
                    sink, account.reply_recording = self._new_sink(), uuid.uuid4().hex
                    sink.begin(event.turn_id, account.reply_recording, event.rate)
                    account.close_sink = sink.end
                sink.write(event.pcm)
            await self._emit(event)

        return emit

    async def _interrupt(self, reason: str) -> None:
        """Stops the replies that are being heard, or about to be."""
        if reason.startswith("the person") and not self._interruptible:
            return
        for account in list(self._accounts.values()):
            thinking = account is self._current and account.turn.reply.first_emitted is None
            if thinking and reason == "the person spoke":
                continue  # it may still be answered before they finish; if not, its sound is held back
            if account is self._current or self._being_heard(account):
                account.interrupted, account.interrupted_at = True, clock.now()
                account.reason = reason
                if account is self._current and self._running is not None:
                    self._running.cancel()
                else:
                    await self._emit(ReplyEnd(account.turn.turn_id, "cancelled", reason))
                    await self._publish(account)

    def _being_heard(self, account: Account) -> bool:
        reply = account.turn.reply
        if reply.first_emitted is None or account.interrupted:
            return False
        if account.heard is not None:
            return not account.heard.ended
        return clock.now() < reply.first_emitted + reply.samples / reply.rate

    async def _note_playback(self, event: Played) -> None:
        """The first responder that reports a turn is believed; another's reports on it are left aside."""
        account = self._accounts.get(event.turn_id)
        if account is None:
            return
        self._reported = True
        offset = self._offset()
        known = account.heard
        started = offset.to_local(event.started)
        audible = None if event.audible is None else offset.to_local(event.audible)
        if known is None:
            known = account.heard = Heard(started, audible, 0.0, False, event.uncertainty + offset.uncertainty)
        newly_audible = known.audible is None and audible is not None
        known.audible = known.audible if known.audible is not None else audible
        known.seconds, known.ended = max(known.seconds, event.seconds), known.ended or event.ended
        self._news.set()
        if account.status != "started" and (newly_audible or event.ended):
            await self._publish(account)

    async def _playback_over(self) -> None:
        """Waits until the replies were heard, as far as anybody says that they are."""
        while True:
            open_until = [self._open_until(account) for account in self._accounts.values()]
            wait = max(open_until, default=0.0) - clock.now()
            if wait <= 0:
                return
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait)
            except TimeoutError:
                return

    def _open_until(self, account: Account) -> float:
        """Until when a report on this turn's reply may still come; 0 when none is wanted any more."""
        reply = account.turn.reply
        if reply.first_emitted is None or account.interrupted or (account.heard is not None and account.heard.ended):
            return 0.0
        if not self._reported:
            return reply.first_emitted + FIRST_REPORT_SECONDS
        began = account.heard.started if account.heard is not None else reply.first_emitted
        unheard = sum(
            other.turn.reply.samples / other.turn.reply.rate
            for other in self._accounts.values()
            if other.turn.reply.rate and other.heard is None
        )
        return began + max(reply.samples / reply.rate, unheard) + PLAYBACK_SLACK_SECONDS

    async def _publish(self, account: Account) -> None:
        record = account.record()
        self._record(record)
        await self._emit(TurnDone(record.turn_id, records.encode(record)))

    def _session_record(self, status: Literal["open", "closed", "lost"]) -> SessionRecord:
        opened = self._opened
        return SessionRecord(
            project=opened.project,
            version=self._version + (status != "open"),
            session_id=opened.session_id,
            pipeline=self._pipeline.name,
            pipeline_hash=self._pipeline.hash,
            spec=self._pipeline.normalised(),
            device=opened.device,
            site=opened.site,
            source=opened.source,
            status=status,
            started_at=self._started_at,
            ended_at=None if status == "open" else time.time(),
            recordings=[opened.recording] if opened.recording else [],
        )
