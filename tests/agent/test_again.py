"""A turn that is run again from its record: each stage is given the very input that it had."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

import virtual_time
from openomni.agent.again import Again
from openomni.bus.work import TurnWork
from openomni.errors import OpenOmniError
from openomni.events import (
    AudioEnd,
    AudioIn,
    ItemGone,
    ItemIn,
    Message,
    PictureIn,
    Played,
    Prompt,
    ReplySound,
    Respond,
    SessionChange,
    Sound,
    Text,
    TextIn,
    Tool,
    Value,
)
from openomni.media import Audio, Frame
from openomni.pipeline.again import compare
from openomni.pipeline.queued import run_queued
from openomni.pipeline.spec import parse
from openomni.records import FrameRecord, ItemRecord, TurnRecord, decode, encode
from pipeline import test_session
from pipeline.scripted import ScriptedRunner
from pipeline.test_session import Dialogue, KeptReply, hold, one_question

LONG = "It is noon. Have a good day. And this goes on. And on. And on."
SEEING = {
    "name": "seeing",
    "stages": [{"stt": "simulated"}, {"llm": "simulated", "frames": 2, "history": 4}, {"tts": "simulated"}],
}


def picture(shade: int) -> bytes:
    return Frame(np.full((16, 16, 3), shade, np.uint8)).jpeg()


class Server:
    """What is on record of a dialogue, as an agent asks for it."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.records = {turn.turn_id: turn for turn in dialogue.turns()}
        self.sounds: list[AudioIn] = []
        self.seen: list[bytes] = []

    async def turn(self, turn_id: str) -> TurnRecord:
        record = decode(encode(self.records[turn_id]))
        assert isinstance(record, TurnRecord)
        return record

    async def items(self, session_id: str) -> list[ItemRecord]:
        kept = [each for each in self.dialogue.records if isinstance(each, ItemRecord)]
        return list({each.item_id: each for each in kept if each.session_id == session_id}.values())

    async def turns(self, session_id: str) -> list[TurnRecord]:
        return [each for each in self.records.values() if each.session_id == session_id]

    async def pictures(self, session_id: str, wanted: Any) -> list[str]:
        return ["film"]

    async def sound(self, recording_id: str, start: float, end: float, *chosen: int | None) -> Audio:
        whole = b"".join(each.pcm for each in self.sounds)
        return Audio.from_pcm16(whole[2 * round(start * 16_000) : 2 * round(end * 16_000)], 16_000)

    async def shown(self, recording_id: str, wanted: Sequence[FrameRecord]) -> dict[str, Frame]:
        names = {each.sha256 for each in wanted}
        kept = {
            hashlib.sha256(each).hexdigest(): Frame.from_jpeg(each) for each in (*self.seen, *self.dialogue.pictures)
        }
        return {name: frame for name, frame in kept.items() if recording_id == "film" and name in names}


async def again(
    server: Server, record: TurnRecord, runner: ScriptedRunner, turn_id: str = "again", spec: Any = None, **more: Any
) -> TurnRecord:
    """Runs it as the API would have queued it."""
    span = record.utterance
    work = TurnWork(
        turn_id=turn_id, session_id="s2", pipeline="scripted", recording=span.recording if span else "",
        start=span.start / 16_000 if span else 0.0, end=span.end / 16_000 if span else 0.0,
        reruns=record.turn_id, **more,
    )  # fmt: skip
    pipeline = parse(spec or test_session.SPEC)
    known = await Again(server, server).known(work, pipeline)  # type: ignore[arg-type]
    now = await run_queued(
        work.work("p", "h"), work, pipeline, known.utterance, runner, KeptReply, believed=known.believed
    )
    server.records[turn_id] = now
    return now


def live(script: Callable[[Dialogue], Any], runner: ScriptedRunner | None = None, **more: Any) -> Server:
    """A dialogue, and what a server has of it."""
    server = Server(Dialogue(runner or ScriptedRunner(), **more))
    put = server.dialogue.inputs.put_nowait

    def put_and_keep(event: Any) -> None:
        if isinstance(event, AudioIn):
            server.sounds.append(event)
        if isinstance(event, PictureIn):
            server.seen.append(event.jpeg)
        put(event)

    server.dialogue.inputs.put_nowait = put_and_keep  # type: ignore[method-assign]
    hold(server.dialogue, script)
    server.records = {turn.turn_id: turn for turn in server.dialogue.turns()}
    return server


