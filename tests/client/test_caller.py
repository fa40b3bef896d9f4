"""The microphone gives what was said in its place, and the ear notes what was heard."""

from __future__ import annotations

import asyncio

import numpy as np

from openomni import clock
from openomni.client.caller.caller import SyntheticCaller
from openomni.client.caller.room import Room
from openomni.client.caller.utterance import SpokenUtterance
from openomni.client.listener.sources import BLOCK
from openomni.client.wire import Playback, ReplyChunk
from openomni.events import AXIS_RATE
from openomni.media import Audio

RATE = 24_000
TURN = f"{7:032x}"


def spoken(seconds: float, start: int = 0) -> SpokenUtterance:
    samples = 0.5 * np.cos(2 * np.pi * 300 * np.arange(round(seconds * AXIS_RATE)) / AXIS_RATE)
    return SpokenUtterance("tone", "tone", Audio(samples, AXIS_RATE), start, len(samples))


async def test_the_microphone_gives_the_room_and_what_is_said_into_it() -> None:
    room, tone = Room(seed=3), spoken(0.1, start=160)
    said = None
    async for block in room.capture():
        assert block.position == (len(room.sent) - 1) * BLOCK
        if len(room.sent) == 3:
            said = room.say(tone)
        if len(room.sent) == 12:
            room.stop()
    assert said is not None
    assert said.position == 3 * BLOCK
    assert said.span == (3 * BLOCK + 160, 3 * BLOCK + len(tone.audio.samples))
    assert said.start == room.began + (3 * BLOCK + 160) / AXIS_RATE
    heard = Audio.from_pcm16(b"".join(room.sent), AXIS_RATE).samples
    assert np.abs(heard[: said.position]).max() < 0.01
    assert np.abs(heard[: said.position]).max() > 0  # a room is never quite silent
    assert np.abs(heard[said.position :][:1600] - tone.audio.samples).max() < 0.01
    assert np.abs(heard[said.position + 1600 :]).max() < 0.01


async def test_two_utterances_at_once_are_heard_together() -> None:
    room, tone = Room(seed=0), spoken(0.04)
    async for _ in room.capture():
        if len(room.sent) == 1:
            room.say(tone)
            room.say(tone)
        if len(room.sent) == 4:
            room.stop()
    assert Audio.from_pcm16(room.sent[1], AXIS_RATE).peak > 0.95


def chunk(seconds: float, offset: int = 0) -> ReplyChunk:
    return ReplyChunk(TURN, RATE, offset, Audio(np.full(round(seconds * RATE), 0.3), RATE).pcm16())


async def heard_of(caller: SyntheticCaller) -> list[Playback]:
    told: list[Playback] = []
    caller._ear(told.append)
    return told


async def test_the_ear_notes_when_a_reply_was_audible_and_that_it_was_played_to_its_end() -> None:
    caller = SyntheticCaller(0)
    told = await heard_of(caller)
    before = clock.now()
    caller.ear.play(chunk(0.05))
    caller.ear.end(TURN, "completed")
    assert await caller.until(lambda: caller.replies[TURN].over is not None, 30)
    reply = caller.replies[TURN]
    assert reply.audible is not None
    assert reply.audible >= before
    assert not reply.cut
    assert reply.played == 0.05
    assert [each.ended for each in told] == [False, True]
    assert not caller.being_heard


async def test_a_cancelled_reply_was_cut_at_that_instant() -> None:
    caller = SyntheticCaller(0)
    await heard_of(caller)
    caller.ear.play(chunk(60.0))
    assert await caller.until(lambda: caller.replies[TURN].audible is not None, 30)
    caller.ear.end(TURN, "cancelled")
    reply = caller.replies[TURN]
    assert reply.cut
    assert reply.over is not None
    assert reply.played < 60.0
    assert reply.silenced(0.0) == reply.over
    caller.ear.play(chunk(1.0, offset=60 * RATE))  # what was still on its way is not counted
    assert reply.length == 60.0


async def test_waiting_for_what_never_comes_ends() -> None:
    caller = SyntheticCaller(0)
    await heard_of(caller)
    assert not await caller.until(lambda: False, 0.01)
    await asyncio.sleep(0)
