"""Every part a process of its own: the same turn, and one that outlives the agent that was at work on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import staging
from e2e.conftest import Installation, installation
from e2e.staging import EARS_AND_MOUTH, QUESTION
from openomni.media import Audio

pytestmark = pytest.mark.long


def hire(made: Installation) -> None:
    """One agent that hosts, hears and speaks, and two that think."""
    made.agents({"ears": EARS_AND_MOUTH, "first": "llm:simulated", "second": "llm:simulated"})


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Gateway, API and bus as processes below `openomni up`, with agents and a responder of their own."""
    with installation(tmp_path_factory.mktemp("spread"), "--no-agent") as made:
        hire(made)
        respond(made)
        yield made


def respond(made: Installation) -> None:
    """A responder into the folder `heard`, connected."""
    ready = made.folder / "respond.ready"
    made.start("respond", "respond", "--sink", "dir:heard", "--ready-file", str(ready))
    made.wait_for(ready, "respond")


def check_answered(made: Installation, turn: dict[str, Any]) -> None:
    """Completed on the agents that offer the stages, timed at the client, and heard at the responder as well."""
    assert (turn["status"], turn["transcript"]) == ("completed", "What is the capital of France?")
    assert turn["reply_text"].strip() == "It is Paris."
    stages = {stage["kind"]: stage for stage in turn["stages"]}
    assert (stages["stt"]["agent"], stages["tts"]["agent"]) == ("ears", "ears")
    assert stages["llm"]["agent"] in ("first", "second")
    assert turn["heard_at"] == "client"
    assert sum(part["end_s"] - part["start_s"] for part in turn["parts"]) == pytest.approx(
        turn["voice_to_voice_s"], abs=1e-4
    )
    played = made.folder / "heard" / f"{turn['turn_id']}.wav"
    for path in (made.folder / turn["reply_audio"], played):
        staging.until(path.is_file, f"no reply at {path}: {made.logs()}")
        assert Audio.load(path).duration == pytest.approx(0.5, abs=0.01)


def test_a_turn_goes_through_parts_that_each_are_a_process(spread: Installation) -> None:
    spread.put_pipeline(staging.pipeline("apart"))
    (turn,) = spread.listen(QUESTION, "--pipeline", "apart")
    check_answered(spread, turn)


def _kept(made: Installation, turn_id: str) -> dict[str, Any] | None:
    """The turn as it is on record once it is there as completed: what is written never holds up what is heard."""
    turn: dict[str, Any] = made.request("GET", f"/api/v1/turns/{turn_id}").json()
    return turn if turn.get("status") == "completed" else None


def test_a_task_goes_to_another_agent_when_its_own_is_killed(spread: Installation) -> None:
    spread.put_pipeline(staging.pipeline("slow", llm_s=3.0))
    out = spread.folder / "out.json"
    listener = spread.start(
        "listen", "listen", "--source", f"file:{QUESTION}", "--pipeline", "slow", "--wait", "--json", str(out)
    )
    victim = staging.until(lambda: staging.busy(spread, "first", "second"), "no agent took the task")

    spread.processes[victim].kill()

    assert listener.wait(60) == 0, spread.logs()
    (turn,) = json.loads(out.read_text())["turns"]
    check_answered(spread, turn)
    kept = staging.until(lambda: _kept(spread, turn["turn_id"]), "the turn is not on record as completed")
    (task,) = spread.request("GET", f"/api/v1/tasks?kind=llm&turn={turn['turn_id']}").json()["items"]
    (survivor,) = {"first", "second"} - {victim}
    for record in (turn, kept, {"stages": [task]}):
        (llm,) = (stage for stage in record["stages"] if stage["kind"] == "llm")
        assert (llm["agent"], llm["status"]) == (survivor, "completed")
        assert [(each["number"], each["agent"], each["status"]) for each in llm["attempts"]] == [
            (1, victim, "failed"),
            (2, survivor, "completed"),
        ]
        assert llm["attempts"][0]["reason"]
    assert len(kept["stages"]) == 3


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Installation]:
    with staging.apart(tmp_path) as made:
        yield made


def test_gateway_api_and_bus_started_by_hand_do_the_same(apart: Installation) -> None:
    hire(apart)
    apart.put_pipeline(staging.pipeline("by-hand"))
    respond(apart)
    (turn,) = apart.listen(QUESTION, "--pipeline", "by-hand")
    check_answered(apart, turn)
    staging.until(
        lambda: (
            [each["turn_id"] for each in apart.request("GET", "/api/v1/turns").json()["items"]] == [turn["turn_id"]]
        ),
        "the turn is not recorded",
    )