def inputs(runner: ScriptedRunner) -> dict[str, list[Any]]:
    """What each stage got in its last run, in a form that can be compared."""
    return {kind: [_plain(value) for value in values] for kind, values in runner.seen}


def _plain(value: Value) -> Any:
    match value:
        case Sound():
            return value.audio.pcm16()
        case Prompt():
            told = [(each.role, each.content, [image.jpeg() for image in each.images]) for each in value.messages]
            return told, value.tools, value.tool_choice
        case Text():
            return value.text
    return value


def asked(runner: ScriptedRunner) -> list[Any]:
    return [(kind, [_plain(value)[0] for value in values]) for kind, values in runner.seen if kind == "llm"]


async def twice(dialogue: Dialogue) -> None:
    await dialogue.speak(1.0)
    await dialogue.be_silent(4.0)
    await one_question(dialogue)


async def interrupted(dialogue: Dialogue) -> None:
    await dialogue.speak(1.0)
    await dialogue.be_silent(1.2)
    await one_question(dialogue)


async def typed(dialogue: Dialogue) -> None:
    dialogue.inputs.put_nowait(ItemIn("i1", Message("user", "I am Ada.")))
    dialogue.inputs.put_nowait(TextIn("Who am I?"))
    await asyncio.sleep(3.0)
    dialogue.inputs.put_nowait(ItemGone("i1"))
    dialogue.inputs.put_nowait(AudioEnd())


async def spoken_first(dialogue: Dialogue) -> None:
    tools = (Tool("light", "Switches the light.", {"type": "object"}),)
    dialogue.inputs.put_nowait(SessionChange(instructions="Say hello.", tools=tools, tool_choice="none"))
    dialogue.inputs.put_nowait(ItemIn("i1", Message("system", "It is dark.")))
    dialogue.inputs.put_nowait(Respond(text_only=True))
    await asyncio.sleep(3.0)
    dialogue.inputs.put_nowait(AudioEnd())


async def put_in(dialogue: Dialogue) -> None:
    for shade in (10, 20):
        message = Message("user", f"Look at {shade}.", (Frame.from_jpeg(picture(shade)),))
        dialogue.inputs.put_nowait(ItemIn(f"i{shade}", message))
    dialogue.inputs.put_nowait(Respond())
    await asyncio.sleep(3.0)
    dialogue.inputs.put_nowait(AudioEnd())


async def seen(dialogue: Dialogue) -> None:
    await dialogue.be_silent(0.5)
    for shade in range(5):
        dialogue.inputs.put_nowait(PictureIn(dialogue.position, picture(40 * shade)))
        await dialogue.speak(0.2)
    await dialogue.be_silent(3.0)
    dialogue.inputs.put_nowait(AudioEnd())


@pytest.mark.parametrize(
    ("script", "spec"),
    [
        (one_question, None),
        (twice, None),
        (interrupted, None),
        (typed, None),
        (spoken_first, None),
        (seen, SEEING),
        (put_in, None),
    ],
)
def test_each_stage_is_given_the_very_input_that_it_had(
    script: Any, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_session, "SPEC", spec or test_session.SPEC)
    server = live(script, ScriptedRunner(llm_delay=0.02, reply=LONG))
    was, runner = server.dialogue.turns()[-1], ScriptedRunner(reply=LONG)

    now = virtual_time.run(again(server, was, runner))

    assert inputs(runner) == inputs(server.dialogue.runner)
    assert now.utterance_hash == was.utterance_hash
    assert (now.reruns, now.status, now.asked) == (was.turn_id, "completed", was.asked)
    assert now.items[:-1] == [name for name in was.items if was.turn_id not in name][: len(now.items) - 1]
    found = compare(was, now)
    assert (found.same, set(found.stages.values())) == (True, {True})


