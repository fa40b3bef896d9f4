"""What a sink plays, and what it reports of it."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

import virtual_time
from openomni import clock
from openomni.client.responder.sinks import PAUSE_PATIENCE_S, Folder, VirtualSpeaker
from openomni.client.wire import Playback, ReplyChunk
from openomni.media import Audio

RATE = 16000
A, B = "aa" * 16, "bb" * 16


def chunk(turn_id: str, seconds: float, offset: float = 0.0, silence: float = 0.0) -> ReplyChunk:
    """`seconds` of a tone, the first `silence` of them quiet."""
    samples = np.full(round(seconds * RATE), 0.5, np.float32)
    samples[: round(silence * RATE)] = 0.001
    return ReplyChunk(turn_id, RATE, round(offset * RATE), Audio(samples, RATE).pcm16())


def played(scene: Callable[[VirtualSpeaker], Awaitable[None]]) -> list[Playback]:
    """What a virtual speaker reports of a scene on a virtual clock that starts at 0, and stays until all was told."""
    reports: list[Playback] = []

    async def main() -> None:
        speaker = VirtualSpeaker(reports.append)
        await scene(speaker)
        await asyncio.sleep(60)
        await speaker.close()

    virtual_time.run(main())
    return reports


def test_a_reply_starts_with_its_first_sound_and_is_audible_where_it_gets_loud() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        await asyncio.sleep(1.0)
        speaker.play(chunk(A, 0.5, silence=0.1))
        speaker.play(chunk(A, 0.5, offset=0.5))
        speaker.end(A, "completed")

    audible, _, ended = played(scene)
    assert audible == Playback(A, 1.0, pytest.approx(1.1), pytest.approx(0.1), ended=False)
    assert ended == Playback(A, 1.0, pytest.approx(1.1), 1.0, ended=True)


def test_a_reply_waits_for_the_one_before_it() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 2.0))
        speaker.end(A, "completed")
        speaker.play(chunk(B, 1.0))
        speaker.end(B, "completed")

    reports = played(scene)
    assert {(report.turn_id, report.started) for report in reports} == {(A, 0.0), (B, 2.0)}
    assert reports[-1].turn_id == B


def test_a_hole_in_the_sound_makes_a_hole_in_the_playback() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 0.5))
        await asyncio.sleep(2.0)
        assert not speaker.sounding(clock.now())
        speaker.play(chunk(A, 0.5, offset=0.5))
        assert speaker.sounding(clock.now())
        speaker.end(A, "completed")

    assert played(scene)[-1].seconds == 1.0


def test_a_cancelled_reply_falls_silent_at_once_and_says_how_much_was_heard() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 5.0))
        speaker.play(chunk(B, 5.0))
        await asyncio.sleep(1.5)
        speaker.end(A, "cancelled")
        speaker.end(B, "cancelled")
        assert not speaker.sounding(clock.now())

    reports = played(scene)
    assert reports[-1] == Playback(A, 0.0, 0.0, pytest.approx(1.5), ended=True)
    assert {report.turn_id for report in reports} == {A}  # nothing was heard of the second


def test_a_room_sounds_on_for_a_moment_after_the_reply() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 1.0))
        assert speaker.sounding(0.5)
        assert not speaker.sounding(1.1)
        assert speaker.sounding(1.1, tail=0.3)
        assert not speaker.sounding(1.4, tail=0.3)

    played(scene)


def test_the_folder_gets_a_wav_of_each_turn(tmp_path: Path) -> None:
    async def main() -> None:
        folder = Folder(tmp_path / "replies", lambda report: None)
        folder.play(chunk(A, 0.5))
        folder.play(chunk(A, 0.5, offset=0.25))  # half of it came before
        folder.play(chunk(A, 0.5, offset=1.0))  # a quarter of a second never came
        folder.end(A, "completed")
        await folder.close()

    virtual_time.run(main())
    with wave.open(str(tmp_path / "replies" / f"{A}.wav")) as sound:
        assert sound.getframerate() == RATE
        assert sound.getnframes() == 1.5 * RATE


def test_a_pause_keeps_what_was_not_played_and_a_resume_goes_on_there() -> None:
    at: list[float] = []

    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 1.0))
        await asyncio.sleep(0.4)
        speaker.pause(A)
        assert not speaker.sounding(0.5)
        speaker.play(chunk(A, 1.0, offset=1.0))
        speaker.end(A, "completed")
        await asyncio.sleep(1.0)
        speaker.resume(A)
        assert speaker.sounding(2.9)
        await asyncio.sleep(1.49)
        assert speaker.sounding(clock.now())
        at.append(clock.now())

    reports = played(scene)
    assert [(report.seconds, report.ended) for report in reports] == [
        (pytest.approx(0.0), False), (pytest.approx(0.4), False), (pytest.approx(0.4), False),
        (pytest.approx(0.9), False), (pytest.approx(1.4), False), (pytest.approx(1.9), False),
        (pytest.approx(2.0), True),
    ]  # fmt: skip
    assert at == [pytest.approx(2.89)]


def test_what_is_cut_while_it_is_paused_was_heard_up_to_the_pause() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 3.0))
        await asyncio.sleep(0.7)
        speaker.pause(A)
        await asyncio.sleep(0.4)
        speaker.end(A, "cancelled")
        speaker.resume(A)

    last = played(scene)[-1]
    assert (last.seconds, last.ended) == (pytest.approx(0.7), True)


def test_a_reply_that_is_paused_before_it_is_audible_is_heard_later() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 1.0, silence=0.3))
        speaker.end(A, "completed")
        await asyncio.sleep(0.1)
        speaker.pause(A)
        await asyncio.sleep(2.0)
        speaker.resume(A)

    reports = played(scene)
    heard = [report.audible for report in reports if report.audible is not None]
    assert heard == [pytest.approx(2.3)] * len(heard)
    assert reports[-1].ended


def test_it_is_said_every_half_second_how_much_was_played_and_not_while_nothing_is() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 1.2))
        await asyncio.sleep(5.0)
        speaker.play(chunk(A, 0.7, offset=1.2))
        speaker.end(A, "completed")

    seconds = [report.seconds for report in played(scene)]
    assert seconds == [pytest.approx(value) for value in (0.0, 0.5, 1.0, 1.7, 1.9)]


def test_a_pause_that_nobody_ends_is_given_up() -> None:
    async def scene(speaker: VirtualSpeaker) -> None:
        speaker.play(chunk(A, 3.0))
        await asyncio.sleep(0.7)
        speaker.pause(A)
        await asyncio.sleep(PAUSE_PATIENCE_S - 1.0)
        speaker.resume(A)
        await asyncio.sleep(0.2)
        speaker.pause(A)

    last = played(scene)[-1]
    assert (last.seconds, last.ended) == (pytest.approx(0.9), True)
