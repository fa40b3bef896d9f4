"""The small parts by themselves: choosing a host, pacing, versions, close reasons."""

from __future__ import annotations

import contextlib
import math
import struct
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from openomni import clock
from openomni.bus.fleet import Presence
from openomni.events import AXIS_RATE, AudioEnd, AudioIn, Commit, SessionInput
from openomni.gateway import input_audio, protocol
from openomni.gateway.hosted_session import KEPT_INPUTS, Backlog, session_of
from openomni.gateway.input_audio import Axis, ClientMicrophone, ClientPace
from openomni.gateway.placing import candidates
from openomni.gateway.protocol import ProtocolError

NEEDS = [("stt", "a"), ("tts", "b")]


def agent(name: str, *offers: str, busy: int = 0, health: str = "") -> Presence:
    return Presence(
        agent_id=name,
        name=name,
        project="p",
        roles=["host"],
        components=list(offers),
        slots=4,
        busy=busy,
        health=health,
    )


def test_the_host_that_does_all_itself_comes_first_then_the_least_loaded() -> None:
    half = agent("half", "stt:a")
    busy = agent("busy", "stt:a", "tts:b", busy=3)
    free = agent("free", "stt:a", "tts:b", busy=1)
    ill = agent("ill", "stt:a", "tts:b", health="no disk")
    assert [each.name for each in candidates([half, ill, busy, free], NEEDS)] == ["free", "busy", "half", "ill"]
    assert candidates([half, free], NEEDS, avoid="free")[0].name == "half", "not the one that just died"


def test_what_was_answered_is_not_told_again_and_the_rest_is_bounded() -> None:
    backlog = Backlog()
    inputs: list[SessionInput] = [AudioIn(position, 0.0, bytes(640)) for position in range(0, 3200, 320)]
    for event in [*inputs, Commit(), AudioEnd()]:
        backlog.add(event)
    backlog.answered(1000)
    backlog.add(AudioIn(0, 0.0, bytes(640)))
    assert [event.position for event in backlog if isinstance(event, AudioIn)] == list(range(960, 3200, 320))
    backlog.answered(3200)
    assert list(backlog) == [AudioEnd()]
    for position in range(3200, 3200 + 40 * 16_000, 16_000):
        backlog.add(AudioIn(position, 0.0, bytes(32_000)))
    assert sum(isinstance(event, AudioIn) for event in backlog) <= 30
    for _ in range(2 * KEPT_INPUTS):
        backlog.add(Commit())
    assert len(list(backlog)) <= KEPT_INPUTS


async def test_a_client_that_is_far_ahead_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(input_audio.asyncio, "sleep", sleep)
    with clock.using(lambda: 0.0):
        pace = ClientPace()
        for _ in range(30):
            await pace.take(1.0)
        assert waits == []
        await pace.take(16.0)
    assert waits == [1.0], "16 s of sound too many pass in a second"


def test_sound_at_24_khz_lies_on_the_axis_without_a_gap() -> None:
    tone = (np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000) * 10_000).astype("<i2")
    microphone = ClientMicrophone()
    sounds = [microphone.append(tone[start : start + 480].tobytes()) for start in range(0, 24_000, 480)]
    pieces = [piece for piece in [*sounds, microphone.finish()] if piece]
    assert [piece.position for piece in pieces[1:]] == list(np.cumsum([len(piece.pcm) // 2 for piece in pieces[:-1]]))
    heard = np.frombuffer(b"".join(piece.pcm for piece in pieces), "<i2").astype(float)
    assert abs(len(heard) - 16_000) <= 2
    expected = np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 16_000) * 10_000
    assert np.abs(heard - expected)[200:-200].max() < 100


def test_a_hole_is_as_long_as_time_really_passed() -> None:
    now = [1000.0]
    with clock.using(lambda: now[0]):
        axis = Axis()
        axis.take(5 << 30, 320)  # a session may begin anywhere
        with pytest.raises(ProtocolError, match=r"1200 s ahead .* more than has passed"):
            axis.take(axis.end + 1200 * AXIS_RATE, 320)
        now[0] += 1200
        axis.take(axis.end + 1200 * AXIS_RATE, 320)
    assert axis.end == (5 << 30) + 1200 * AXIS_RATE + 640


def test_all_holes_together_are_bounded_too() -> None:
    with clock.using(lambda: 1000.0):
        axis = Axis()
        axis.take(0, 1)
        taken = 0
        for _ in range(1000):
            with contextlib.suppress(ProtocolError):
                axis.take(axis.end + 10 * AXIS_RATE, 1)
                taken += 1
    assert axis.end - taken - 1 <= 2 * input_audio.MAX_LEAP


def test_who_sends_faster_than_time_passes_may_lose_a_frame() -> None:
    with clock.using(lambda: 1000.0):
        axis = Axis()
        for second in range(600):
            axis.take(second * AXIS_RATE, AXIS_RATE - 320)
    assert axis.end == 600 * AXIS_RATE - 320


def test_half_a_sample_waits_for_its_other_half() -> None:
    tone = (np.sin(np.arange(24_000) * 0.1) * 10_000).astype("<i2").tobytes()
    cuts = [0, 1, 4801, 4802, 20_000, len(tone)]
    whole, odd = ClientMicrophone(), ClientMicrophone()
    expected = [whole.append(tone), whole.finish()]
    heard = [*(odd.append(tone[start:end]) for start, end in pairwise(cuts)), odd.finish()]
    once, pieces = (np.frombuffer(b"".join(each.pcm for each in sounds if each), "<i2") for sounds in (expected, heard))
    assert len(once) == len(pieces)
    assert np.abs(once.astype(int) - pieces).max() < 5, "but for the dither"


@pytest.mark.parametrize("captured", [math.nan, math.inf, -math.inf, 1e300])
def test_a_stamp_is_a_number_that_a_clock_can_show(captured: float) -> None:
    with pytest.raises(ProtocolError, match="captured takes seconds"):
        protocol.unpack_audio(struct.pack("<Qd", 0, captured) + bytes(4))


@pytest.mark.parametrize("value", [True, "1", None, -1, 10**400])
def test_a_number_lies_within_bounds(value: Any) -> None:
    with pytest.raises(ProtocolError):
        protocol.number({"x": value}, "x", 0, 1000)


@pytest.mark.parametrize(("version", "old"), [("0.0.9", True), ("0.2.0", False), ("1.0rc1", False), ("", False)])
def test_versions(version: str, old: bool) -> None:
    assert protocol.too_old(version) is old


def test_a_close_reason_fits_its_frame() -> None:
    assert len(protocol.close_reason("ü" * 200).encode()) <= 123


def test_the_session_of_a_reopened_link() -> None:
    assert session_of("abc-r0a1b2c") == session_of("abc") == "abc"