def test_a_reply_that_was_heard_shorter_than_was_thought_is_told_as_it_was_thought_then() -> None:
    async def reported_late(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(2.0)
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.5)  # it is answered ahead of its end
        first = dialogue.events(ReplySound)[0].turn_id
        dialogue.inputs.put_nowait(Played(first, 1.5, 1.5, 0.3, True))
        await dialogue.be_silent(4.0)
        await one_question(dialogue)

    server = live(reported_late, ScriptedRunner(llm_delay=0.02, reply=LONG), settings={"silence": 0.8})
    first, second, third = server.dialogue.turns()
    names = [f"reply:{first.turn_id}", f"reply:{first.turn_id}:2"]
    assert [
        name for turn in (second, third) for name in turn.items if first.turn_id in name and "reply" in name
    ] == names
    kept = {each.item_id: each for each in virtual_time.run(server.items("s1"))}
    assert [kept[name].gone for name in names] == [True, False]
    assert kept[names[0]].position == kept[names[1]].position
    assert kept[names[0]].content.startswith(kept[names[1]].content)

    for turn in (second, third):
        runner = ScriptedRunner(reply=LONG)
        virtual_time.run(again(server, turn, runner))
        ((told, *_),) = inputs(runner)["llm"]
        assert told in [prompt for kind, (prompt,) in asked(server.dialogue.runner) if kind == "llm"]
        assert told[1][1] == kept[names[turn is third]].content


def test_a_rerun_can_be_run_again() -> None:
    server = live(twice)
    was, runner = server.dialogue.turns()[-1], ScriptedRunner()

    async def both() -> TurnRecord:
        now = await again(server, was, ScriptedRunner())
        return await again(server, now, runner, "once more")

    now = virtual_time.run(both())
    assert inputs(runner) == inputs(server.dialogue.runner)
    assert now.reruns == "again"


def test_from_a_stage_on_what_comes_before_is_given_and_does_not_run() -> None:
    server = live(twice)
    was, runner = server.dialogue.turns()[-1], ScriptedRunner(transcript="something else")
    now = virtual_time.run(again(server, was, runner, begin="llm"))
    assert [kind for kind, _ in runner.seen] == ["llm", "tts"]
    assert inputs(runner)["llm"] == inputs(server.dialogue.runner)["llm"]
    assert (now.given, now.transcript) == ({"stt": "recorded"}, was.transcript)


def test_a_voice_alone_is_given_the_clauses_that_it_had() -> None:
    server = live(twice)
    was, runner = server.dialogue.turns()[-1], ScriptedRunner()
    now = virtual_time.run(again(server, was, runner, begin="tts"))
    assert [kind for kind, _ in runner.seen] == ["tts"]
    assert inputs(runner)["tts"] == inputs(server.dialogue.runner)["tts"]
    assert (now.given, now.reply_text) == ({"stt": "recorded", "llm": "recorded"}, was.reply_text)
    assert compare(was, now).stages == {"tts": True}


def test_a_correction_stands_for_what_a_stage_gave() -> None:
    server = live(twice)
    was, runner = server.dialogue.turns()[-1], ScriptedRunner()
    now = virtual_time.run(again(server, was, runner, given={"stt": "what is the day"}))
    (prompt,) = inputs(runner)["llm"]
    assert prompt[0][-1][:2] == ("user", "what is the day")
    assert (now.given, now.transcript) == ({"stt": "corrected"}, "what is the day")


def test_a_guess_that_was_believed_then_is_believed_again() -> None:
    class Guessing(ScriptedRunner):
        async def _give(self, kind: str, given: Any, taken: list[Value]) -> Any:
            async for value in super()._give(kind, given, taken):
                yield (
                    msgspec.structs.replace(value, text="", diagnostics={"guess": "Stop."}) if kind == "stt" else value
                )

    server = live(one_question, Guessing())
    (was,) = server.dialogue.turns()
    assert was.transcript == "Stop.", "it is a command"
    runner = Guessing()
    now = virtual_time.run(again(server, was, runner))
    assert now.transcript == "Stop."
    assert inputs(runner) == inputs(server.dialogue.runner)


def test_what_is_not_on_the_server_any_more_is_said_and_nothing_is_run() -> None:
    server = live(twice)
    was, runner = server.dialogue.turns()[-1], ScriptedRunner()
    server.dialogue.records = [each for each in server.dialogue.records if not isinstance(each, ItemRecord)]
    server.records = {was.turn_id: was}
    with pytest.raises(OpenOmniError, match=r"2 of the 2 items that turn .* was told are not on the server"):
        virtual_time.run(again(server, was, runner))
    assert runner.seen == []


def test_a_picture_that_nobody_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_session, "SPEC", SEEING)
    server = live(seen)
    server.seen.clear()
    (was,) = server.dialogue.turns()
    with pytest.raises(OpenOmniError, match=r"was shown 2 pictures that its camera saw"):
        virtual_time.run(again(server, was, ScriptedRunner()))
