"""Who plays the user of a sample: what it is asked, what it may say, and what is on record of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from agent.backend import pipeline, workers
from agent.calling import CallBackend, calling
from openomni.agent import player
from openomni.agent.player import PlayerAtWork
from openomni.bus.envelope import CallUtterance, CallWork
from openomni.bus.work import enqueue
from openomni.client.caller.call import CallLine, CallPlan
from openomni.client.caller.dialogue import Line
from openomni.datasets import AfterPause, AfterReply, When
from openomni.errors import OpenOmniError
from openomni.events import AXIS_RATE
from openomni.media import Audio
from openomni.records import BuildRecord, PlayerChoice

QUESTION = Path(str(resources.files("openomni.cli") / "data" / "question.wav"))


def planned(folder: Path, *texts: str | None, when: When | None = None) -> CallPlan:
    """A sample whose utterances are all the bundled question, with these texts."""
    audio = Audio.load(QUESTION, AXIS_RATE)
    path = str(audio.save(folder / "question.wav"))
    lines = [CallLine(path=path, start=800, end=len(audio.samples) - 800, text=text, when=when or AfterReply())
             for text in texts]  # fmt: skip
    return CallPlan(
        server="http://127.0.0.1:1", token="", pipeline="p", session_id="s", cell="c", folder=str(folder), lines=lines,
        sample="s1", seed=7,
    )  # fmt: skip


def ready(plan: CallPlan, name: str, **fields: Any) -> tuple[list[Line | None], list[dict[str, Any]]]:
    """What a player says before anything was heard, and the builds."""

    async def main() -> tuple[list[Line | None], list[dict[str, Any]]]:
        async with PlayerAtWork.ready(PlayerChoice(name=name, **fields), plan) as made:
            return list(made._ahead), made.builds

    return asyncio.run(main())


def odd(does: str, **more: Any) -> dict[str, Any]:
    return {"name": "agent.players:Odd", "parameters": {"does": does, **more}}


@pytest.mark.models
def test_a_script_is_said_in_a_made_voice_when_the_sample_has_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, "What time is it now?", "And in Rome?", when=AfterPause(0.4))
    said, builds = ready(plan, "script")
    first, second, end = said
    assert end is None
    assert first is not None
    assert second is not None
    assert [each.utterance.text for each in (first, second)] == ["What time is it now?", "And in Rome?"]
    assert second.when == AfterPause(0.4)
    for each in (first, second):
        assert 0.3 < each.utterance.seconds < 4.0
        assert each.utterance.audio.rate == AXIS_RATE
    assert [(each["kind"], each["component"]) for each in builds] == [("player", "script"), ("tts", "piper")]
    assert builds[1]["files"], "the voice that spoke is known by its files"


def test_recordings_of_the_sample_keep_what_they_say_wherever_they_are_said(tmp_path: Path) -> None:
    said, _ = ready(planned(tmp_path, "One?", "Two?", None), **odd("backwards"))
    # The last has no text; the second is said in its own place, as it was recorded.
    assert [each and each.utterance.text for each in said] == ["", None, "One?", None]


def test_who_says_what_was_recorded_has_the_references_of_that(tmp_path: Path) -> None:
    said, builds = ready(planned(tmp_path, "What is it?", None), "agent.players:Calm")
    assert [None if each is None else each.utterance.text for each in said] == [None, None, None]
    assert said[2] is None
    assert said[0] is not None
    assert (said[0].utterance.start, said[0].utterance.end) == (800, planned(tmp_path, "x").lines[0].end)
    assert [each["component"] for each in builds] == ["calm"], "nobody spoke for it"


@pytest.mark.parametrize(
    ("does", "line"),
    [
        ("nothing", "says nothing to sample 's1'; give an utterance first"),
        ("raises", "raised RuntimeError: no idea"),
        ("leaves", "raised SystemExit: 3"),
        ("number", "gave int; expected Audio, str, (Audio, str), or None when it has said all"),
        ("blank", "gave text of 2 characters; give 1 to"),
        ("silence", "no speech was found in what player:agent.players:Odd says; is it silent?"),
        ("long", "says 500 s at once; 120 s are the most"),
        ("ever", "said 3 utterances and goes on; return None when all is said"),
        ("hangs", "hung: nothing came of it for 0.5 s"),
        ("late", "hung: nothing came of it for 0.4 s"),
        ("much", "gave text of 2001 characters; give 1 to 2,000, or None to end"),
        ("vain", "raised ValueError: no truth"),
    ],
)
def test_what_it_may_not_do_ends_the_call_in_one_line(
    does: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "MOST_SAID", 3)
    monkeypatch.setattr(player, "READY_S", 0.4 if does == "late" else 60.0)
    monkeypatch.setattr(player, "TIMEOUT_S", 0.5 if does == "hangs" else 60.0)
    with pytest.raises(OpenOmniError, match=r"^[^\n]+$") as caught:
        ready(planned(tmp_path, "a"), **odd(does))
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"name": "scrip"}, "unknown player component 'scrip'; did you mean 'script'?"),
        ({"name": "script", "voice": "pipe"}, "unknown tts component 'pipe'; did you mean 'piper'?"),
        ({"name": "script", "parameters": {"a": 1}}, "player:script: unknown parameter 'a'"),
    ],
)
def test_what_is_not_installed_where_the_caller_runs_is_said(choice: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(OpenOmniError, match=line):
        ready(planned(tmp_path, "a"), **choice)


@pytest.fixture
async def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CallBackend]:
    # A call is a process of its own, which must find the players of these tests.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    )
    async with calling(tmp_path) as made:
        yield made


@pytest.fixture
async def employ(backend: CallBackend) -> AsyncIterator[Callable[..., Any]]:
    async with workers(backend) as employing:
        yield employing


async def test_one_that_listens_hears_the_reply_before_it_goes_on(backend: CallBackend, employ) -> None:
    await employ("one", "host,caller,stt:simulated,llm:simulated,tts:simulated")
    tested = pipeline(llm="text: Yes.", tts="seconds: 0.3")
    backend.pipelines[tested.hash] = tested.normalised()
    recording = backend.record(Audio.load(QUESTION, AXIS_RATE))
    call = CallWork(
        cell="c1", experiment="e1", pipeline=tested.name, session_id="s1", settings={"patience_s": 4.0},
        utterances=[CallUtterance(recording=recording, text="What is it?")], sample="s1",
        player=PlayerChoice(name="agent.players:Curious"),
    )  # fmt: skip
    await enqueue(backend.bus, call.work("default", tested.hash, group="e1"))
    (cell,) = await backend.until(backend.cells, 60)
    assert cell.status == "done", cell.reason
    assert [(each.index, each.text, each.answered) for each in cell.turns] == [
        (0, None, True), (1, "Is it so: Yes.", True),
    ]  # fmt: skip
    first, second = cell.turns
    turns = await backend.until(lambda: len(done := backend.turns("completed")) >= 2 and done)
    assert {first.turn_id, second.turn_id} <= turns.keys()
    builds = {each.build: each for each in backend.records if isinstance(each, BuildRecord)}
    assert [(builds[key].kind, builds[key].component) for key in cell.player] == [("player", "curious")]


async def test_each_exchange_keeps_the_reply_that_was_heard_then(backend: CallBackend, employ) -> None:
    await employ("one", "host,caller,stt:simulated,llm:simulated,tts:simulated")
    tested = pipeline(llm="text: Yes.", tts="seconds: 0.2")
    backend.pipelines[tested.hash] = tested.normalised()
    recording = backend.record(Audio.load(QUESTION, AXIS_RATE))
    call = CallWork(
        cell="c1", experiment="e1", pipeline=tested.name, session_id="s1", settings={"patience_s": 4.0},
        utterances=[CallUtterance(recording=recording, text="What is it?")], sample="s1",
        player=PlayerChoice(name="agent.players:Historian"),
    )  # fmt: skip
    await enqueue(backend.bus, call.work("default", tested.hash, group="e1"))
    (cell,) = await backend.until(backend.cells, 90)
    assert cell.status == "done", cell.reason
    # It says what it is told of how long it waited, each time for all that went before.
    told = [[float(each) for each in (line.text or "").split()] for line in cell.turns]
    assert [len(each) for each in told] == [0, 1, 2]
    assert told[2][0] == told[1][0]
    assert all(0 < each < 4 for each in told[2])


async def test_a_caller_without_the_player_gives_the_cell_back(backend: CallBackend, employ) -> None:
    await employ("one", "host,caller,stt:simulated,llm:simulated,tts:simulated")
    for choice in (PlayerChoice(name="nowhere:Somebody"), PlayerChoice(name="script", voice="nobody")):
        before = len(backend.cells())
        await enqueue(backend.bus, backend.call(pipeline(), player=choice))
        cells = await backend.until(lambda before=before: len(found := backend.cells()) > before and found, 60)
        assert (cells[-1].status, cells[-1].unserved) == ("failed", True)
        assert cells[-1].reason.startswith("this caller has no ")


async def test_a_player_that_fails_fails_its_cell(backend: CallBackend, employ) -> None:
    await employ("one", "host,caller,stt:simulated,llm:simulated,tts:simulated")
    work = backend.call(pipeline(), player=PlayerChoice(**odd("raises")))
    await enqueue(backend.bus, work)
    (cell,) = await backend.until(backend.cells, 60)
    assert (cell.status, cell.reason) == ("failed", "player:agent.players:Odd raised RuntimeError: no idea")
