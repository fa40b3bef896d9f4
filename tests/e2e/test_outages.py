"""Parts are killed while there is work: nothing is lost, nothing is done twice, and who listens can go on."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e import staging
from e2e.conftest import Installation, installation
from e2e.staging import EVERYTHING, QUESTION
from openomni.media import Audio

pytestmark = pytest.mark.long

TURNS = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Gateway, API, bus, and two agents that can do everything."""
    with installation(tmp_path_factory.mktemp("outages"), "--no-agent") as running:
        running.agents({"one": EVERYTHING, "two": EVERYTHING})
        yield running


def items(made: Installation, path: str) -> list[dict[str, Any]]:
    """All of a list; empty while the server is away."""
    found: list[dict[str, Any]] = []
    cursor = ""
    with suppress(httpx.HTTPError, ValueError):
        while True:
            answer = made.request("GET", f"/api/v1{path}&limit=200&cursor={cursor}")
            if not answer.is_success:
                return []
            found += answer.json()["items"]
            if not (cursor := answer.json()["next"] or ""):
                return found
    return []


def completed(made: Installation, session: str) -> list[dict[str, Any]]:
    return items(made, f"/turns?session={session}&status=completed")


def test_bus_and_api_killed_in_mid_run_of_twenty_queued_turns(made: Installation) -> None:
    question = Audio.load(QUESTION)
    path = Audio.join([question] * TURNS).save(made.folder / "twenty.wav")
    made.put_pipeline(staging.pipeline("queued", llm_s=0.5, reply_s=0.2))
    points = ",".join(f"00:{index * question.duration:06.3f}" for index in range(TURNS))
    listener = made.start(
        "fast", "listen", "--source", f"file:{path}", "--pipeline", "queued", "--pace", "fast", "--time-points", points,
        "--json", "fast.json",
    )  # fmt: skip
    (session,) = staging.until(lambda: items(made, "/sessions?pipeline=queued"), "nothing was queued")
    session_id = session["session_id"]

    staging.until(lambda: len(completed(made, session_id)) >= 4, "no turn completes")
    staging.kill(made, "nats-server")
    staging.until(lambda: len(completed(made, session_id)) >= 9, "no turn completes after the bus was killed")
    staging.kill(made, "api")

    done = staging.until(
        lambda: found if len(found := completed(made, session_id)) >= TURNS else None, f"lost turns: {made.logs()}", 90
    )
    turns = items(made, f"/turns?session={session_id}")
    assert sorted(turn["index"] for turn in turns) == list(range(TURNS))
    assert {turn["status"] for turn in turns} == {"completed"}
    assert len({turn["reply_audio"] for turn in done}) == TURNS
    for turn in turns:
        counts = Counter(stage["kind"] for stage in turn["stages"] if stage["status"] == "completed")
        assert counts == {"stt": 1, "llm": 1, "tts": 1}
        for stage in turn["stages"]:
            ends = [attempt["status"] for attempt in stage["attempts"]]
            assert ends.count("completed") == (stage["status"] == "completed")
    assert made.request("GET", "/api/v1/tasks/dead").json()["items"] == []
    assert listener.wait(60) == 0, made.logs()


