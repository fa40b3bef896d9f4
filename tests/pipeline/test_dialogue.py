"""Who has the word: pauses, interruptions, backchannels, deaths and late frames, at hundreds of moments.

The clock is virtual and the stages are scripted, so each dialogue is foretold to the millisecond and always the same.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import virtual_time
from openomni import clock
from openomni.bus.sessions import OpenSession
from openomni.events import (
    AXIS_RATE,
    Answering,
    AudioEnd,
    AudioIn,
    CameBack,
    Endings,
    Heard,
    ItemIn,
    Message,
    Played,
    ReplyEnd,
    ReplyPaused,
    ReplyResumed,
    ReplySound,
    Respond,
    SessionChange,
    SessionInput,
    SessionOutput,
    Sound,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    Truncate,
    TurnDone,
    Value,
)
from openomni.media import Audio
from openomni.pipeline.judging import Judge
from openomni.pipeline.session import LiveSession
from openomni.pipeline.turn_taking import Detector
from openomni.records import TurnRecord
from pipeline.scripted import ScriptedRunner, tone
from pipeline.test_session import KeptReply, LoudMeansSpeech

REPLY = "It is long, that story. " + "".join(f"Part {number} has seven words in it. " for number in range(6))
SPOKEN = 8 * 0.5
"""Seconds of the reply: half a second a clause, and the first sentence has two."""


@dataclass
class Runner(ScriptedRunner):
    """Recognises `said`, one after the other by the utterance's beginning; the same utterance, heard longer, is one."""

    reply: str = REPLY
    said: tuple[str, ...] = ("what is the time",)
    llm_delay: float = 0.01
    ending_heard: float | None = None
    """How likely the recogniser thinks each is over."""
    heard: list[float] = field(default_factory=list)
    """Seconds of sound of each recognition."""
    died: int = 0

    async def _give(self, kind: str, inputs: AsyncIterator[Value], taken: list[Value]) -> AsyncIterator[Value]:
        if kind == "stt":
            taken += [value async for value in inputs]
            (sound,) = taken
            assert isinstance(sound, Sound)
            self.heard.append(sound.audio.duration)
            speech = np.flatnonzero(np.abs(sound.audio.samples) > 0.05)
            loudness = float(np.abs(sound.audio.samples).max()) if len(speech) else 0.0
            await asyncio.sleep(self.stt_delay)
            # Each utterance of a script has a loudness of its own: that says which one it is.
            yield Transcript(self.said[round((0.3 - loudness) / 0.02)], ending=self.ending_heard)
            return
        async for value in super()._give(kind, inputs, taken):
            yield value


