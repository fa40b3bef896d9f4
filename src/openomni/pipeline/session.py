"""A live conversation on the agent that hosts it: what the person says in, turns through the stages, replies out.

One task reads the input and finds the utterances; another answers them in their order. At a pause a turn runs ahead
as a revision, its reply held back: it is let out when the end of the turn is sure, and superseded when the person
speaks on. Nothing here waits for a record to be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .. import clock, records
from ..clock import Offset
from ..events import (
    AXIS_RATE,
    AudioEnd,
    AudioIn,
    CancelResponse,
    Commit,
    Heard,
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
    SpeechStarted,
    SpeechStopped,
    TextIn,
    Tool,
    Truncate,
    TurnDone,
)
from ..media import Audio
from ..records import AnyRecord, SessionRecord, Status
from .account import Account, ReplySink
from .ahead import Ahead
from .backchannels import UNSURE, is_backchannel
from .conversation import Conversation
from .earlier import NOTHING_EARLIER, Earlier
from .replies import Answer, Replies
from .revision import Draft, Emit, Revision
from .spec import Pipeline, StageSpec, parse
from .tape import Tape
from .turn import StageRunner, Turn, TurnFailed, Utterance
from .turn_taking import Detector, SpeechBegan, SpeechEnded, SpeechFinder, SpeechPaused, SpeechResumed

if TYPE_CHECKING:
    from ..bus.sessions import OpenSession

TAIL_SECONDS = 0.2
"""Sound after the last speech sample that still belongs to the utterance: a soft ending."""
JUDGED_SECONDS = 8.0
"""How much of an utterance is looked at to say whether the person has finished."""

JUDGING_SECONDS = 0.15
"""How long before the longest silence is full a finished sentence is asked about, at the latest."""

Judge = Callable[[Audio, str, float | None], Awaitable[float]]
"""The probability that the person has finished, from the sound so far (16 kHz), its transcript, and how likely that
ends where it does, where a language model says so."""


class LiveSession:
    """One conversation; `run` once.

    `emit` publishes to the gateway; `record` takes a record and returns at once; `new_sink` opens the keeping of a
    reply; `offset` is that from this machine's clock to the gateway's; `earlier` is what another host did of it;
    `judge` is asked at pauses, where the pipeline names one.
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
    ) -> None:
        self._opened = opened
        self._pipeline: Pipeline = parse(opened.spec, opened.pipeline)
        self._runner, self._detector, self._judge = runner, detector, judge
        self._ahead = Ahead(self._pipeline, runner)
        self._emit, self._record, self._new_sink, self._offset = emit, record, new_sink, offset
        self._tape = Tape()
        self._finder: SpeechFinder | None = None
        self._committed = 0
        self._draft: Draft | None = None
        self._conversation = Conversation(earlier.history)
        self._replies = Replies(emit, self._publish, self._conversation, offset)
        self._first_index = earlier.turns
        self._version = records.later_version() if opened.settings.get("resumed") else 1
        self._waiting: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._runs: set[asyncio.Task[Any]] = set()
        self._started_at = time.time()
        self._taking = self._pipeline.turn_taking
        self._detects_turns = self._creates = True
        self._interruptible = self._taking.interruption == "stop"
        self._semantic = True
        self._text_only = False
        self._instructions: str | None = None
        self._tools: tuple[Tool, ...] = ()
        self._tool_choice = "auto"
        self._change(msgspec.convert(_known(opened.settings), SessionChange))
        self._wants_pictures = any(stage.framework.frames for stage in self._pipeline.stages)
        self._transcribes = any(stage.kind == "stt" for stage in self._pipeline.stages)

    async def run(self, inputs: AsyncIterator[SessionInput]) -> None:
        """Returns when the client left, or its capture ended and everything was answered and heard."""
        self._record(self._session_record("open"))
        status: Literal["closed", "lost"] = "lost"
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
        finally:
            for task in self._runs:
                task.cancel()
            await asyncio.gather(*self._runs, return_exceptions=True)
            for answer in self._replies:
                if answer.account.status == "started":
                    self._close_account(answer.account, "cancelled", "the session ended")
                    self._record(answer.account.record())
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
                    await self._replies.played(event)
                case PictureIn():
                    self._tape.show(event)
                case Commit():
                    await self._commit()
                case TextIn():
                    await self._begin(Utterance(text=event.text))
                case ItemIn():
                    self._conversation.put(event.item_id, event.message)
                case ItemGone():
                    self._conversation.remove(event.item_id)
                case Respond():
                    await self._respond(event)
                case CancelResponse():
                    await self._replies.cut("the client cancelled it")
                case Truncate():
                    await self._replies.truncate(event.turn_id, event.seconds)
                case SessionChange():
                    self._change(event)
                case AudioEnd():
                    await self._commit(anything=False)
                    return "ended"
                case SessionClose():
                    break
        self._replies.nobody_listens()
        return "left"

    def _change(self, event: SessionChange) -> None:
        for name, value in (
            ("_instructions", event.instructions),
            ("_interruptible", event.interrupt_response),
            ("_creates", event.create_response),
            ("_text_only", event.text_only),
            ("_tools", event.tools),
            ("_tool_choice", event.tool_choice),
            ("_semantic", event.semantic),
        ):
            if value is not None:
                setattr(self, name, value)
        if event.turn_detection is not None:
            self._detects_turns = event.turn_detection
            self._committed = max(self._committed, self._tape.end)
        times = {
            "end_of_turn_silence": event.silence,
            "threshold": event.threshold,
            "padding": event.padding,
        }
        self._taking = msgspec.structs.replace(
            self._taking, **{name: value for name, value in times.items() if value is not None}
        )
        if self._finder is not None:
            self._finder.taking, self._finder.default = self._taking, self._longest_silence

    @property
    def _judges(self) -> bool:
        return self._judge is not None and self._semantic

    @property
    def _longest_silence(self) -> float:
        """What ends an utterance about which nothing more is known."""
        taking = self._taking
        if not self._judges:
            return taking.end_of_turn_silence
        return max(taking.unfinished_silence, taking.end_of_turn_silence)

    # ---- speech ----

    async def _hear(self, event: AudioIn) -> None:
        new = self._tape.write(event)
        if self._finder is None:
            self._finder = SpeechFinder(self._detector, self._taking, event.position)
            self._finder.default = self._longest_silence
            self._committed = event.position
        for found in self._finder.feed(new):
            match found:
                case SpeechBegan():
                    await self._speech_began(found)
                case SpeechPaused() if self._detects_turns:
                    self._run_ahead(found)
                case SpeechResumed() if self._detects_turns:
                    await self._speaks_on()
                case SpeechEnded() if self._detects_turns:
                    await self._speech_ended(found)
        draft, taking = self._draft, self._taking
        if draft is not None and self._detects_turns and taking.recognise_every is not None:
            self._keep_up(draft, taking.recognise_every)
        if draft is not None and draft.challenges:
            speech = self._finder.last_speech - draft.start
            if speech >= round(taking.interruption_speech * AXIS_RATE):
                await self._take_word(draft)
        if not self._detects_turns:
            if self._tape.end - self._committed >= taking.max_utterance * AXIS_RATE:
                await self._commit()
        elif not self._finder.speaking:
            keep = taking.padding + taking.min_speech + 0.5
            self._tape.forget(self._tape.end - round(keep * AXIS_RATE))

    async def _speech_began(self, found: SpeechBegan) -> None:
        if self._draft is None or self._detects_turns:
            self._draft = Draft(uuid.uuid4().hex, found.start)
        await self._challenge(self._draft)
        if self._draft.challenges and not self._detects_turns:
            await self._take_word(self._draft)  # who says when they have finished means it when they begin

    async def _challenge(self, draft: Draft) -> None:
        if self._interruptible and self._replies.active:
            draft.challenges = True
            await self._replies.challenge()
        else:
            await self._announce(draft)

    async def _take_word(self, draft: Draft) -> None:
        """It is an interruption: what is being said stops."""
        draft.challenges = False
        await self._replies.cut("the person spoke")
        await self._announce(draft)

    async def _announce(self, draft: Draft) -> None:
        if not draft.announced:
            draft.announced = True
            await self._emit(SpeechStarted(draft.turn_id, draft.start))

    def _keep_up(self, draft: Draft, every: float) -> None:
        """Recognises what was said so far, while it goes on."""
        assert self._finder is not None
        if draft.revision is not None or draft.challenges or draft.dismissed or draft.recognising is not None:
            return
        here = self._finder.last_speech
        stage = self._ahead.recogniser
        if stage is not None and here - max(draft.recognised, draft.start) >= round(every * AXIS_RATE):
            draft.recognised = here
            draft.recognising = self._keep(self._recognise(draft, stage), "recognising")

    async def _recognise(self, draft: Draft, stage: StageSpec) -> None:
        """What was said so far is told, and read by the language model, which then has less to read at the end."""
        task = draft.begin_task(stage)
        padding = round(self._taking.padding * AXIS_RATE)
        try:
            text = await self._ahead.recognise(task, self._tape.sound(draft.start - padding, self._tape.end))
        finally:
            task.supersede()
            draft.recognising = None
        if self._draft is draft and draft.revision is None and text:
            await self._tell(draft)(Heard(draft.turn_id, text, final=False))
            await self._ahead.read(self._conversation.messages, self._instructions, text)

    def _run_ahead(self, found: SpeechPaused) -> None:
        """The turn may be over: it is answered as if it were, behind closed gates."""
        draft = self._draft
        assert draft is not None
        if draft.revision is None and not draft.dismissed:
            revision = self._revise(draft, found.end)
            if self._judges:
                self._keep(self._judge_pause(draft, revision), "judging")

    async def _judge_pause(self, draft: Draft, revision: Revision) -> None:
        """Shortens the wait when the person has finished."""
        assert self._judge is not None
        assert self._finder is not None
        try:
            text = await revision.transcript if self._transcribes else ""
        except asyncio.CancelledError:
            if self._draft is not draft or draft.revision is not revision:
                raise
            text = ""
        # Reading the prompt takes all cores, writing the reply one: the judge has the other then. Nothing is lost by
        # waiting for it, for there is no reply yet that could be let out.
        silence = clock.now() - self._captured(revision.end)
        wait = self._longest_silence - JUDGING_SECONDS - silence
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait, 0)):
                await revision.read.wait()
        begin = max(draft.start, revision.end - round(JUDGED_SECONDS * AXIS_RATE))
        heard = self._tape.sound(begin, revision.end + round(TAIL_SECONDS * AXIS_RATE))
        if self._draft is not draft or draft.revision is not revision:
            return  # they spoke on meanwhile
        finished = await self._judge(heard, text, revision.ending) >= self._taking.turn_threshold
        if finished and self._draft is draft and draft.revision is revision:
            self._finder.patience = self._taking.end_of_turn_silence
            if (ended := self._finder.settle()) is not None:
                await self._speech_ended(ended)

    async def _speaks_on(self) -> None:
        draft = self._draft
        assert draft is not None
        draft.supersede()
        if draft.dismissed:
            draft.dismissed = False
            await self._challenge(draft)

    async def _speech_ended(self, ended: SpeechEnded) -> None:
        draft, self._draft = self._draft, None
        assert draft is not None
        draft.ended, draft.decided = ended, clock.now()
        if draft.dismissed:
            draft.supersede()
            return
        if draft.revision is not None and draft.revision.end != ended.end:
            draft.supersede()
        if draft.revision is None:
            self._revise(draft, ended.end)
        if draft.challenges and not self._transcribes:
            await self._take_word(draft)
        if not draft.challenges:
            await self._decide(draft)

    async def _commit(self, anything: bool = True) -> None:
        """The utterance ends here. `anything`: also one in which the detector heard no speech."""
        if self._finder is None:
            return
        if self._detects_turns:
            ended = self._finder.finish()
            if ended is not None:
                await self._speech_ended(ended)
            return
        start, end = self._committed, self._tape.end
        self._committed = end
        self._finder.finish()
        heard = self._finder.last_speech
        draft, self._draft = self._draft or Draft(uuid.uuid4().hex, start, announced=True), None
        if end > start and (anything or heard > start):
            draft.start = start
            until = min(heard, end) if heard > start else end
            draft.ended, draft.decided = SpeechEnded(start, until, end), clock.now()
            self._revise(draft, until)
            await self._decide(draft)
        self._tape.forget(end)

    # ---- a turn ----

    def _revise(self, draft: Draft, end: int) -> Revision:
        """Begins to answer what was said so far."""
        if draft.recognising is not None:
            draft.recognising.cancel()
        padding = round(self._taking.padding * AXIS_RATE) if self._detects_turns else 0
        audio = self._tape.sound(draft.start - padding, end + round(TAIL_SECONDS * AXIS_RATE))
        frames = self._tape.pictures(draft.start, end) if self._wants_pictures else []
        return self._begin_revision(draft, Utterance(audio=audio, frames=frames), end)

    def _begin_revision(self, draft: Draft, utterance: Utterance, end: int) -> Revision:
        utterance.instructions = utterance.instructions or self._instructions
        utterance.tools = utterance.tools or self._tools
        if utterance.tool_choice == "auto":
            utterance.tool_choice = self._tool_choice
        utterance.text_only = utterance.text_only or self._text_only
        turn = Turn(
            draft.turn_id, self._pipeline, self._runner, utterance, self._emit, self._to_gateway,
            clearance=lambda text: self._clear(draft, turn, text), revision=draft.revisions,
        )  # fmt: skip
        draft.revisions += 1
        draft.revision = Revision(turn, end, self._out(turn), self._tell(draft))
        running = draft.revision.begin()
        self._runs.add(running)
        running.add_done_callback(self._runs.discard)
        return draft.revision

    async def _clear(self, draft: Draft, turn: Turn, text: str | None) -> None:
        """Returns when the turn may answer; never, when it is not to."""
        if draft.challenges and text is not None:
            if not (is_backchannel(text, self._taking.backchannels) or _is_guess(turn)):
                await self._take_word(draft)
            elif text.strip() and self._replies.asking and not _is_guess(turn):
                draft.challenges = False
                await self._replies.dismiss()
                await self._announce(draft)
            else:
                await self._dismiss(draft)
                await asyncio.get_running_loop().create_future()
            if draft.ended is not None:
                await self._decide(draft)
        await self._replies.turn_of(turn.turn_id)
        if not self._creates and not turn.utterance.speaks_first:
            await (await self._replies.get(turn.turn_id)).asked.wait()
        turn.utterance.history = self._conversation.messages
        revision = draft.revision
        if text and self._judges and revision is not None and revision.turn is turn and not revision.decided:
            await self._read_ending(revision, text)

    async def _read_ending(self, revision: Revision, text: str) -> None:
        """Lets the language model say how likely the sentence is over. It has to read it for its reply anyway."""
        told, revision.turn.read_from = revision.turn.utterance, clock.now()
        revision.ending = await self._ahead.ending(told.history, told.instructions, text)
        revision.read.set()

    async def _dismiss(self, draft: Draft) -> None:
        """A cough, or a word that shows attention: the reply goes on."""
        draft.challenges, draft.dismissed = False, True
        end = draft.revision.end if draft.revision is not None else draft.start
        await self._replies.dismiss((draft.start, end))
        if draft.ended is not None:
            draft.supersede()

    async def _begin(self, utterance: Utterance) -> None:
        """Answers what was typed, or nothing: the agent has the word."""
        here = self._tape.end
        draft = Draft(uuid.uuid4().hex, here, announced=True, ended=SpeechEnded(here, here, here), decided=clock.now())
        self._begin_revision(draft, utterance, here)
        await self._decide(draft, spoken=False)

    async def _respond(self, event: Respond) -> None:
        """Answers the utterance that waits for it, or the newest item, or speaks first."""
        unasked = [answer for answer in self._replies if not answer.asked.is_set() and not answer.over]
        choice: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(event).items() if value is not None
        }
        if unasked:
            for name, value in choice.items():
                setattr(unasked[-1].account.turn.utterance, name, value)
            unasked[-1].asked.set()
            return
        typed = self._conversation.take_typed()
        if typed is None:
            await self._begin(Utterance(speaks_first=True, **choice))
        else:
            await self._begin(Utterance(text=typed.content, images=typed.images, **choice))

    async def _decide(self, draft: Draft, spoken: bool = True) -> None:
        """The utterance is over: its turn is one of the session's now."""
        revision, ended = draft.revision, draft.ended
        assert revision is not None
        assert ended is not None
        turn, decided = revision.turn, draft.decided
        speech_end = self._captured(ended.end) if spoken else decided
        speech_start = self._captured(ended.start) if spoken else decided
        account = Account(
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
            superseded=draft.superseded,
        )
        answer = Answer(account, revision)
        if self._creates or not spoken:
            answer.asked.set()
        self._release_unasked()
        self._replies.add(answer)
        # The turn goes on first: what is told and kept of it must not hold it up.
        self._waiting.put_nowait(answer)
        await asyncio.sleep(0)
        if spoken:
            await self._announce(draft)
        if not turn.utterance.speaks_first:
            await self._emit(SpeechStopped(turn.turn_id, ended.end))
        await revision.decide()
        self._record(account.record())

    def _release_unasked(self) -> None:
        """Nobody asked for an answer to what was said before: it stays without one."""
        for answer in self._replies:
            if not answer.asked.is_set() and not answer.over:
                answer.account.reason = "no answer was asked for"
                answer.revision.running.cancel()

    def _captured(self, position: int) -> float:
        """When a sample was captured, on this machine's clock."""
        return self._offset().to_local(self._tape.captured(position))

    def _to_gateway(self, stamp: float) -> float:
        return self._offset().to_remote(stamp)

    # ---- what goes out ----

    async def _answer(self) -> None:
        """Lets the answers out in their order: a later one builds on what was said in the earlier."""
        while True:
            preparing = asyncio.create_task(
                self._ahead.read(self._conversation.messages, self._instructions), name="preparing"
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
        turn.let_go()
        ended = "cancelled" if account.interrupted else status
        await self._emit(ReplyEnd(turn.turn_id, ended, account.reason))  # type: ignore[arg-type]
        await self._publish(account)

    def _close_account(self, account: Account, status: Status, reason: str) -> None:
        account.close_sink()
        account.status, account.reason, account.ended = status, reason, clock.now()

    def _tell(self, draft: Draft) -> Emit:
        """Says what is heard of an utterance, once the person has the word."""

        async def tell(event: SessionOutput) -> None:
            if draft.announced:
                await self._emit(event)

        return tell

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
        record = account.record()
        self._record(record)
        await self._emit(TurnDone(record.turn_id, records.encode(record)))

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return task

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


def _is_guess(turn: Turn) -> bool:
    """Whether its recogniser says that it hardly understood anything: a hum has no words."""
    for task in turn.tasks:
        noticed = task.output.get("diagnostics")
        if task.stage.kind == "stt" and isinstance(noticed, dict):
            return float(noticed.get("avg_logprob", 0.0)) < UNSURE
    return False


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a session's settings that a client may change later."""
    return {name: value for name, value in settings.items() if name in SessionChange.__struct_fields__}
