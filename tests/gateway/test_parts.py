"""The small parts by themselves: choosing a host, pacing, versions, close reasons."""

from __future__ import annotations

import numpy as np
import pytest

from openomni import clock
from openomni.bus.fleet import Presence
from openomni.events import AudioEnd, AudioIn, Commit, SessionInput
from openomni.gateway import protocol, sound
from openomni.gateway.live import Backlog, session_of
from openomni.gateway.placing import candidates
from openomni.gateway.sound import Microphone, Pace

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


async def test_a_client_that_is_far_ahead_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(sound.asyncio, "sleep", sleep)
    with clock.using(lambda: 0.0):
        pace = Pace()
        for _ in range(30):
            await pace.take(1.0)
        assert waits == []
        await pace.take(16.0)
    assert waits == [1.0], "16 s of sound too many pass in a second"


def test_sound_at_24_khz_lies_on_the_axis_without_a_gap() -> None:
    tone = (np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000) * 10_000).astype("<i2")
    microphone = Microphone()
    sounds = [microphone.append(tone[start : start + 480].tobytes()) for start in range(0, 24_000, 480)]
    pieces = [piece for piece in [*sounds, microphone.finish()] if piece]
    assert [piece.position for piece in pieces[1:]] == list(np.cumsum([len(piece.pcm) // 2 for piece in pieces[:-1]]))
    heard = np.frombuffer(b"".join(piece.pcm for piece in pieces), "<i2").astype(float)
    assert abs(len(heard) - 16_000) <= 2
    expected = np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 16_000) * 10_000
    assert np.abs(heard - expected)[200:-200].max() < 100


@pytest.mark.parametrize(("version", "old"), [("0.0.9", True), ("0.2.0", False), ("1.0rc1", False), ("", False)])
def test_versions(version: str, old: bool) -> None:
    assert protocol.too_old(version) is old


def test_a_close_reason_fits_its_frame() -> None:
    assert len(protocol.close_reason("ü" * 200).encode()) <= 123


def test_the_session_of_a_reopened_link() -> None:
    assert session_of("abc-r0a1b2c") == session_of("abc") == "abc"
