"""What is said to the person: which replies are under way or being heard, stopped or paused, and what was heard."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from .. import clock
from ..clock import Offset
from ..events import Dismissed, Message, Played, ReplyEnd, ReplyPaused, ReplyResumed, SessionOutput
from ..records import DismissedRecord
from .account import Account, HeardPlayback, Overlap
from .conversation import Conversation, of_reply, of_user
from .heard import words_heard
from .revision import Revision

FIRST_REPORT_SECONDS = 1.5
"""How long a session that is over waits for a responder's first word about a reply."""
LAST_REPORT_SECONDS = 1.0
"""How long after a reply was stopped its responder's last word about it is waited for."""
PLAYBACK_SLACK_SECONDS = 3.0
"""How much longer than its sound a reply may take to be played before nobody is thought to play it."""
TOLD_AGAIN = 3
"""Turns whose records are told again to a client whose line broke."""
ALMOST_OVER_SECONDS, ASKED_SECONDS = 0.6, 1.5
"""With no more of a question left to hear, and as long after it, a short word answers it rather than goes along."""


@dataclass(slots=True, eq=False)
class Answer:
    """A turn whose end was decided, and the run that answers it."""

    account: Account
    revision: Revision
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody wants an answer; where the client asks for each itself, it may be set late or never."""
    waits: bool = False
    """It was recognised, and only waits to be asked for."""
    unwanted: bool = False
    """Nobody will ask for it any more."""
    over: bool = False
    joined: bool = False
    """What was said is the beginning of what was said next: that turn answers both."""
    let_go: bool = False
    """Its sound is gone, so what was heard of it stands as it is known."""
    paused_at: float | None = None
    paused_s: float = 0.0
    reported_at: float | None = None

    @property
    def generated_s(self) -> float:
        """Seconds of sound so far."""
        reply = self.account.turn.reply
        return reply.samples / reply.rate if reply.rate else 0.0

    @property
    def heard_s(self) -> float:
        """Seconds of the reply that were heard: as the responder says, or else as the clock does."""
        account, emitted = self.account, self.account.turn.reply.first_emitted
        if emitted is None:
            return 0.0
        heard = account.heard
        if heard is not None and (heard.ended or (self.paused_at and (self.reported_at or 0.0) >= self.paused_at)):
            return heard.seconds
        until = self.paused_at or account.interrupted_at or clock.now()
        estimate = until - (heard.started if heard is not None else emitted) - self.paused_s
        return max(min(estimate, self.generated_s), heard.seconds if heard is not None else 0.0)

    @property
    def being_heard(self) -> bool:
        account, emitted = self.account, self.account.turn.reply.first_emitted
        if emitted is None or account.interrupted:
            return False
        if account.heard is not None:
            return not account.heard.ended
        return self.paused_at is not None or clock.now() < emitted + self.paused_s + self.generated_s

    def given_before(self, moment: float) -> bool:
        """Some of it went out by then."""
        turn = self.account.turn
        emitted = turn.reply.first_emitted
        if not turn.speaks:
            return bool(turn.reply.text) and self.revision.gate.is_open
        return emitted is not None and emitted <= moment

    @property
    def unfinished(self) -> bool:
        return not self.over or self.being_heard

    def unheard(self, moment: float) -> bool:
        """Nothing of it was to be heard, or to be read where it has no voice, before that moment."""
        account = self.account
        if not account.turn.speaks:
            return not account.turn.reply.text
        return account.audible is None or moment < account.audible


class Replies:
    """`publish` gives out a turn's newest record."""

    def __init__(
        self,
        emit: Callable[[SessionOutput], Awaitable[None]],
        publish: Callable[[Account], Awaitable[None]],
        conversation: Conversation,
        offset: Callable[[], Offset],
    ) -> None:
        self._emit, self._publish, self._conversation, self._offset = emit, publish, conversation, offset
        self._answers: dict[str, Answer] = {}
        self._reported = False
        self._news = asyncio.Event()
        self._freed = asyncio.Event()
        self._added = asyncio.Event()
        self.challenged = False
        """The person speaks, and it is not known yet whether they take the word."""

    def __iter__(self) -> Iterator[Answer]:
        return iter(list(self._answers.values()))

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, answer: Answer) -> None:
        for other in self:
            if not other.unfinished:
                other.let_go = True
                other.account.turn.reply.clauses.clear()  # they hold its sound, and a session may last for hours
        self._answers[answer.account.turn.turn_id] = answer
        self._added.set()
        self._added = asyncio.Event()

    def find(self, turn_id: str) -> Answer | None:
        return self._answers.get(turn_id)

    async def tell_again(self) -> None:
        """The records of the newest turns that are over: a client whose line broke may not have got them."""
        for answer in [answer for answer in self if answer.over][-TOLD_AGAIN:]:
            await self._publish(answer.account)

    async def get(self, turn_id: str) -> Answer:
        """Returns once the end of that turn was decided."""
        while turn_id not in self._answers:
            added = self._added
            await added.wait()
        return self._answers[turn_id]

    @property
    def active(self) -> list[Answer]:
        """Those that are made or heard now."""
        return [answer for answer in self if answer.unfinished and answer.asked.is_set()]

    async def turn_of(self, turn_id: str) -> None:
        """Returns when every answer before this turn's is made."""
        while self._waits_for(turn_id):
            freed = self._freed
            await freed.wait()

    def _waits_for(self, turn_id: str) -> bool:
        for answer in self._answers.values():
            if answer.account.turn.turn_id == turn_id:
                return False
            if not answer.over:
                return True
        return False

    async def let_out(self, answer: Answer) -> None:
        """It is this answer's turn; its sound goes out, unless the person speaks again."""
        if self.challenged:
            answer.account.held_from = clock.now()
        else:
            await answer.revision.gate.open()

    def made(self, answer: Answer) -> None:
        """Nothing more comes of it; what was heard of it is part of the conversation."""
        turn = answer.account.turn
        answer.over = True
        if turn.reply.transcript.strip() and not answer.joined:
            frames = tuple(turn.utterance.images)
            self._conversation.put(of_user(turn.turn_id), Message("user", turn.reply.transcript, frames))
        self._remember(answer)
        self._freed.set()
        self._freed = asyncio.Event()

    def _remember(self, answer: Answer) -> None:
        if answer.let_go:
            return
        reply, account = answer.account.turn.reply, answer.account
        text = reply.text.strip()
        if account.interrupted:
            # What is written is read at once, as far as it came.
            text = words_heard(reply.clauses, answer.heard_s) if account.turn.speaks else text
            for task in account.turn.tasks:
                if task.stage.kind in ("llm", "end_to_end") and task.output:
                    task.output["heard"] = text
        if text or reply.tool_calls:
            message = Message("assistant", text, tool_calls=tuple(reply.tool_calls))
            self._conversation.put(of_reply(account.turn.turn_id), message)
        else:
            self._conversation.remove(of_reply(account.turn.turn_id))

    # ---- who has the word ----

    @property
    def asked(self) -> bool:
        """The newest reply asks something, and the person heard it: a short word answers it."""
        said = (answer for answer in reversed(self._answers.values()) if answer.over or answer.being_heard)
        newest = next(said, None)
        if newest is None or newest.account.interrupted:
            return False
        reply, heard = newest.account.turn.reply, newest.heard_s
        if not newest.being_heard:
            return _asks(reply.text)
        whole = reply.clauses if newest.over else reply.clauses[:-1]  # the last may still grow
        return any(
            heard - ASKED_SECONDS <= each.start + each.seconds <= heard + ALMOST_OVER_SECONDS
            for each in whole
            if _asks(each.clause.written)
        )

    @property
    def almost_over(self) -> bool:
        """Nothing is left to hear that is worth waiting for."""
        active = self.active
        return all(answer.over and answer.generated_s - answer.heard_s <= ALMOST_OVER_SECONDS for answer in active)

    def unheard(self, moment: float) -> list[Answer]:
        """Those under way, where nothing of any was to be heard before that moment."""
        active = self.active
        return active if active and all(answer.unheard(moment) for answer in active) else []

    async def challenge(self, began: float | None = None) -> None:
        """The person speaks, since `began`: nobody is talked over until it is known what they want."""
        self.challenged = True
        now = clock.now()
        for answer in self.active:
            answer.revision.gate.close()
            if answer.account.turn.reply.first_emitted is None:
                answer.account.held_from = now
            elif answer.paused_at is None:
                answer.paused_at = now
                if began is not None:
                    answer.account.overlaps.append(Overlap(began, max(now, began)))
                await self._emit(ReplyPaused(answer.account.turn.turn_id))

    async def dismiss(self, said: DismissedRecord | None = None) -> None:
        """They did not want the word: the reply goes on. `said`: what is left aside."""
        self.challenged = False
        for answer in self.active:
            if said is not None:
                answer.account.dismissed.append(said)
                turn_id = answer.account.turn.turn_id
                await self._emit(Dismissed(turn_id, said.start, said.end, said.text, said.log_probability, said.why))
            if answer.paused_at is not None:
                answer.paused_s += clock.now() - answer.paused_at
                answer.account.paused_s = answer.paused_s
                answer.paused_at = None
                await self._emit(ReplyResumed(answer.account.turn.turn_id))
            await answer.revision.gate.open()

    async def cut(self, reason: str, joined: bool = False) -> None:
        """What is made or heard is over. `joined`: what it answers is the beginning of what the person says now."""
        spoken_over, self.challenged = self.challenged, False
        for answer in self.active:
            account = answer.account
            answer.joined = joined
            if joined:
                self._conversation.remove(of_user(account.turn.turn_id))
            elif spoken_over and account.overlaps and answer.paused_at is not None:
                account.stopped_by = account.overlaps[-1]
            account.interrupted, account.interrupted_at, account.reason = True, clock.now(), reason
            self._tell_news()
            if not answer.over:
                answer.revision.gate.drop()
                answer.revision.running.cancel()
            else:
                self._remember(answer)
                await self._emit(ReplyEnd(account.turn.turn_id, "cancelled", reason))
                await self._publish(account)

    def cut_off(self, answer: Answer, moment: float) -> None:
        """What carried it to the person was gone then."""
        account = answer.account
        account.interrupted, account.interrupted_at = True, moment
        if answer.over:
            self._remember(answer)

    async def truncate(self, turn_id: str, seconds: float) -> None:
        """The client says what it played of a reply that it stopped itself."""
        answer = self._answers.get(turn_id)
        if answer is None or (emitted := answer.account.turn.reply.first_emitted) is None:
            return
        account = answer.account
        if account.heard is None:
            account.heard = HeardPlayback(emitted, None, 0.0, False, 0.0)
        account.heard.seconds, account.heard.ended = seconds, True
        if not account.interrupted:
            account.interrupted, account.interrupted_at = True, clock.now()
            account.reason = "the client stopped it"
        if answer.over:
            self._remember(answer)
            await self._publish(account)

    # ---- playback ----

    async def played(self, event: Played) -> None:
        """The first responder that reports a turn is believed; another's reports on it are left aside. What is no news
        changes nothing: a report may come twice, or after a newer one."""
        answer = self._answers.get(event.turn_id)
        if answer is None:
            return
        account = answer.account
        self._reported = True
        offset = self._offset()
        known = account.heard
        started = offset.to_local(event.started)
        audible = None if event.audible is None else offset.to_local(event.audible)
        if known is None:
            known = account.heard = HeardPlayback(started, audible, 0.0, False, event.uncertainty + offset.uncertainty)
        newly_audible = known.audible is None and audible is not None
        newly_ended = event.ended and not known.ended
        if not newly_audible and not newly_ended and event.seconds < known.seconds:
            return
        known.audible = known.audible if known.audible is not None else audible
        known.seconds, known.ended = max(known.seconds, event.seconds), known.ended or event.ended
        answer.reported_at = clock.now()
        self._tell_news()
        if answer.over and account.interrupted and newly_ended:
            self._remember(answer)
        if account.status != "started" and (newly_audible or newly_ended):
            await self._publish(account)

    def nobody_listens(self) -> None:
        """The client left: no report comes any more."""
        self._tell_news()

    async def playback_over(self) -> None:
        """Waits until the replies were heard, as far as anybody says that they are."""
        await self._until(lambda: max((self._open_until(answer) for answer in self), default=0.0))

    async def heard(self, answer: Answer) -> None:
        """Returns once it is known how much of this reply was heard, or nobody will say."""
        await self._until(lambda: self._known_at(answer))

    async def _until(self, moment: Callable[[], float]) -> None:
        """Returns at that moment, which news may bring nearer, or put off."""
        while (wait := moment() - clock.now()) > 0:
            news = self._news
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await news.wait()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _known_at(self, answer: Answer) -> float:
        """When no more is to be learnt of how it was heard; a responder says where it fell silent."""
        account = answer.account
        if account.interrupted and account.heard is not None and not account.heard.ended:
            return (account.interrupted_at or 0.0) + LAST_REPORT_SECONDS
        return self._open_until(answer)

    def _open_until(self, answer: Answer) -> float:
        """Until when a report on this reply may still come; 0 when none is wanted any more."""
        account, emitted = answer.account, answer.account.turn.reply.first_emitted
        if emitted is None or account.interrupted or (account.heard is not None and account.heard.ended):
            return 0.0
        if not self._reported:
            return emitted + FIRST_REPORT_SECONDS
        began = account.heard.started if account.heard is not None else emitted
        unheard = sum(other.generated_s for other in self if other.account.heard is None)
        return began + answer.paused_s + max(answer.generated_s, unheard) + PLAYBACK_SLACK_SECONDS


def _asks(text: str) -> bool:
    return _QUESTION.search(text) is not None


_QUESTION = re.compile(r"[?？؟]\W*$")
