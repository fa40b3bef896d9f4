"""The microphone and the loudspeaker, on a scripted sound card; and what is said where there is none."""

from __future__ import annotations

import asyncio
import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client_sound_card import SoundCard
from openomni import clock
from openomni.client import portaudio
from openomni.client.echo import EchoCanceller
from openomni.client.listener.microphone import Microphone
from openomni.client.listener.sources import BLOCK, Block
from openomni.client.responder.speaker import FADE_S, Loudspeaker
from openomni.client.wire import Playback, ReplyChunk
from openomni.errors import OpenOmniError, WrongUsage
from openomni.events import AXIS_RATE
from openomni.media import Audio
from openomni.storage.spool import Spool, SpoolRecording

FADE = round(FADE_S * 48000)
TURN, NEXT = "ab" * 16, "cd" * 16


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SoundCard:
    found = SoundCard()
    monkeypatch.setitem(sys.modules, "sounddevice", found)  # type: ignore[arg-type]
    return found


async def listen_to(
    card: SoundCard, tmp_path: Path, samples: Any, blocksize: int, echo: EchoCanceller | None = None
) -> tuple[list[Block], SpoolRecording]:
    """All that a microphone captures of `samples`, which it hears one block after another."""
    microphone = Microphone(echo=echo)
    microphone.check()
    (recording,) = microphone.open(Spool(tmp_path), "s", "r1")
    found: list[Block] = []

    async def capture() -> None:
        async for block in microphone.capture():
            assert isinstance(block, Block)
            found.append(block)

    capturing = asyncio.create_task(capture())
    while not card.open:
        await asyncio.sleep(0)
    for start in range(0, len(samples), blocksize):
        card.open[0].hear(samples[start : start + blocksize], age=blocksize / card.open[0].settings["samplerate"])
    await asyncio.sleep(0)
    microphone.stop()
    await capturing
    assert card.open == []
    return found, recording


async def test_the_microphone_is_on_disk_and_on_the_axis(card: SoundCard, tmp_path: Path) -> None:
    spoken = np.arange(3 * BLOCK, dtype=np.int16)
    blocks, recording = await listen_to(card, tmp_path, spoken, BLOCK)
    assert [block.position for block in blocks] == [0, BLOCK, 2 * BLOCK]
    assert b"".join(block.pcm for block in blocks) == spoken.tobytes()
    assert recording.id == "r1"
    assert recording.read(44, 10**6) == spoken.tobytes()
    assert recording.ended.is_set()
    assert blocks[0].captured < clock.now() - BLOCK / AXIS_RATE / 2


async def test_a_device_that_knows_another_rate_only_is_resampled_live_and_recorded_as_it_is(
    card: SoundCard, tmp_path: Path
) -> None:
    card.rates = (48000,)
    tone = (8000 * np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)).astype(np.int16)
    blocks, recording = await listen_to(card, tmp_path, tone, 960)
    live = Audio.from_pcm16(b"".join(block.pcm for block in blocks), AXIS_RATE)
    assert live.duration == pytest.approx(1.0, abs=0.06)
    assert live.cut(0.2, 0.8).peak == pytest.approx(8000 / 32768, rel=0.02)
    assert recording.ticket.meta.rate == 48000
    assert Audio.load(recording.path).rate == 48000


async def test_microphones_are_chosen_by_number_or_part_of_the_name(card: SoundCard) -> None:
    assert portaudio.choose(card, None, "input")["index"] == 0
    assert portaudio.choose(card, "headset", "input")["index"] == 1
    assert portaudio.choose(card, "1", "output")["index"] == 1
    with pytest.raises(WrongUsage, match="there is no microphone 'usb headsit'; did you mean"):
        portaudio.choose(card, "usb headsit", "input")
    assert len(portaudio.table(card)) == 2


async def test_a_machine_without_a_microphone_or_loudspeaker_says_so(card: SoundCard) -> None:
    card.devices = []
    with pytest.raises(OpenOmniError, match="no microphone on this machine"):
        Microphone().check()
    with pytest.raises(OpenOmniError, match="no loudspeaker on this machine"):
        Loudspeaker(lambda report: None)