@dataclass
class Talk:
    """A session, a person who speaks by a script, and a loudspeaker that plays, pauses and reports."""

    runner: Runner = field(default_factory=Runner)
    finished: Judge | None = None
    taking: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    late: float = 0.0
    """Seconds that every fifth frame comes late, and the rest with it."""
    plays: bool = True
    detector: Detector = field(default_factory=LoudMeansSpeech)
    out: list[tuple[float, SessionOutput]] = field(default_factory=list)
    records: list[Any] = field(default_factory=list)
    playing: dict[str, list[float]] = field(default_factory=dict)
    """Turn → when it began, seconds that have come, seconds that were played before the last pause, running since."""
    silent_at: list[float] = field(default_factory=list)
    position: int = 0

    def __post_init__(self) -> None:
        self.inputs: asyncio.Queue[SessionInput] = asyncio.Queue()

    async def _inputs(self) -> AsyncIterator[SessionInput]:
        while True:
            yield await self.inputs.get()

    async def _emit(self, event: SessionOutput) -> None:
        now = clock.now()
        self.out.append((now, event))
        if not self.plays:
            return
        match event:
            case ReplySound():
                seconds = len(event.pcm) / 2 / event.rate
                state = self.playing.setdefault(event.turn_id, [now, 0.0, 0.0, now])
                state[1] += seconds
                self._report(event.turn_id)
            case ReplyPaused():
                state = self.playing[event.turn_id]
                state[2], state[3] = self._played(state), -1.0
                self.silent_at.append(now)
                self._report(event.turn_id)
            case ReplyResumed():
                self.playing[event.turn_id][3] = now
            case ReplyEnd() if event.turn_id in self.playing:
                state = self.playing[event.turn_id]
                if event.status == "completed":
                    left = state[1] - self._played(state)
                    asyncio.get_running_loop().call_later(max(left, 0), self._end, event.turn_id)
                else:
                    state[2], state[3] = self._played(state), -1.0
                    self.silent_at.append(now)
                    self._report(event.turn_id, ended=True)

    @staticmethod
    def _played(state: list[float]) -> float:
        running = clock.now() - state[3] if state[3] >= 0 else 0.0
        return min(state[2] + running, state[1])

    def _end(self, turn_id: str) -> None:
        state = self.playing[turn_id]
        if state[3] < 0:
            return  # it was paused or cut meanwhile
        left = state[1] - self._played(state)
        if left > 1e-6:
            asyncio.get_running_loop().call_later(left, self._end, turn_id)
        else:
            self._report(turn_id, ended=True)

    def _report(self, turn_id: str, ended: bool = False) -> None:
        state = self.playing[turn_id]
        self.inputs.put_nowait(Played(turn_id, state[0], state[0], self._played(state), ended))

    def hold(self, script: Callable[[Talk], Awaitable[None]]) -> Talk:
        taking = {"end_of_turn": "scripted" if self.finished else "silence", **self.taking}
        stages = [{"stt": "simulated"}, {"llm": "simulated"}, {"tts": "simulated"}]
        opened = OpenSession(
            session_id="s1", project="p", site="home", device="d", pipeline="scripted", pipeline_hash="",
            spec={"name": "scripted", "stages": stages, "turn_taking": taking}, source="test", recording="r1",
            settings=self.settings,
        )  # fmt: skip

        async def main() -> None:
            session = LiveSession(
                opened, self.runner, self.detector, self._emit, self.records.append, KeptReply, judge=self.finished
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(session.run(self._inputs()))
                await script(self)
                self.inputs.put_nowait(AudioEnd())
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left behind: {left}"

        virtual_time.run(main())
        assert self.runner.open_stages == 0
        return self

    async def say(self, audio: Audio) -> None:
        for number, start in enumerate(range(0, len(audio.samples), 320)):
            frame = Audio(audio.samples[start : start + 320], AXIS_RATE)
            captured = clock.now()
            await asyncio.sleep(frame.duration)
            event = AudioIn(self.position, captured, frame.pcm16())
            if self.late and number % 5 == 0:
                asyncio.get_running_loop().call_later(self.late, self.inputs.put_nowait, event)
            else:
                self.inputs.put_nowait(event)
            self.position += len(frame.samples)

    async def speak(self, seconds: float, which: int = 0) -> None:
        """Utterance number `which` of the script."""
        audio = tone(seconds)
        await self.say(Audio(audio.samples * (0.3 - 0.02 * which) / 0.3, AXIS_RATE))

    async def wait(self, seconds: float) -> None:
        await self.say(Audio.silence(seconds, AXIS_RATE))

    async def until(self, kind: type[SessionOutput]) -> None:
        """Silence until such an event is out."""
        before = len(self.all(kind))
        while len(self.all(kind)) == before:
            await self.wait(0.02)

    def all(self, kind: type[SessionOutput]) -> list[Any]:
        return [event for _, event in self.out if isinstance(event, kind)]

    def at(self, kind: type[SessionOutput]) -> list[float]:
        return [at for at, event in self.out if isinstance(event, kind)]

    @property
    def turns(self) -> list[TurnRecord]:
        newest = {record.turn_id: record for record in self.records if isinstance(record, TurnRecord)}
        return sorted(newest.values(), key=lambda record: record.index)

    @property
    def prompts(self) -> list[list[Message]]:
        """What language models were given, oldest first."""
        return [list(taken[0].messages) for kind, taken in self.runner.seen if kind == "llm" and taken]


def judged(probability: float, after: float = 0.02) -> Judge:
    async def finished(audio: Audio, text: str, endings: Endings) -> float:
        await asyncio.sleep(after)
        return probability

    return finished


PAUSES = [round(0.04 + 0.02 * step, 2) for step in range(34)]


@pytest.mark.parametrize("pause", PAUSES)
def test_an_unfinished_sentence_is_waited_for(pause: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(pause)
        await talk.speak(1.0)
        await talk.wait(1.5)

    talk = Talk(finished=judged(0.1)).hold(script)
    (turn,) = talk.turns
    assert turn.status == "completed"
    assert min(talk.at(ReplySound)) > 2.0 + pause + 0.7
    (segment,) = turn.segments
    assert (segment.end - segment.start) / AXIS_RATE == pytest.approx(2.0 + pause, abs=0.07)
    superseded = {stage.revision for stage in turn.stages if stage.status == "superseded"}
    kept = {stage.revision for stage in turn.stages if stage.status == "completed"}
    assert len(kept) == 1
    assert bool(superseded) or pause < 0.16
    assert all(revision < min(kept) for revision in superseded)


@pytest.mark.parametrize("pause", [0.9, 1.0, 1.1, 1.2, 1.3])
def test_a_sentence_that_is_left_open_is_waited_for_longest(pause: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(pause)
        await talk.speak(1.0, which=1)
        await talk.wait(2.5)

    taking = {"open_threshold": 0.12, "open_silence": 1.4}
    (turn,) = Talk(finished=judged(0.05), taking=taking).hold(script).turns
    assert turn.status == "completed"
    assert len(Talk(finished=judged(0.2), taking=taking).hold(script).turns) == 2


@pytest.mark.parametrize("pause", PAUSES)
def test_a_finished_sentence_is_answered_at_once_and_never_twice(pause: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(pause)
        await talk.speak(1.0, which=1)
        await talk.wait(1.5)

    talk = Talk(Runner(said=("one", "two")), finished=judged(0.9)).hold(script)
    ids = {event.turn_id for event in talk.all(SpeechStopped)}
    assert len(talk.all(SpeechStopped)) == len(ids) == len(talk.turns) <= 2
    last = talk.turns[-1]
    assert last.status == "completed"
    assert last.voice_to_voice_s is not None
    assert 0.2 < last.voice_to_voice_s < 0.4
    assert abs((last.residue_s or 0) / last.voice_to_voice_s) <= 0.05
    if len(ids) == 1:
        assert pause <= 0.3


@pytest.mark.parametrize(("after", "delay"), list(itertools.product((0.06, 0.1, 0.14, 0.18), (0.0, 0.05, 0.2, 0.6))))
def test_voice_to_voice_is_the_models_or_the_decision_whichever_is_later(after: float, delay: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(3.0)

    runner = Runner(stt_delay=delay)
    talk = Talk(runner, finished=judged(0.9), taking={"speculate_after": after}).hold(script)
    (turn,) = talk.turns
    # Windows of 32 ms that end on frames of 20 ms decide when a pause is seen.
    models = after + delay + 0.01 * 4 + runner.tts_delay
    assert turn.voice_to_voice_s == pytest.approx(max(models, 0.2), abs=0.09)
    whole = sum(part.end_s - part.start_s for part in turn.parts)
    assert whole == pytest.approx(turn.voice_to_voice_s, abs=1e-6)
    assert (turn.residue_s or 0) <= 0.05 * (turn.voice_to_voice_s or 0)


INTERRUPTIONS = [round(0.1 + 0.23 * step, 2) for step in range(14)]


@pytest.mark.parametrize("moment", INTERRUPTIONS)
def test_an_interruption_stops_the_voice_and_what_was_not_heard_leaves_the_history(moment: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(moment)
        talk.spoke_at = clock.now()  # type: ignore[attr-defined]
        await talk.speak(1.2, which=1)
        await talk.wait(6.0)

    talk = Talk(Runner(said=("tell me a story", "no stop please")), finished=judged(0.9)).hold(script)
    first, second = talk.turns
    assert (first.interrupted, second.interrupted) == (True, False)
    assert second.status == "completed"
    spoke_at: float = talk.spoke_at  # type: ignore[attr-defined]
    assert talk.silent_at[0] - spoke_at <= 0.2
    # The reply is 0.5 s a clause; a word that was heard by more than half stays.
    told = talk.prompts[-1]
    assert [message.role for message in told][-1] == "user"
    assert told[-1].content == "no stop please"
    answers = [message.content for message in told if message.role == "assistant"]
    heard = answers[0] if answers else ""
    assert REPLY.replace("  ", " ").startswith(heard)
    assert len(heard) < len(REPLY.strip())
    cut = talk.at(ReplyEnd)[0]
    assert not [
        at for at, event in talk.out if isinstance(event, ReplySound) and event.turn_id == first.turn_id and at > cut
    ]


@pytest.mark.parametrize(
    ("moment", "word"), list(itertools.product(INTERRUPTIONS[:3], ("mm-hm", "Yeah.", "", "[coughs]", "Oh, okay.")))
)
def test_a_backchannel_pauses_the_voice_and_it_goes_on(moment: float, word: str) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(moment)
        await talk.speak(0.3, which=1)
        await talk.wait(8.0)

    talk = Talk(Runner(said=("tell me a story", word)), finished=judged(0.9)).hold(script)
    (turn,) = talk.turns
    assert (turn.status, turn.interrupted) == ("completed", False)
    assert len(talk.all(ReplyPaused)) == len(talk.all(ReplyResumed)) == 1
    # It hears the word's end 0.1 s later, and takes 0.1 s to recognise it.
    assert talk.at(ReplyResumed)[0] - talk.at(ReplyPaused)[0] < 0.6
    (state,) = talk.playing.values()
    assert state[1] == pytest.approx(SPOKEN)
    assert talk._played(state) == pytest.approx(SPOKEN)
    assert len(talk.all(SpeechStarted)) == 1
    assert len(turn.segments) == 2


@pytest.mark.parametrize("gap", [0.12, 0.16, 0.24, 0.3])
def test_a_backchannel_that_becomes_a_sentence_interrupts(gap: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(0.2)
        await talk.speak(0.2, which=1)
        await talk.wait(gap)
        await talk.speak(1.0, which=1)
        await talk.wait(4.0)

    runner = Runner(said=("tell me a story", "yeah"))
    talk = Talk(runner, finished=judged(0.1)).hold(script)
    first, second = talk.turns
    assert first.interrupted
    assert second.status == "completed"


def test_a_short_word_at_the_end_of_a_reply_answers_it() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(0.3)
        await talk.speak(0.3, which=1)
        await talk.wait(4.0)

    runner = Runner(said=("am I right", "yes"), reply="Do you think so? ")
    talk = Talk(runner, finished=judged(0.9)).hold(script)
    assert [turn.transcript for turn in talk.turns] == ["am I right", "yes"]


@pytest.mark.parametrize("late", [0.03, 0.08, 0.15])
def test_frames_that_come_late_change_no_word(late: float) -> None:
    async def script(talk: Talk) -> None:
        for _ in range(3):
            await talk.speak(1.0)
            await talk.wait(4.0)

    talk = Talk(finished=judged(0.9), late=late).hold(script)
    assert all(turn.status == "completed" for turn in talk.turns)
    assert len(talk.turns) >= 3


@pytest.mark.parametrize(("kind", "moment"), list(itertools.product(("stt", "llm", "tts"), (0.05, 0.15, 0.25, 0.5))))
def test_a_stage_that_dies_ends_its_turn_and_no_other(kind: str, moment: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(moment)
        talk.runner.fail = kind
        await talk.wait(1.5)
        talk.runner.fail = ""
        await talk.speak(1.0)
        await talk.wait(4.0)

    talk = Talk(finished=judged(0.9)).hold(script)
    first, second = talk.turns
    assert first.status in ("completed", "failed")
    assert second.status == "completed"
    assert {event.turn_id for event in talk.all(ReplyEnd)} == {first.turn_id, second.turn_id}


def test_a_stage_that_dies_in_what_is_superseded_is_nobodys_business() -> None:
    async def script(talk: Talk) -> None:
        talk.runner.fail = "stt"
        await talk.speak(0.5)
        await talk.wait(0.3)
        talk.runner.fail = ""
        await talk.speak(0.5)
        await talk.wait(3.0)

    talk = Talk(finished=judged(0.1)).hold(script)
    (turn,) = talk.turns
    assert turn.status == "completed"
    assert [event.status for event in talk.all(ReplyEnd)] == ["completed"]


def test_captions_come_while_the_person_speaks_and_the_last_one_is_final() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(0.3)
        await talk.speak(1.0)
        await talk.wait(3.0)

    talk = Talk(finished=judged(0.1)).hold(script)
    finals = [event.final for event in talk.all(Heard)]
    assert finals == [False, False, True]
    assert talk.at(Heard)[0] < 1.3


def test_an_answer_may_wait_to_be_asked_for() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(SessionChange(create_response=False))
        await talk.speak(1.0)
        await talk.wait(2.0)
        assert not talk.all(ReplySound)
        assert talk.all(Heard)[-1].final
        talk.inputs.put_nowait(Respond(instructions="Be brief."))
        await talk.wait(3.0)

    talk = Talk().hold(script)
    (turn,) = talk.turns
    assert turn.status == "completed"
    assert talk.prompts[0][0] == Message("system", "Be brief.")


def test_what_nobody_asked_to_answer_stays_in_the_conversation() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(SessionChange(create_response=False))
        await talk.speak(1.0)
        await talk.wait(1.0)
        await talk.speak(1.0, which=1)
        await talk.wait(1.0)
        talk.inputs.put_nowait(Respond())
        await talk.wait(3.0)

    talk = Talk(Runner(said=("one", "two"))).hold(script)
    first, second = talk.turns
    assert (first.status, first.reply_text, second.status) == ("completed", "", "completed")
    assert [message.content for message in talk.prompts[-1]] == ["one", "two"]


def test_what_a_client_sends_again_after_a_break_is_answered_once() -> None:
    def ask(talk: Talk) -> None:
        talk.inputs.put_nowait(ItemIn("a", Message("user", "Do I need a coat?"), once=True))
        talk.inputs.put_nowait(Respond("a"))

    async def script(talk: Talk) -> None:
        ask(talk)
        await talk.wait(0.05)
        ask(talk)  # while it is being answered
        await talk.wait(10.0)
        told = len(talk.all(TurnDone))
        ask(talk)  # when it was
        await talk.wait(1.0)
        (again,) = talk.all(TurnDone)[told:]
        assert again.turn_id == talk.all(Answering)[0].turn_id
        talk.inputs.put_nowait(ItemIn("b", Message("user", "And an umbrella?"), once=True))
        talk.inputs.put_nowait(Respond("b"))
        await talk.wait(4.0)

    talk = Talk().hold(script)
    coat, umbrella = talk.turns
    assert (coat.transcript, umbrella.transcript) == ("Do I need a coat?", "And an umbrella?")
    told = [("a", coat.turn_id)] * 3 + [("b", umbrella.turn_id)]
    assert [(event.request_id, event.turn_id) for event in talk.all(Answering)] == told
    assert [message.content for message in talk.prompts[-1]].count("Do I need a coat?") == 1


def test_other_clients_name_their_items_and_requests_as_they_like() -> None:
    async def script(talk: Talk) -> None:
        for text in ("Do I need a coat?", "And an umbrella?"):
            talk.inputs.put_nowait(ItemIn("msg_1", Message("user", text)))
            talk.inputs.put_nowait(Respond())
            await talk.wait(10.0)

    assert [turn.transcript for turn in Talk().hold(script).turns] == ["Do I need a coat?", "And an umbrella?"]


def test_who_comes_back_is_told_the_newest_turns_again() -> None:
    async def script(talk: Talk) -> None:
        for number in range(5):
            talk.inputs.put_nowait(ItemIn(f"item{number}", Message("user", f"Question {number}?")))
            talk.inputs.put_nowait(Respond())
            await talk.wait(10.0)
        told = len(talk.all(TurnDone))
        talk.inputs.put_nowait(CameBack())
        await talk.wait(1.0)
        again.extend(event.turn_id for event in talk.all(TurnDone)[told:])

    again: list[str] = []
    talk = Talk().hold(script)
    assert again == [turn.turn_id for turn in talk.turns[-3:]]


def test_the_agent_speaks_first_and_typed_items_are_answered_together() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(Respond(instructions="Greet the person."))
        await talk.wait(4.0)
        talk.inputs.put_nowait(ItemIn("a", Message("system", "It rains.")))
        talk.inputs.put_nowait(ItemIn("b", Message("user", "Do I need a coat?")))
        talk.inputs.put_nowait(Respond())
        await talk.wait(4.0)

    talk = Talk().hold(script)
    greeting, answer = talk.turns
    assert (greeting.transcript, answer.transcript) == ("", "Do I need a coat?")
    assert not talk.all(SpeechStarted)
    assert talk.prompts[0] == [Message("system", "Greet the person.")]
    assert [message.role for message in talk.prompts[1]] == ["assistant", "system", "user"]


def test_a_client_that_stops_a_reply_itself_says_what_was_heard() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplyEnd)
        await talk.wait(0.1)
        talk.inputs.put_nowait(Truncate(talk.all(ReplySound)[0].turn_id, 0.5))
        await talk.wait(3.0)
        await talk.speak(1.0)
        await talk.wait(3.0)

    talk = Talk(plays=False).hold(script)
    assert [message.content for message in talk.prompts[-1] if message.role == "assistant"] == ["It is long,"]


def test_written_replies_are_not_spoken() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(SessionChange(text_only=True))
        await talk.speak(1.0)
        await talk.wait(2.0)

    talk = Talk().hold(script)
    (turn,) = talk.turns
    assert not talk.all(ReplySound)
    assert turn.reply_text.strip() == REPLY.strip()
    assert {stage.kind for stage in turn.stages} == {"stt", "llm"}