class Room:
    """A listener at a microphone that hears what the test says."""

    def __init__(self, made: Installation, pipeline: str) -> None:
        self.made, self.folder = made, made.folder / pipeline
        self.folder.mkdir()
        self.spool = self.folder / "spool"
        self.process = made.start(
            pipeline, "listen", "--source", "mic", "--pipeline", pipeline, "--spool", str(self.spool), "--wait",
            "--json", str(self.folder / "turns.json"), PYTHONPATH=str(Path(__file__).parent / "virtual_microphone"),
            OPENOMNI_TEST_ROOM=str(self.folder),
        )  # fmt: skip
        self._log, self._said = made.folder / f"{pipeline}.log", 0
        staging.until((self.folder / "heard.pcm").exists, f"it does not listen: {made.logs()}")
        (session,) = staging.until(lambda: items(made, f"/sessions?pipeline={pipeline}"), "the session is not recorded")
        self.session_id = session["session_id"]

    def ask(self) -> None:
        self._said += 1
        # It is whole when it appears in the room: the microphone there takes whatever ends in .wav.
        Audio.load(QUESTION).save(self.folder.with_name("question.wav")).rename(self.folder / f"{self._said}.wav")

    def turns(self, status: str = "") -> list[dict[str, Any]]:
        return items(self.made, f"/turns?session={self.session_id}&status={status}")

    def until_told(self, line: str) -> None:
        staging.until(lambda: line in self._log.read_text(), f"the listener was not told {line!r}: {self.made.logs()}")

    def until_answered(self, count: int) -> None:
        staging.until(
            lambda: len(self.turns("completed")) >= count, f"turn {count} is not answered: {self.made.logs()}"
        )

    def leave(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def enter(made: Installation) -> Iterator[Callable[..., Room]]:
    rooms: list[Room] = []

    def enter(pipeline: str, **timing: float) -> Room:
        made.put_pipeline(staging.pipeline(pipeline, **timing))
        rooms.append(Room(made, pipeline))
        return rooms[-1]

    yield enter
    for room in rooms:
        room.process.kill()


def usage(turn: dict[str, Any]) -> dict[str, int]:
    (llm,) = (stage for stage in turn["stages"] if stage["kind"] == "llm")
    found: dict[str, int] = llm["output"]["usage"]
    return found


def check_kept(made: Installation, room: Room) -> None:
    """What the microphone gave is on the server, byte for byte; and nothing waits to be sent."""
    (recording,) = items(made, f"/recordings?session={room.session_id}&kind=audio")
    assert recording["status"] == "complete"
    content = made.request("GET", f"/api/v1/recordings/{recording['recording_id']}/content").content
    assert content[44:] == (room.folder / "heard.pcm").read_bytes()[: len(content) - 44]
    assert len(content) - 44 == 2 * recording["samples"]


def test_a_listener_outlives_the_gateway_and_goes_on(made: Installation, enter: Callable[..., Room]) -> None:
    room = enter("door")
    room.ask()
    room.until_answered(1)

    staging.kill(made, "gateway")

    room.until_told("connected again")
    room.ask()
    room.until_answered(2)
    assert room.leave() == 0, made.logs()
    turns = room.turns()
    assert sorted((turn["index"], turn["status"]) for turn in turns) == [(0, "completed"), (1, "completed")]
    told = {turn["index"]: usage(turn)["input_tokens"] for turn in turns}
    assert told[1] > told[0], "what was said before the gateway was killed is forgotten"
    staging.until(
        lambda: items(made, "/sessions?pipeline=door&status=closed"),
        f"the session stays {items(made, '/sessions?pipeline=door')}",
    )
    check_kept(made, room)


def test_another_agent_takes_over_when_the_host_is_killed(made: Installation, enter: Callable[..., Room]) -> None:
    room = enter("host", llm_s=1.0)
    room.ask()
    room.until_answered(1)
    room.ask()
    staging.until(lambda: room.turns("started"), "the second turn does not begin")
    (host,) = {stage["agent"] for turn in room.turns("completed") for stage in turn["stages"]}

    made.processes[host].kill()

    room.until_told("another agent takes over")
    room.until_answered(2)
    room.ask()
    room.until_answered(3)
    assert room.leave() == 0, made.logs()
    turns = {turn["index"]: turn for turn in room.turns("completed")}
    (other,) = {"one", "two"} - {host}
    by = [
        {stage["agent"] for stage in turns[index]["stages"] if stage["status"] == "completed"}
        for index in sorted(turns)
    ]
    assert by == [{host}, {other}, {other}]
    assert len(room.turns()) == 3, "the question that was under way is one turn, not two"
    assert usage(turns[max(turns)])["input_tokens"] > usage(turns[0])["input_tokens"]
    staging.until(lambda: not room.turns("started"), f"a turn stays open: {room.turns('started')}")
    staging.until(lambda: items(made, "/sessions?pipeline=host&status=closed"), "the session stays open")
    check_kept(made, room)