def test_without_portaudio_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(failure: Exception) -> None:
        def fail(name: str, *rest: Any, **more: Any) -> Any:
            if name == "sounddevice":
                raise failure
            return real(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", fail)

    without(OSError("PortAudio library not found"))
    with pytest.raises(OpenOmniError, match="libportaudio2"):
        Microphone().check()
    without(ModuleNotFoundError("No module named 'sounddevice'"))
    with pytest.raises(OpenOmniError, match=r"setup listener"):
        Microphone().check()


def loud(seconds: float, rate: int = 48000, turn_id: str = TURN, silence: float = 0.0) -> ReplyChunk:
    samples = np.full(round(seconds * rate), 0.5, np.float32)
    samples[: round(silence * rate)] = 0
    return ReplyChunk(turn_id, rate, 0, Audio(samples, rate).pcm16())


async def test_the_loudspeaker_reports_when_samples_leave_the_converter(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    stream = card.open[0]
    speaker.play(loud(0.1, silence=0.005))
    speaker.end(TURN, "completed")
    asked = clock.now()
    first = stream.speak(4800, latency=0.05)
    assert first[:240].max() == 0
    assert first[240:].min() > 16000
    assert not stream.speak(480).any()
    await asyncio.sleep(0)
    audible, ended = reports
    assert audible.started == pytest.approx(asked + 0.05, abs=0.02)
    assert audible.audible == pytest.approx(audible.started + 0.005, abs=1e-6)
    assert (ended.seconds, ended.ended) == (0.1, True)
    await speaker.close()


async def test_a_reply_starts_only_once_there_is_enough_of_it(card: SoundCard) -> None:
    speaker = Loudspeaker(lambda report: None)
    stream = card.open[0]
    speaker.play(loud(0.03))
    assert not stream.speak(480).any()
    speaker.play(loud(0.04))
    assert stream.speak(480).all()
    await speaker.close()


async def test_a_cancelled_reply_fades_at_once_and_the_next_one_begins(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    stream = card.open[0]
    speaker.play(loud(5.0))
    speaker.play(loud(0.1, turn_id=NEXT))
    speaker.end(NEXT, "completed")
    stream.speak(4800)
    assert speaker.sounding(clock.now())
    speaker.end(TURN, "cancelled")
    next_up = stream.speak(FADE + 4800)
    assert (np.diff(next_up[:FADE].astype(int)) <= 0).all()
    assert (next_up[FADE:] == 16384).all()
    assert not stream.speak(480).any()
    await asyncio.sleep(0)
    cut = next(report for report in reports if report.ended)
    assert (cut.turn_id, cut.seconds) == (TURN, (4800 + FADE) / 48000)
    await speaker.close()


async def test_a_reply_of_another_rate_is_resampled(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    speaker.play(loud(0.5, rate=22050))
    speaker.end(TURN, "completed")
    while not any(report.ended for report in reports):
        card.open[0].speak(4800)
        await asyncio.sleep(0)
    assert reports[-1].seconds == pytest.approx(0.5, abs=0.01)
    await speaker.close()


def steps(first: int, count: int) -> ReplyChunk:
    """Samples that tell their own place: 10000, 10001, …"""
    return ReplyChunk(TURN, 48000, first, (10000 + np.arange(first, first + count)).astype("<i2").tobytes())


async def test_a_paused_reply_goes_on_at_the_very_next_sample(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    stream = card.open[0]
    speaker.play(steps(0, 4800))
    before = stream.speak(960)
    speaker.pause(TURN)
    assert reports[-1].seconds == (960 + FADE) / 48000  # told at once
    falling = stream.speak(960)
    speaker.play(steps(4800, 4800))
    speaker.end(TURN, "completed")
    assert not falling[FADE:].any()
    assert not stream.speak(9600).any()
    assert not speaker.sounding(clock.now() + 1)
    speaker.resume(TURN)
    assert reports[-1].seconds == (960 + FADE) / 48000
    after = stream.speak(9600)

    place = 10000 + np.arange(9600)
    assert (before == place[:960]).all()
    down = np.linspace(1, 0, FADE, endpoint=False)
    assert np.abs(falling[:FADE] - place[960 : 960 + FADE] * down).max() <= 1
    rest = place[960 + FADE :]
    assert np.abs(after[:FADE] - rest[:FADE] * (1 - down)).max() <= 1
    assert (after[FADE : len(rest)] == rest[FADE:]).all()
    await asyncio.sleep(0)
    assert (reports[-1].seconds, reports[-1].ended) == (0.2, True)
    await speaker.close()


async def test_what_is_cut_while_it_is_paused_is_dropped(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    stream = card.open[0]
    speaker.play(loud(2.0))
    stream.speak(480)
    speaker.pause(TURN)
    speaker.end(TURN, "cancelled")
    assert (reports[-1].seconds, reports[-1].ended) == ((480 + FADE) / 48000, True)
    speaker.resume(TURN)
    assert not stream.speak(960)[FADE:].any()
    await speaker.close()


async def test_a_reply_that_is_paused_before_it_starts_waits(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    stream = card.open[0]
    speaker.play(loud(1.0))
    speaker.pause(TURN)
    assert not stream.speak(4800).any()
    assert reports == []
    speaker.resume(TURN)
    assert (stream.speak(480) == 16384).all()
    await speaker.close()


async def test_it_is_said_every_half_second_how_much_was_played(card: SoundCard) -> None:
    reports: list[Playback] = []
    speaker = Loudspeaker(reports.append)
    speaker.play(loud(1.2))
    for _ in range(130):
        card.open[0].speak(480)
        await asyncio.sleep(0)
    assert [report.seconds for report in reports[1:]] == [0.5, 1.0]
    await speaker.close()


async def test_the_reference_is_all_that_the_loudspeaker_plays(card: SoundCard) -> None:
    given: list[tuple[bytes, int, float]] = []
    speaker = Loudspeaker(lambda report: None, reference=lambda *sound: given.append(sound))
    asked = clock.now()
    out = [card.open[0].speak(480, latency=0.05)]
    speaker.play(loud(0.1))
    out.append(card.open[0].speak(480, latency=0.05))
    assert [pcm for pcm, _, _ in given] == [samples.tobytes() for samples in out]
    assert [rate for _, rate, _ in given] == [48000, 48000]
    assert given[0][2] == pytest.approx(asked + 0.05, abs=0.02)
    await speaker.close()


async def test_with_echo_cancellation_the_recording_is_what_is_sent(card: SoundCard, tmp_path: Path) -> None:
    pytest.importorskip("livekit", reason="livekit is not installed here: ./setup listener")
    card.rates = (48000,)
    tone = (8000 * np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)).astype(np.int16)
    blocks, recording = await listen_to(card, tmp_path, tone, 960, EchoCanceller())
    assert recording.ticket.meta.rate == AXIS_RATE
    assert recording.read(44, 10**6) == b"".join(block.pcm for block in blocks)
    live = Audio.load(recording.path)
    assert live.cut(0.5, 0.8).peak == pytest.approx(8000 / 32768, rel=0.1)


def test_a_driver_that_says_what_cannot_be_is_not_believed() -> None:
    assert [portaudio.lag(seconds) for seconds in (0.03, -0.01, -100.0, 1e5)] == [0.03, 0.0, 0.0, 0.0]
