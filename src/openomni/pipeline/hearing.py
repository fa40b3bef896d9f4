"""What the person says in a session: where it begins, pauses and ends, and whether it takes the word from a reply.

At a pause the utterance is answered as if it were over, as a revision with its output held back; when the person
speaks on, that is superseded. What ends a pause sooner or later than usual is what is learnt about it meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from .. import clock
from ..clock import Offset
from ..events import AXIS_RATE, AudioIn, Endings, Heard, NothingCommitted, PictureIn, SessionOutput, SpeechStarted
from ..media import Samples
from ..records import DismissedRecord, PauseRecord
from .ahead import Ahead
from .backchannels import Meaning, Understood
from .conversation import Conversation
from .judging import TAIL_SECONDS, EndOfTurn
from .replies import Replies
from .revision import Draft, Revision
from .settings import Settings
from .spec import Pipeline, StageSpec
from .tape import BRIDGED, Tape
from .turn import Turn
from .turn_taking import Detector, SpeechBegan, SpeechEnded, SpeechFinder, SpeechPaused, SpeechResumed
from .utterance import Utterance

KEPT_SECONDS = 0.5
"""Sound that is kept while nobody speaks, besides what may turn out to be the beginning of an utterance."""
SKIPPED_SECONDS = 0.5
"""While nobody speaks, a gap in the capture that is longer is left out, not looked at as silence."""
GOES_ON_SECONDS = 1.2
"""Who was silent for longer has said all: what comes then is something new, whether or not a slow reply was heard."""
GROWS = 0.5
"""Somebody who speaks on is recognised again when they have said that much more, as a share of what is known."""


class Hearing:
    """Of one session. `begin` begins to answer an utterance up to a sample, `decide` says that a draft is over, `keep`
    looks after work that goes on beside, `turn_of` names the turn of an utterance that begins at a sample."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        detector: Detector,
        end_of_turn: EndOfTurn,
        ahead: Ahead,
        replies: Replies,
        conversation: Conversation,
        emit: Callable[[SessionOutput], Awaitable[None]],
        offset: Callable[[], Offset],
        begin: Callable[[Draft, Utterance, int], Revision],
        decide: Callable[[Draft], Awaitable[None]],
        keep: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        turn_of: Callable[[int], str],
    ) -> None:
        self._settings, self._detector, self._end_of_turn, self._ahead = settings, detector, end_of_turn, ahead
        self._replies, self._conversation, self._emit, self._offset = replies, conversation, emit, offset
        self._begin, self._decide, self._keep, self._turn_of = begin, decide, keep, turn_of
        self._wants_pictures = any(stage.framework.frames for stage in pipeline.stages)
        self._transcribes = ahead.recogniser is not None
        self._tape = Tape()
        self._finder: SpeechFinder | None = None
        self._committed = 0
        self._draft: Draft | None = None
        self._newest = ""
        """The turn whose end was found last."""

    @property
    def end(self) -> int:
        """Just past the newest sample."""
        return self._tape.end

    def captured(self, position: int) -> float:
        """When a sample was captured, on this machine's clock."""
        return self._offset().to_local(self._tape.captured(position))

    @property
    def unfinished(self) -> Draft | None:
        """What is being said, and takes the word or may take it; its `ended` says up to where it was heard."""
        draft = self._draft
        if draft is None or draft.dismissed or self._finder is None:
            return None
        draft.ended = SpeechEnded(draft.start, max(self._finder.last_speech, draft.start), self._tape.end)
        return draft

    def show(self, event: PictureIn) -> None:
        self._tape.show(event)

    def settings_changed(self, turn_detection: bool) -> None:
        """`turn_detection`: who says where an utterance ends was set, too."""
        if turn_detection:
            self._committed = max(self._committed, self._tape.end)
        if self._finder is not None:
            self._finder.taking, self._finder.default = self._settings.taking, self._end_of_turn.usual

    async def hear(self, event: AudioIn) -> None:
        if self._finder is not None:
            await self._mind_gap(self._finder, event.position)
        new = self._tape.write(event)
        if self._finder is None:
            self._finder = SpeechFinder(self._detector, self._settings.taking, event.position)
            self._finder.default = self._end_of_turn.usual
            self._committed = event.position
        await self._listen(self._finder, new)

    async def _mind_gap(self, finder: SpeechFinder, position: int) -> None:
        """Behind a long gap all begins anew: what was being said is over, and the gap costs no more than a pause."""
        under_way = finder.speaking or not self._settings.detects_turns
        if self._tape.gap(position) <= (BRIDGED if under_way else round(SKIPPED_SECONDS * AXIS_RATE)):
            return
        if under_way:
            await self._listen(finder, self._tape.be_silent(BRIDGED))
            await self.commit(anything=False)
        self._tape.skip(position)
        self._finder = None

    async def _listen(self, finder: SpeechFinder, new: Samples) -> None:
        settings, taking = self._settings, self._settings.taking
        for found in finder.feed(new):
            match found:
                case SpeechBegan():
                    await self._speech_began(found)
                case SpeechPaused() if settings.detects_turns:
                    self._run_ahead(found)
                case SpeechResumed() if settings.detects_turns:
                    await self._speaks_on(found)
                case SpeechEnded() if settings.detects_turns:
                    await self._speech_ended(found)
        draft = self._draft
        if draft is not None and settings.detects_turns and taking.recognise_every is not None:
            self._keep_up(draft, taking.recognise_every)
        if draft is not None and draft.challenges:
            speech = finder.last_speech - draft.start
            if speech >= round(taking.interruption_speech * AXIS_RATE):
                await self._take_word(draft)
        if not settings.detects_turns:
            if self._tape.end - self._committed >= taking.max_utterance * AXIS_RATE:
                await self.commit()
        elif not finder.speaking:
            keep = taking.padding + taking.min_speech + KEPT_SECONDS
            self._tape.forget(min(self._tape.end - round(keep * AXIS_RATE), self._may_be_joined_from()))

    def _may_be_joined_from(self) -> int:
        """Where the sound begins with which somebody may go on: what is answered, and no answer was heard yet."""
        answer, taking = self._replies.find(self._newest), self._settings.taking
        if answer is None or not answer.unfinished or not answer.unheard(clock.now()):
            return self._tape.end
        began = max(answer.account.start, self._tape.end - round(taking.max_utterance * AXIS_RATE))
        return began - round(taking.padding * AXIS_RATE)

    async def commit(self, anything: bool = True) -> None:
        """The utterance ends here. `anything`: also one in which the detector heard no speech."""
        if self._finder is None:
            return
        if self._settings.detects_turns:
            ended = self._finder.finish()
            if ended is not None:
                await self._speech_ended(ended, by_silence=False)
            elif anything:
                await self._emit(NothingCommitted())
            return
        start, end = self._committed, self._tape.end
        self._committed = end
        self._finder.finish()
        heard = self._finder.last_speech
        draft, self._draft = self._draft or Draft(self._turn_of(start), start, announced=True), None
        if end > start and (anything or heard > start):
            draft.start = start
            until = min(heard, end) if heard > start else end
            draft.ended, draft.decided = SpeechEnded(start, until, end), clock.now()
            self._revise(draft, until)
            await self._decide(draft)
        self._tape.forget(end)

    # ---- who has the word ----

    async def may_answer(self, draft: Draft, turn: Turn, text: str) -> None:
        """Returns when what was said takes the word, or takes it from nobody; never, where it only goes along with a
        reply."""
        understood = Understood.of(text, noticed(turn, "diagnostics") or {})
        taking, asked = self._settings.taking, self._replies.asked
        if not understood.text and (believed := understood.believed(taking, asked)):
            turn.reply.transcript = believed
            await turn.emit(Heard(turn.turn_id, believed, final=True))
        if not draft.challenges:
            return
        meaning = understood.meaning(taking, asked)
        if understood.commands(taking):
            draft.goes_on_from = None
        if draft.goes_on_from is not None and meaning not in ("guess", "nothing"):
            # Nobody goes along with what they did not hear. It ends this revision, so it is a task of its own.
            self._keep(self._go_on(draft), "going on")
            await asyncio.get_running_loop().create_future()
        if meaning in ("attention", "guess", "nothing"):
            await self._dismiss(draft, understood, meaning)
            await asyncio.get_running_loop().create_future()
        over = draft.ended is not None  # else it is decided where its end is found
        if meaning == "answer" and self._replies.almost_over:
            draft.challenges = False
            await self._replies.dismiss()
            await self.announce(draft)
        else:
            await self._take_word(draft)
        if over:
            await self._decide(draft)

    async def announce(self, draft: Draft) -> None:
        if not draft.announced:
            draft.announced = True
            await self._emit(SpeechStarted(draft.turn_id, draft.start))

    async def tell(self, draft: Draft, event: SessionOutput) -> None:
        """Says what is heard of an utterance, once the person has the word."""
        if draft.announced:
            await self._emit(event)

    async def _speech_began(self, found: SpeechBegan) -> None:
        if self._draft is None or self._settings.detects_turns:
            self._draft = Draft(self._turn_of(found.start), found.start)
        await self._challenge(self._draft)
        if self._draft.challenges and not self._settings.detects_turns:
            await self._take_word(self._draft)  # who says when they have finished means it when they begin

    async def _challenge(self, draft: Draft) -> None:
        settings = self._settings
        # A client that says when an utterance ends, and when it is answered, also says what is cancelled.
        if settings.interruptible and (settings.detects_turns or settings.creates) and self._replies.active:
            draft.challenges = True
            draft.goes_on_from = self._unheard_from(draft) if settings.detects_turns else None
            await self._replies.challenge(self.captured(draft.start))
        else:
            await self.announce(draft)

    def _unheard_from(self, draft: Draft) -> int | None:
        """Where what is answered now began, where this was said before anything of the answer was heard."""
        unheard = [answer.account for answer in self._replies.unheard(self.captured(draft.start))]
        silent = draft.start - max((account.end for account in unheard), default=draft.start)
        if silent > GOES_ON_SECONDS * AXIS_RATE:
            return None
        began = min((account.start for account in unheard if account.spoken), default=None)
        if began is None or began < self._tape.base:  # there was a gap
            return None
        longest = self._settings.taking.max_utterance * AXIS_RATE
        return began if self._tape.end - began <= longest else None

    async def _take_word(self, draft: Draft) -> None:
        """It is an interruption: what is being said stops."""
        if draft.goes_on_from is not None:
            await self._go_on(draft)
            return
        draft.challenges = False
        await self._replies.cut("the person spoke")
        await self.announce(draft)

    async def _go_on(self, draft: Draft) -> None:
        """Nothing of what is being answered was heard yet: the person goes on with it, and both are one utterance."""
        if not draft.challenges or draft.goes_on_from is None:
            return
        draft.challenges, draft.start, draft.goes_on_from = False, draft.goes_on_from, None
        over = draft.ended is not None
        if draft.ended is not None:
            draft.ended = SpeechEnded(draft.start, draft.ended.end, draft.ended.decided)
        if draft.revision is not None:
            end = draft.revision.end
            draft.supersede()
            self._revise(draft, end)
        await self._replies.cut("the person spoke on", joined=True)
        await self.announce(draft)
        if over:
            await self._decide(draft)

    async def _dismiss(self, draft: Draft, understood: Understood, why: Meaning) -> None:
        """A cough, or a word that shows attention: the reply goes on."""
        draft.challenges, draft.dismissed = False, True
        end = draft.revision.end if draft.revision is not None else draft.start
        await self._replies.dismiss(
            DismissedRecord(
                start=draft.start, end=end, text=understood.words, log_probability=understood.log_probability, why=why
            )
        )
        if draft.ended is not None:
            draft.supersede()

    # ---- ahead of the end ----

    def _keep_up(self, draft: Draft, every: float) -> None:
        """Recognises what was said so far, while it goes on."""
        assert self._finder is not None
        if draft.revision is not None or draft.challenges or draft.dismissed or draft.recognising is not None:
            return
        here, known = self._finder.last_speech, max(draft.recognised, draft.start)
        stage = self._ahead.recogniser
        # All of it is recognised again, which takes longer the longer it is, and a pause would have to wait for that.
        wait = max(every * AXIS_RATE, GROWS * (known - draft.start))
        if stage is not None and here - known >= round(wait):
            draft.recognised = here
            draft.recognising = self._keep(self._recognise(draft, stage), "recognising")

    async def _recognise(self, draft: Draft, stage: StageSpec) -> None:
        """What was said so far is told, and read by the language model, which then has less to read at the end."""
        task = draft.begin_task(stage)
        task.ask(language=self._settings.language)
        padding = round(self._settings.taking.padding * AXIS_RATE)
        try:
            text = await self._ahead.recognise(task, self._tape.sound(draft.start - padding, self._tape.end))
        finally:
            task.supersede()
            draft.recognising = None
        if self._draft is draft and draft.revision is None and text:
            await self.tell(draft, Heard(draft.turn_id, text, final=False))
            await self._ahead.read(self._conversation.messages, self._settings.instructions, text)

    def _run_ahead(self, found: SpeechPaused) -> None:
        """The turn may be over: it is answered as if it were, behind closed gates."""
        draft = self._draft
        assert draft is not None
        if draft.revision is None and not draft.dismissed:
            revision = self._revise(draft, found.end)
            pause = PauseRecord(at=found.end, revision=revision.turn.revision, silence_s=self._end_of_turn.usual)
            draft.pauses.append(pause)
            if self._end_of_turn.asks:
                self._keep(self._judge_pause(draft, revision, pause), "judging")

    async def _judge_pause(self, draft: Draft, revision: Revision, pause: PauseRecord) -> None:
        """Says how long to wait in this pause, once something is known about it."""
        assert self._finder is not None
        try:
            text = await revision.transcript if self._transcribes else ""
        except asyncio.CancelledError:
            if self._draft is not draft or draft.revision is not revision:
                raise
            text = ""
        # Reading the prompt takes all cores, writing the reply one: the judge has the other then. Nothing is lost by
        # waiting for it, for there is no reply yet that could be let out.
        silence = clock.now() - self.captured(revision.end)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(self._end_of_turn.asked_at_last - silence, 0)):
                await revision.read.wait()
        begin, tail = self._end_of_turn.looked_at(draft.start, revision.end)
        heard = self._tape.sound(begin, tail)
        if self._draft is not draft or draft.revision is not revision:
            return  # they spoke on meanwhile
        endings = Endings(noticed(revision.turn, "ending"), revision.ending)
        finished, silence = await self._end_of_turn.ask(heard, text, endings)
        if self._draft is draft and draft.revision is revision:
            pause.finished, pause.silence_s = finished, silence
            pause.recogniser, pause.language_model = endings.recogniser, endings.reader
            self._finder.patience = silence
            if (ended := self._finder.settle()) is not None:
                await self._speech_ended(ended)

    async def _speaks_on(self, found: SpeechResumed) -> None:
        draft = self._draft
        assert draft is not None
        if draft.pauses:
            pause = draft.pauses[-1]
            pause.lasted_s = (found.resumed - pause.at) / AXIS_RATE
        draft.supersede()
        if draft.dismissed:
            draft.dismissed = False
            await self._challenge(draft)

    async def _speech_ended(self, ended: SpeechEnded, by_silence: bool = True) -> None:
        draft, self._draft = self._draft, None
        assert draft is not None
        draft.ended, draft.decided = SpeechEnded(draft.start, ended.end, ended.decided), clock.now()
        self._newest = draft.turn_id
        if by_silence:
            self._note_end(draft, ended)
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

    def _note_end(self, draft: Draft, ended: SpeechEnded) -> None:
        silence = ended.decided - ended.end
        if not silence:
            return  # they spoke for longer than anybody may
        if not draft.pauses or draft.pauses[-1].at != ended.end:  # nothing ran ahead in it
            pause = PauseRecord(at=ended.end, revision=draft.revisions, silence_s=self._end_of_turn.usual)
            draft.pauses.append(pause)
        draft.pauses[-1].lasted_s, draft.pauses[-1].ended = silence / AXIS_RATE, True

    def _revise(self, draft: Draft, end: int) -> Revision:
        """Begins to answer what was said so far."""
        if draft.recognising is not None:
            draft.recognising.cancel()
        padding = round(self._settings.taking.padding * AXIS_RATE) if self._settings.detects_turns else 0
        span = self._tape.held(draft.start - padding, end + round(TAIL_SECONDS * AXIS_RATE))
        frames = self._tape.pictures(draft.start, end) if self._wants_pictures else []
        revision = self._begin(draft, Utterance(audio=self._tape.sound(*span), frames=frames), end)
        revision.sound = span
        return revision


def noticed(turn: Turn, what: str) -> Any:
    """What its recogniser says beside the text; None where it says nothing."""
    return next((task.output.get(what) for task in turn.tasks if task.stage.kind == "stt"), None)
