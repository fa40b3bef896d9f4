"""Echo cancellation beside an open loudspeaker: in a room made of numbers, with the real library and a real voice."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echo_room import Room, Samples
from openomni.cli import timeline
from openomni.client.echo import DELAY_S, FRAME, LEARN_S, EchoCanceller
from openomni.client.listener.listen import Request, cancel_echo
from openomni.client.listener.listener import Told
from openomni.components.vad.silero import WINDOW, Silero
from openomni.events import AXIS_RATE
from openomni.media import Audio
from openomni.pipeline.spec import TurnTaking
from openomni.pipeline.turn_taking import SpeechEnded, find_utterances

LEARNT = round((LEARN_S + 2.0) * AXIS_RATE)


@pytest.fixture
def canceller() -> EchoCanceller:
    pytest.importorskip("livekit", reason="livekit is not installed here: ./setup listener")
    return EchoCanceller()


@cache
def spoken(path: Path, seconds: float) -> Samples:
    """A voice at −23 dBFS, again and again."""
    samples = Audio.load(path).resample(AXIS_RATE).samples
    samples = samples * 10 ** (-23 / 20) / np.sqrt((samples[np.abs(samples) > 0.01] ** 2).mean())
    return np.resize(samples, round(seconds * AXIS_RATE))


def reply(seconds: float) -> Samples:
    return spoken(Path(timeline.__file__).parent / "data" / "question.wav", seconds)


@cache
def silero() -> Silero:
    return Silero()


def utterances(samples: Samples) -> list[SpeechEnded]:
    """What an agent takes for speech. The library never cancels twice the same: once in a thousand runs a window alone
    is above the threshold, which begins no utterance."""
    return list(find_utterances(iter([Audio(samples, AXIS_RATE)]), silero().open(), TurnTaking()))


def speech(samples: Samples) -> Any:
    """For each window whether it holds speech."""
    detect = silero().open()
    return np.array([detect(samples[at : at + WINDOW]) > 0.5 for at in range(0, len(samples) - WINDOW + 1, WINDOW)])


def level(samples: Samples) -> float:
    return float(10 * np.log10((samples.astype(np.float64) ** 2).mean() + 1e-12))


ROOMS = {
    "a desk": Room(),
    "near": Room(delay=0.005),
    "slow drivers": Room(delay=0.15),
    "loud": Room(gain_db=6.0),
    "two sound cards": Room(drift=80.0),
    "a busy machine": Room(late=0.004),
}


@pytest.mark.parametrize(
    "room",
    [
        pytest.param(room, marks=() if name in ("a desk", "slow drivers", "two sound cards") else pytest.mark.long)
        for name, room in ROOMS.items()
    ],
    ids=ROOMS.keys(),
)
def test_the_agent_does_not_hear_itself(canceller: EchoCanceller, room: Room) -> None:
    played = reply(12.0)
    left = room.hear(canceller, played, np.zeros_like(played))
    echo = room.echo(played)[: len(left)]
    assert utterances(echo.astype(np.float32)[LEARNT:])  # else there would be nothing to cancel
    assert level(echo[LEARNT:]) - level(left[LEARNT:]) > 20
    assert not utterances(left[LEARNT:])


def test_while_the_room_is_unknown_it_says_so(canceller: EchoCanceller) -> None:
    played = Audio(np.concatenate([np.zeros(AXIS_RATE, np.float32), reply(3 * LEARN_S)]), AXIS_RATE).pcm16()
    learning = []
    for at in range(0, len(played) // 2 - FRAME, FRAME):
        canceller.played(played[2 * at : 2 * at + 2 * FRAME], AXIS_RATE, at / AXIS_RATE)
        canceller.cancel(bytes(2 * FRAME), at / AXIS_RATE)
        learning.append(canceller.learning)
    first, last = learning.index(True), len(learning) - learning[::-1].index(True)
    assert first >= 100  # silence teaches nothing
    assert last - first >= LEARN_S * 100
    assert not any(learning[last:])


def test_where_nothing_is_played_a_voice_passes_as_it_is(canceller: EchoCanceller, shared_data: Path) -> None:
    said = spoken(shared_data / "jfk.wav", 8.0)
    heard = Room().hear(canceller, np.zeros_like(said), said)
    assert not canceller.learning
    delay = round(DELAY_S * AXIS_RATE)
    assert level(heard) == pytest.approx(level(said), abs=1.0)
    at = max(range(2 * delay), key=lambda late: np.dot(heard[late : late + AXIS_RATE * 4], said[: AXIS_RATE * 4]))
    assert at == pytest.approx(delay, abs=AXIS_RATE // 1000)


def test_a_person_who_interrupts_is_heard(canceller: EchoCanceller, shared_data: Path) -> None:
    """The loudspeaker falls silent half a second after they began, as it does in a conversation."""
    begins = 6 * AXIS_RATE
    played = reply(12.0)
    played[begins + AXIS_RATE // 2 :] = 0
    said = np.zeros_like(played)
    voice = spoken(shared_data / "jfk.wav", 8.0)
    said[begins:] = voice[: len(said) - begins]
    room = Room(gain_db=-6.0)
    found = speech(room.hear(canceller, played, said))
    wanted = speech(said)
    start = begins // WINDOW
    # Within half a second, that is while the loudspeaker still plays…
    assert found[np.flatnonzero(wanted)[0] :][: AXIS_RATE // 2 // WINDOW].any()
    # … and what they go on to say is all there.
    after = start + AXIS_RATE // WINDOW
    assert (found & wanted)[after:].sum() > 0.9 * wanted[after:].sum()


def test_a_loudspeaker_that_stumbles_is_found_again(canceller: EchoCanceller) -> None:
    """Its sound comes 40 ms later from then on, and so do its stamps."""
    played = reply(14.0)
    middle, late = 6 * AXIS_RATE, round(0.04 * AXIS_RATE)
    stumbled = np.concatenate([played[:middle], np.zeros(late, np.float32), played[middle:]])
    heard = Audio(Room().echo(stumbled), AXIS_RATE).pcm16()
    given = Audio(played, AXIS_RATE).pcm16()
    left, at, ahead = [], 0, 3 * late
    for now in range(0, len(played) - ahead, FRAME):
        while at < now + ahead - late:
            stamp = (at + (late if at >= middle else 0)) / AXIS_RATE
            canceller.played(given[2 * at : 2 * at + 2 * FRAME], AXIS_RATE, stamp)
            at += FRAME
        left.append(canceller.cancel(heard[2 * now : 2 * now + 2 * FRAME], now / AXIS_RATE))
    rest = np.frombuffer(b"".join(left), "<i2").astype(np.float32) / 32768
    assert not utterances(rest[LEARNT:middle])
    assert not utterances(rest[middle + 2 * AXIS_RATE :])


def test_a_driver_that_knows_no_latency_is_served_too(canceller: EchoCanceller) -> None:
    """Its sound is known 10 ms ahead, and no more."""
    played = reply(10.0)
    left = Room(latency=0.0).hear(canceller, played, np.zeros_like(played))
    assert not utterances(left[LEARNT:])


def request(**more: Any) -> Request:
    return Request("http://127.0.0.1:1", "token", "local", "mic", **more)


def test_where_the_library_is_missing_one_line_says_what_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    notices: list[str] = []
    assert cancel_echo(request(play=True), Told(lambda turn: None, notices.append)) is None
    (line,) = notices
    assert "./setup listener" in line
    assert "silence is sent while a reply is played" in line


@pytest.mark.parametrize(
    "chosen", [{"play": True, "half_duplex": True}, {"play": True, "full_duplex": True}, {"play": False}]
)
def test_where_nothing_is_to_be_cancelled_the_library_is_not_asked_for(
    chosen: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    notices: list[str] = []
    assert cancel_echo(request(**chosen), Told(lambda turn: None, notices.append)) is None
    assert notices == []
