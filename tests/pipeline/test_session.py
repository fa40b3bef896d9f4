"""Dialogues on a virtual clock: every millisecond of them is foretold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import virtual_time
from openomni import clock
from openomni.bus.sessions import OpenSession
from openomni.events import (
    AXIS_RATE,
    AudioEnd,
    AudioIn,
    Commit,
    Heard,
    Played,
    ReplyEnd,
    ReplySound,
    Respond,
    SessionClose,
    SessionEnded,
    SessionInput,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    TextIn,
    TurnDone,
)
from openomni.media import Audio, Samples
from openomni.pipeline.earlier import NOTHING_EARLIER, Earlier
from openomni.pipeline.session import LiveSession
from openomni.records import AnyRecord, SessionRecord, TurnRecord
from pipeline.scripted import ScriptedRunner, tone

SPEC = {"name": "scripted", "stages": [{"stt": "simulated"}, {"llm": "simulated"}, {"tts": "simulated"}]}


class LoudMeansSpeech:
    window = 512

    def __call__(self, samples: Samples) -> float:
        return float(np.abs(samples).max() > 0.05)


@dataclass
class KeptReply:
    begun: list[tuple[str, str, int]] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    ended: int = 0

    def begin(self, turn_id: str, recording_id: str, rate: int) -> None:
        self.begun.append((turn_id, recording_id, rate))

    def write(self, pcm: bytes) -> None:
        self.pcm += pcm

    def end(self) -> None:
        self.ended += 1


@dataclass
class Dialogue:
    """A session with its input and what it gave; `responder` answers sound with playback reports after a delay."""

    runner: ScriptedRunner = field(default_factory=ScriptedRunner)
    settings: dict[str, Any] = field(default_factory=dict)
    opening: dict[str, Any] = field(default_factory=dict)
    responder_delay: float | None = None
    earlier: Earlier = NOTHING_EARLIER
    out: list[tuple[float, SessionOutput]] = field(default_factory=list)
    records: list[AnyRecord] = field(default_factory=list)
    sink: KeptReply = field(default_factory=KeptReply)
    position: int = 0
    detector: LoudMeansSpeech = field(default_factory=LoudMeansSpeech)
    pictures: list[bytes] = field(default_factory=list)
    """Those that were to be kept."""

    def __post_init__(self) -> None:
        self.inputs: asyncio.Queue[SessionInput] = asyncio.Queue()

    async def _inputs(self) -> AsyncIterator[SessionInput]:
        while True:
            yield await self.inputs.get()

    async def _emit(self, event: SessionOutput) -> None:
        self.out.append((clock.now(), event))
        if isinstance(event, ReplySound) and event.offset == 0 and self.responder_delay is not None:
            heard = clock.now() + self.responder_delay
            loop = asyncio.get_running_loop()
            report = Played(event.turn_id, heard, heard, 0.5, False)
            loop.call_later(self.responder_delay, self.inputs.put_nowait, report)
            done = Played(event.turn_id, heard, heard, 1.0, True)
            loop.call_later(self.responder_delay + 1.0, self.inputs.put_nowait, done)

    def session(self) -> LiveSession:
        opened = OpenSession(
            session_id="s1", project="p", site="home", device="d", pipeline="scripted", pipeline_hash="", spec=SPEC,
            recording="r1", settings=self.settings, **{"source": "test", **self.opening},
        )  # fmt: skip
        return LiveSession(
            opened, self.runner, self.detector, self._emit, self.records.append, lambda: self.sink,
            earlier=self.earlier, keep_picture=self.pictures.append,
        )  # fmt: skip

    async def say(self, audio: Audio) -> None:
        """At real-time pace, in frames of 20 ms; a frame is there once its last sample was captured."""
        for start in range(0, len(audio.samples), 320):
            frame = Audio(audio.samples[start : start + 320], AXIS_RATE)
            captured = clock.now()
            await asyncio.sleep(frame.duration)
            self.inputs.put_nowait(AudioIn(self.position, captured, frame.pcm16()))
            self.position += len(frame.samples)

    async def speak(self, seconds: float) -> None:
        await self.say(tone(seconds))

    async def be_silent(self, seconds: float) -> None:
        await self.say(Audio.silence(seconds, AXIS_RATE))

    def events(self, kind: type) -> list[Any]:
        return [event for _, event in self.out if isinstance(event, kind)]

    def turns(self) -> list[TurnRecord]:
        """The newest record of each turn, in order."""
        newest = {record.turn_id: record for record in self.records if isinstance(record, TurnRecord)}
        return sorted(newest.values(), key=lambda record: record.index)


def hold(dialogue: Dialogue, script: Callable[[Dialogue], Any]) -> Dialogue:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(dialogue.session().run(dialogue._inputs()))
            await script(dialogue)

    virtual_time.run(main())
    return dialogue


async def one_question(dialogue: Dialogue) -> None:
    await dialogue.be_silent(0.5)
    await dialogue.speak(1.0)
    await dialogue.be_silent(3.0)
    dialogue.inputs.put_nowait(AudioEnd())


def test_a_question_is_answered_and_every_millisecond_has_its_owner() -> None:
    dialogue = hold(Dialogue(responder_delay=0.03), one_question)
    (turn,) = dialogue.turns()
    assert (turn.status, turn.transcript, turn.reply_text.strip()) == (
        "completed", "what is the time", "It is noon. Have a good day.",
    )  # fmt: skip
    assert turn.heard_at == "client"
    seconds = {part.what: 0.0 for part in turn.parts}
    for part in turn.parts:
        seconds[part.what] += part.seconds
    # The turn runs ahead after 0.1 s of silence; windows of 32 ms and frames of 20 ms decide when that is seen.
    assert seconds["end_of_turn"] == pytest.approx(0.1, abs=0.052)
    assert seconds["model"] == pytest.approx(0.1 + 3 * 0.05 + 0.05)
    assert seconds["transfer"] == pytest.approx(0.03)
    assert turn.residue_s == pytest.approx(0, abs=1e-6)
    assert turn.voice_to_voice_s == pytest.approx(sum(seconds.values()))
    assert [part.end_s for part in turn.parts[:-1]] == [part.start_s for part in turn.parts[1:]]


def test_the_session_says_what_happens_in_order_and_then_that_it_is_over() -> None:
    dialogue = hold(Dialogue(), one_question)
    kinds = [type(event) for _, event in dialogue.out]
    order = [SpeechStarted, SpeechStopped, ReplySound, ReplyEnd, TurnDone, SessionEnded]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)
    sessions = [record for record in dialogue.records if isinstance(record, SessionRecord)]
    assert [record.status for record in sessions] == ["open", "closed"]


def test_a_reply_is_kept_and_its_record_names_it() -> None:
    dialogue = hold(Dialogue(), one_question)
    (turn,) = dialogue.turns()
    assert dialogue.sink.begun == [(turn.turn_id, turn.reply_audio, 16_000)]
    assert len(dialogue.sink.pcm) == 2 * 16_000 * 1.0
    assert dialogue.sink.ended == 1


def test_without_a_responder_the_host_says_when_the_reply_could_be_heard() -> None:
    (turn,) = hold(Dialogue(), one_question).turns()
    assert turn.heard_at == "host"
    assert turn.voice_to_voice_s is not None


def test_the_second_question_knows_the_first() -> None:
    async def two(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(2.0)
        await one_question(dialogue)

    dialogue = hold(Dialogue(), two)
    assert [turn.index for turn in dialogue.turns()] == [0, 1]
    prompts = [values[0] for kind, values in dialogue.runner.seen if kind == "llm"]
    assert [message.role for message in prompts[1].messages] == ["user", "assistant", "user"]  # type: ignore[union-attr]


def test_a_session_that_is_taken_over_knows_what_was_said_and_counts_on() -> None:
    said = TurnRecord(project="p", turn_id="t", session_id="s1", index=4, pipeline="scripted", pipeline_hash="",
                      transcript="I am Ada.", reply_text="Hello Ada.")  # fmt: skip
    dialogue = hold(Dialogue(settings={"resumed": True}, earlier=Earlier.of([said])), one_question)
    assert [turn.index for turn in dialogue.turns()] == [5]
    (prompt,) = [values[0] for kind, values in dialogue.runner.seen if kind == "llm"]
    assert [message.content for message in prompt.messages][:2] == ["I am Ada.", "Hello Ada."]  # type: ignore[union-attr]
    opened, closed = (record for record in dialogue.records if isinstance(record, SessionRecord))
    assert 2 < opened.version < closed.version, "what the first host still records of it is older"


def test_a_language_model_reads_ahead_while_the_person_has_the_word() -> None:
    dialogue = hold(Dialogue(), one_question)
    before, after = dialogue.runner.prepared
    assert before == []
    assert [message.role for message in after] == ["user", "assistant"]


def test_speech_stops_a_reply_that_is_being_heard() -> None:
    async def interrupt(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.7)
        await one_question(dialogue)

    dialogue = hold(Dialogue(ScriptedRunner(llm_delay=0.2), responder_delay=0.01), interrupt)
    first, second = dialogue.turns()
    assert (first.interrupted, first.status, second.interrupted) == (True, "completed", False)
    ends = dialogue.events(ReplyEnd)
    assert [(end.turn_id, end.status) for end in ends] == [
        (first.turn_id, "cancelled"), (second.turn_id, "completed"),
    ]  # fmt: skip
    stopped = next(at for at, event in dialogue.out if isinstance(event, ReplyEnd))
    late = [at for at, event in dialogue.out if isinstance(event, ReplySound) and event.turn_id == first.turn_id]
    assert max(late, default=0.0) <= stopped


def test_a_replay_that_nobody_can_interrupt_gets_every_reply_whole() -> None:
    async def interrupt(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.7)
        await one_question(dialogue)

    dialogue = hold(Dialogue(ScriptedRunner(llm_delay=0.2), {"interrupt_response": False}), interrupt)
    assert [turn.interrupted for turn in dialogue.turns()] == [False, False]
    assert [turn.status for turn in dialogue.turns()] == ["completed", "completed"]


def test_nobody_is_talked_over_by_a_reply_that_comes_late() -> None:
    async def speak_on(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.4)
        await dialogue.speak(2.0)
        await dialogue.be_silent(3.0)
        dialogue.inputs.put_nowait(AudioEnd())

    dialogue = hold(Dialogue(ScriptedRunner(stt_delay=0.6)), speak_on)
    first, second = dialogue.turns()
    assert first.interrupted
    assert first.transcript
    assert first.voice_to_voice_s is None
    assert {event.turn_id for event in dialogue.events(ReplySound)} == {second.turn_id}


def test_a_component_that_fails_fails_its_turn_and_the_next_one_works() -> None:
    async def two(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(2.0)
        dialogue.runner.fail = ""
        await one_question(dialogue)

    dialogue = hold(Dialogue(ScriptedRunner(fail="llm")), two)
    first, second = dialogue.turns()
    assert first.status == "failed"
    assert "llm:simulated: RuntimeError: scripted to fail" in first.reason
    assert second.status == "completed"


def test_with_turn_detection_off_only_a_commit_ends_an_utterance() -> None:
    async def push_to_talk(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(1.0)
        await dialogue.speak(1.0)
        assert not dialogue.turns()
        dialogue.inputs.put_nowait(Commit())
        await dialogue.be_silent(1.0)
        dialogue.inputs.put_nowait(AudioEnd())

    dialogue = hold(Dialogue(settings={"turn_detection": False}), push_to_talk)
    (turn,) = dialogue.turns()
    (segment,) = turn.segments
    assert segment.start == 0
    assert segment.end == pytest.approx(3 * AXIS_RATE, abs=512)


def test_two_commits_close_together_are_both_recognised_and_only_the_asked_one_is_answered() -> None:
    async def quick(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        dialogue.inputs.put_nowait(Commit())
        await dialogue.speak(0.5)
        dialogue.inputs.put_nowait(Commit())
        dialogue.inputs.put_nowait(Respond())
        await dialogue.be_silent(4.0)
        dialogue.inputs.put_nowait(AudioEnd())

    manual = {"turn_detection": False, "create_response": False}
    dialogue = hold(Dialogue(ScriptedRunner(stt_delay=0.8), settings=manual), quick)
    first, second = dialogue.turns()
    assert first.transcript == second.transcript == "what is the time"
    assert (first.reply_text, first.reason) == ("", "no answer was asked for")
    assert second.reply_text
    assert {event.turn_id for event in dialogue.events(Heard) if event.final} == {first.turn_id, second.turn_id}


def test_a_client_that_decides_itself_is_not_interrupted_by_what_is_said() -> None:
    async def over_the_reply(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        dialogue.inputs.put_nowait(Commit())
        if not dialogue.settings["create_response"]:
            dialogue.inputs.put_nowait(Respond())
        await dialogue.be_silent(0.6)
        await dialogue.speak(1.0)
        dialogue.inputs.put_nowait(Commit())
        await dialogue.be_silent(3.0)
        dialogue.inputs.put_nowait(AudioEnd())

    def held(creates: bool) -> list[TurnRecord]:
        settings = {"turn_detection": False, "create_response": creates}
        return hold(Dialogue(settings=settings, responder_delay=0.01), over_the_reply).turns()

    assert [turn.interrupted for turn in held(creates=False)] == [False, False]
    assert [turn.interrupted for turn in held(creates=True)] == [True, False]


def test_typed_words_are_answered() -> None:
    async def type_it(dialogue: Dialogue) -> None:
        dialogue.inputs.put_nowait(TextIn("how are you"))
        await asyncio.sleep(3)
        dialogue.inputs.put_nowait(AudioEnd())

    (turn,) = hold(Dialogue(), type_it).turns()
    assert (turn.transcript, turn.status) == ("how are you", "completed")
    assert [stage.kind for stage in turn.stages] == ["llm", "tts"]


def test_a_client_that_leaves_stops_what_is_under_way() -> None:
    async def leave(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.3)
        dialogue.inputs.put_nowait(SessionClose())
        await asyncio.sleep(5)

    dialogue = hold(Dialogue(), leave)
    (turn,) = dialogue.turns()
    assert turn.status == "cancelled"
    assert dialogue.runner.open_stages == 0
    assert isinstance(dialogue.out[-1][1], SessionEnded)


def test_a_gap_in_the_input_counts_as_silence_and_a_frame_that_comes_twice_counts_once() -> None:
    async def broken(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        again = AudioIn(dialogue.position - 320, clock.now() - 0.02, tone(0.02).pcm16())
        dialogue.inputs.put_nowait(again)
        dialogue.position += AXIS_RATE
        await asyncio.sleep(1.0)
        await one_question(dialogue)

    dialogue = hold(Dialogue(), broken)
    first, second = dialogue.turns()
    assert first.segments[0].end == pytest.approx(AXIS_RATE, abs=512)
    assert second.segments[0].start == pytest.approx(2.5 * AXIS_RATE, abs=512)
