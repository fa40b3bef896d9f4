"""A live conversation on the agent that hosts it: what the person says in, turns through the stages, replies out.

One task reads the input and finds the utterances; another answers them in their order. At a pause a turn runs ahead
as a revision, its reply held back: it is let out when the end of the turn is sure, and superseded when the person
speaks on. Nothing here waits for a record to be written.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .. import clock, records
from ..clock import Offset
from ..errors import WrongUsage
from ..events import (
    Answering,
    AudioEnd,
    AudioIn,
    CameBack,
    CancelResponse,
    Commit,
    ItemGone,
    ItemIn,
    PictureIn,
    Played,
    ReplyEnd,
    ReplySound,
    Respond,
    SessionChange,
    SessionClose,
    SessionEnded,
    SessionInput,
    SessionOutput,
    SpeechStopped,
    TextIn,
    Truncate,
    TurnDone,
)
from ..records import AnyRecord, Status
from .account import Account, ReplySink, typed
from .admission import Admission, fault
from .ahead import Ahead
from .begun_before import BegunBefore
from .beside import Beside
from .conversation import Conversation
from .earlier import NOTHING_EARLIER, Earlier
from .hearing import Hearing, noticed
from .judging import EndOfTurn, Judge
from .kept import Kept, provenance
from .pictures import with_whole_images
from .replies import Answer, Replies
from .revision import Draft, Emit, Revision
from .seen import Seen
from .settings import Settings
from .spec import Pipeline, parse
from .turn import StageRunner, Turn, TurnFailed
from .turn_taking import Detector, SpeechEnded
from .utterance import Utterance

if TYPE_CHECKING:
    from ..bus.sessions import OpenSession

LOST = "its agent stopped, or lost the line to the client, before it was answered"
HOPS = 4
"""Steps of the event loop from a turn's beginning until its first stage's model works."""
CUT_OFF = "its agent stopped, or lost the line to the client, while it was answered"


class LiveSession:
    """One conversation; `run` once.

    `emit` publishes to the gateway; `record` takes a record and returns at once; `new_sink` opens the keeping of a
    reply; `offset` is that from this machine's clock to the gateway's; `earlier` is what another host did of it;
    `judge` is asked at pauses, where the pipeline names one; `keep_picture` takes a JPEG that the client put into the
    conversation, and returns at once.
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
        judge: Judge | None = None,
        keep_picture: Callable[[bytes], None] = lambda jpeg: None,
    ) -> None:
        self._opened = opened
        self._pipeline: Pipeline = parse(opened.spec, opened.pipeline)
        self._runner = runner
        self._ahead = Ahead(self._pipeline, runner)
        self._emit, self._new_sink, self._offset, self._keep_picture = emit, new_sink, offset, keep_picture
        self._kept, self._provenance = Kept(opened, self._pipeline, record), provenance(opened)
        resumed = bool(opened.settings.get("resumed"))
        version = records.later_version() if resumed else 0
        self._conversation = Conversation(earlier.history, earlier.items, version)
        self._replies = Replies(emit, self._publish, self._conversation, offset)
        self._first_index, self._first_version = earlier.turns, version
        self._begun_before = BegunBefore(opened.unfinished)
        self._waiting: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._runs: set[asyncio.Task[None]] = set()
        self._beside = Beside()
        self._seen = Seen()
        self._settling: set[str] = set()
        self._admission = Admission(opened.session_id, lambda: self._to_gateway(clock.now()))
        taking = self._pipeline.turn_taking
        self._settings = Settings(taking, interruptible=taking.interruption == "stop")
        change = msgspec.convert(_known(opened.settings), SessionChange)
        if reason := fault(change):
            raise WrongUsage(f"the session's settings can't be had: {reason}")
        self._settings.change(change)
        self._end_of_turn = EndOfTurn(self._settings, judge)
        self._hearing = Hearing(
            self._pipeline, self._settings, detector, self._end_of_turn, self._ahead, self._replies,
            self._conversation, emit, offset, self._begin_revision, self._decide, self._beside.start,
            self._begun_before.turn_of,
        )  # fmt: skip

    async def run(self, inputs: AsyncIterator[SessionInput]) -> None:
        """Returns when the client left, or its capture ended and everything was answered and heard."""
        self._kept.session("open")
        status: Literal["closed", "lost"] = "lost"
        line_lost: float | None = None
        try:
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self._answer(), name="answering")
                if await self._read(inputs) == "ended":
                    self._release_unasked()
                    self._waiting.put_nowait(None)
                    reports = group.create_task(self._read(inputs), name="playback reports")
                    await answering
                    await self._replies.playback_over()
                    reports.cancel()
                answering.cancel()
            status = "closed"
        except BaseExceptionGroup as broken:
            line_lost = _silent_since(broken)
            raise
        finally:
            for task in self._runs:
                task.cancel()
            await asyncio.gather(*self._runs, self._beside.stop(), return_exceptions=True)
            self._close_what_is_left(status == "lost", line_lost or clock.now())
            self._kept.items(self._conversation)
            self._kept.settle_all()
            self._kept.session(status)
        await self._emit(SessionEnded())

    def _close_what_is_left(self, lost: bool, since: float) -> None:
        """`lost`: it broke off, or its agent stops: what was said and not answered is told as such, with its place in
        the recording, from which it can be answered yet. A reply of which something went out before `since` was cut
        off."""
        over: tuple[Status, str] = ("failed", LOST) if lost else ("cancelled", "the session ended")
        for answer in self._replies:
            account = answer.account
            ended = account.ended if account.status != "started" else None
            if ended is not None and (not lost or ended <= since or account.interrupted):
                continue
            if lost and answer.given_before(since):
                self._replies.cut_off(answer, since)
                self._close_account(account, "completed", CUT_OFF)
            elif ended is None:
                account.lost = lost
                self._close_account(account, *over)
            else:
                account.live = False  # it was made, and nobody could hear it
            self._kept.hold(account.record())
        draft = self._hearing.unfinished
        if lost and draft is not None and draft.ended is not None:
            draft.decided = clock.now()
            turn = Turn(draft.turn_id, self._pipeline, self._runner, Utterance(), self._emit)
            account = self._account(draft, turn, spoken=True)
            account.lost = True
            self._close_account(account, *over)
            self._kept.hold(account.record())

    # ---- what comes in ----

    async def _read(self, inputs: AsyncIterator[SessionInput]) -> Literal["ended", "left"]:
        """`ended`: the capture is over and what was said is to be answered; `left`: nobody waits for an answer."""
        async for came in inputs:
            event = self._admission.admit(came)
            match event:
                case AudioIn():
                    await self._hearing.hear(event)
                case Played():
                    await self._replies.played(event)
                case PictureIn():
                    self._hearing.show(event)
                case Commit():
                    await self._hearing.commit()
                case TextIn():
                    await self._begin(Utterance(text=event.text))
                case ItemIn():
                    if not event.once or self._seen.is_new(event.item_id):
                        message = await with_whole_images(event.message)
                        for image in message.images:
                            self._keep_picture(image.jpeg())
                        self._conversation.put(event.item_id, message)
                case ItemGone():
                    self._conversation.remove(event.item_id)
                    self._seen.forget(event.item_id)
                case Respond():
                    await self._asked(event)
                case CameBack():
                    await self._replies.tell_again()
                case CancelResponse():
                    await self._replies.cut("the client cancelled it")
                case Truncate():
                    await self._replies.truncate(event.turn_id, event.seconds)
                case SessionChange():
                    self._settings.change(event)
                    self._hearing.settings_changed(event.turn_detection is not None)
                    if event.voice:
                        self._beside.start(self._ahead.load_voice(event.voice), "loading a voice")
                case AudioEnd():
                    await self._hearing.commit(anything=False)
                    return "ended"
                case SessionClose():
                    break
        self._replies.nobody_listens()
        return "left"

    # ---- a turn ----

    def _begin_revision(self, draft: Draft, utterance: Utterance, end: int) -> Revision:
        self._settings.fill(utterance)
        turn = Turn(
            draft.turn_id, self._pipeline, self._runner, utterance, self._emit, self._to_gateway,
            clearance=lambda text: self._clear(draft, turn, text), revision=draft.revisions,
        )  # fmt: skip
        draft.revisions += 1
        draft.revision = Revision(turn, end, self._out(turn), lambda event: self._hearing.tell(draft, event))
        running = draft.revision.begin()
        self._runs.add(running)
        running.add_done_callback(self._runs.discard)
        return draft.revision

    async def _clear(self, draft: Draft, turn: Turn, text: str | None) -> None:
        """Returns when the turn may answer; never, when it is not to."""
        if text is not None:
            await self._hearing.may_answer(draft, turn, text)
        await self._replies.turn_of(turn.turn_id)
        if not self._settings.creates and not turn.utterance.speaks_first:
            answer = await self._replies.get(turn.turn_id)
            answer.waits = True
            if answer.unwanted:
                answer.revision.running.cancel()
            await answer.asked.wait()
        turn.utterance.history, turn.utterance.items = self._conversation.tell()
        revision = draft.revision
        if revision is not None and revision.turn is turn and not revision.decided:
            if text and self._end_of_turn.reads(noticed(turn, "ending")):
                await self._read_ending(revision, text)
            revision.read.set()

    async def _read_ending(self, revision: Revision, text: str) -> None:
        """Lets the language model say how likely the sentence is over. It has to read it for its reply anyway."""
        told, revision.turn.read_from = revision.turn.utterance, clock.now()
        revision.ending = await self._ahead.ending(told.history, told.instructions, text)

    async def _asked(self, event: Respond) -> None:
        turn_id = self._seen.turn_of(event.request_id)
        if turn_id is None:
            await self._respond(event)
            return
        assert event.request_id is not None
        await self._emit(Answering(event.request_id, turn_id))
        answer = self._replies.find(turn_id)
        if answer is not None and answer.over:
            await self._publish(answer.account)

    async def _answering(self, request: str | None, turn_id: str) -> None:
        if request is not None:
            self._seen.answers(request, turn_id)
            await self._emit(Answering(request, turn_id))

    async def _begin(self, utterance: Utterance, request: str | None = None) -> None:
        """Answers what was typed, or nothing: the agent has the word."""
        here = self._hearing.end
        draft = Draft(uuid.uuid4().hex, here, announced=True, ended=SpeechEnded(here, here, here), decided=clock.now())
        await self._answering(request, draft.turn_id)
        self._begin_revision(draft, utterance, here)
        await self._decide(draft, spoken=False)

    async def _respond(self, event: Respond) -> None:
        """Answers the utterance that waits for it, or the newest item, or speaks first."""
        unasked = [answer for answer in self._replies if not answer.asked.is_set() and not answer.over]
        choice = msgspec.structs.asdict(event)
        request = choice.pop("request_id")
        choice = {name: value for name, value in choice.items() if value is not None}
        if unasked:
            turn = unasked[-1].account.turn
            for name, value in choice.items():
                setattr(turn.utterance, name, value)
            await self._answering(request, turn.turn_id)
            unasked[-1].asked.set()
            return
        typed = self._conversation.take_typed()
        if typed is None:
            await self._begin(Utterance(speaks_first=True, **choice), request)
        else:
            await self._begin(Utterance(text=typed.content, images=typed.images, **choice), request)

    async def _decide(self, draft: Draft, spoken: bool = True) -> None:
        """The utterance is over: its turn is one of the session's now."""
        revision, ended = draft.revision, draft.ended
        assert revision is not None
        assert ended is not None
        turn = revision.turn
        account = self._account(draft, turn, spoken)
        answer = Answer(account, revision)
        if self._settings.creates or not spoken:
            answer.asked.set()
        self._release_unasked()
        self._replies.add(answer)
        # The turn goes on first: what is told and kept of it must not hold it up.
        self._waiting.put_nowait(answer)
        for _ in range(HOPS):
            await asyncio.sleep(0)
        if spoken:
            await self._hearing.announce(draft)
        if not turn.utterance.speaks_first:
            await self._emit(SpeechStopped(turn.turn_id, ended.end, ended.start))
        await revision.decide()
        self._kept.turn(account.record())

    def _account(self, draft: Draft, turn: Turn, spoken: bool) -> Account:
        ended, decided = draft.ended, draft.decided
        assert ended is not None
        speech_end = self._hearing.captured(ended.end) if spoken else decided
        speech_start = self._hearing.captured(ended.start) if spoken else decided
        return Account(
            project=self._opened.project,
            session_id=self._opened.session_id,
            index=self._first_index + len(self._replies),
            turn=turn,
            start=ended.start,
            end=ended.end,
            speech_end=speech_end,
            decided=decided,
            speech_start=speech_start,
            began_at=time.time() - (decided - speech_start),
            recording=self._opened.recording,
            sound=draft.revision.sound if draft.revision is not None else None,
            superseded=draft.superseded,
            pauses=draft.pauses,
            provenance=self._provenance if spoken else typed(self._provenance),
            source="vad" if self._settings.detects_turns else "client",
            version=self._first_version,
        )

    def _release_unasked(self) -> None:
        """Nobody asked for an answer to what was said before: it stays without one, but is recognised to its end."""
        for answer in self._replies:
            if not answer.asked.is_set() and not answer.over:
                answer.account.reason = "no answer was asked for"
                answer.unwanted = True
                if answer.waits:
                    answer.revision.running.cancel()

    def _to_gateway(self, stamp: float) -> float:
        return self._offset().to_remote(stamp)

    # ---- what goes out ----

    async def _answer(self) -> None:
        """Lets the answers out in their order: a later one builds on what was said in the earlier."""
        while True:
            preparing = asyncio.create_task(
                self._ahead.read(self._conversation.messages, self._settings.instructions), name="preparing"
            )
            try:
                answer = await self._waiting.get()
            finally:
                preparing.cancel()
                await asyncio.gather(preparing, return_exceptions=True)
            if answer is None:
                return
            await self._replies.let_out(answer)
            await asyncio.wait({answer.revision.running})
            await self._turn_over(answer)

    async def _turn_over(self, answer: Answer) -> None:
        account, run = answer.account, answer.revision.running
        turn = account.turn
        status: Status = "completed"
        if run.cancelled():
            unasked = not answer.asked.is_set() and bool(account.reason)
            status = "completed" if account.interrupted or unasked else "cancelled"
        elif (error := run.exception()) is not None:
            if not isinstance(error, TurnFailed):
                error = TurnFailed(f"{type(error).__name__}: {error}")
            status, account.reason = "failed", str(error)
        if not run.cancelled() and run.exception() is None:
            await answer.revision.gate.emptied()
        self._close_account(account, status, account.reason)
        self._replies.made(answer)
        self._kept.items(self._conversation, account)
        turn.let_go()
        ended = "cancelled" if account.interrupted else status
        await self._emit(ReplyEnd(turn.turn_id, ended, account.reason))  # type: ignore[arg-type]
        await self._publish(account)

    def _close_account(self, account: Account, status: Status, reason: str) -> None:
        account.close_sink()
        account.status, account.reason, account.ended = status, reason, clock.now()

    def _out(self, turn: Turn) -> Emit:
        """The way of a reply out of the gate."""
        sink: ReplySink | None = None

        async def out(event: SessionOutput) -> None:
            nonlocal sink
            if isinstance(event, ReplySound):
                now = clock.now()
                if sink is None:
                    account = next(answer.account for answer in self._replies if answer.account.turn is turn)
                    sink, account.reply_recording = self._new_sink(), uuid.uuid4().hex
                    sink.begin(event.turn_id, account.reply_recording, event.rate)
                    account.close_sink = sink.end
                    turn.reply.first_emitted = now
                sink.write(event.pcm)
                event = msgspec.structs.replace(event, sent=self._to_gateway(now))
            await self._emit(event)

        return out

    async def _publish(self, account: Account) -> None:
        """Tells the newest of a turn that is over; it is kept once it is known how it was heard."""
        record = account.record()
        self._kept.items(self._conversation, account)
        self._kept.hold(record)
        await self._emit(TurnDone(record.turn_id, records.encode(record)))
        if record.turn_id not in self._settling:
            self._settling.add(record.turn_id)
            self._beside.start(self._settle(record.turn_id), "settling")

    async def _settle(self, turn_id: str) -> None:
        try:
            if (answer := self._replies.find(turn_id)) is not None:
                await self._replies.heard(answer)
            self._kept.settle(turn_id)
        finally:
            self._settling.discard(turn_id)


def _silent_since(broken: BaseExceptionGroup[BaseException]) -> float | None:
    """When the other side was heard last, where it is that which ended it."""
    found = (getattr(each, "since", None) for each in broken.exceptions)
    return next((since for since in found if since is not None), None)


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a session's settings that a client may change later."""
    return {name: value for name, value in settings.items() if name in SessionChange.__struct_fields__}
