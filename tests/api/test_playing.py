"""Who plays the user is a factor of an experiment: checked where it enters, told, and never mixed in silence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.experiment_rows import agent, dataset, into_reply, pipelines, sample
from api.support import Api, agent_with, api_for
from api.test_latency_report import caller_of
from openomni.api.accounts.models import Project, Scope
from openomni.api.experiments import comparing, feeding, playing, run_reading
from openomni.api.experiments.models import Cell, Experiment
from openomni.api.experiments.runnable import Runnable
from openomni.api.fleet.models import Agent
from openomni.api.queue.models import QueuedWork
from openomni.api.records.recorder import write_batch
from openomni.api.reports import latency
from openomni.api.reports.selection import Selection
from openomni.bus.envelope import CallWork, Work
from openomni.evaluation.publishing import methods
from openomni.metrics import registry
from openomni.records import BuildRecord, CalledRecord, CellRecord, MachineRecord, PlayerChoice, TurnRecord

SCRIPT = {"name": "script", "voice": "simulated", "voice_parameters": {"seconds": 0.5}}
CALLER = ("stt:simulated", "llm:simulated", "tts:simulated", "player:script")


@pytest.fixture
def researcher(project: Project) -> Api:
    dataset(project, sample("plain"), sample("talk", 2))
    pipelines(project, "a", "b")
    agent(project, *CALLER)
    Agent.objects.update(roles=["host", "caller"])
    return api_for(project, Scope.RESEARCHER)


def request(**fields: Any) -> dict[str, Any]:
    return {
        "dataset": "questions",
        "pipelines": ["a", "b"],
        "name": "e1",
        "pace": "realtime",
        "player": SCRIPT,
    } | fields


def run(api: Api, **fields: Any) -> Any:
    return api("POST", "/experiments", request(**fields), 202)


def works() -> dict[str, Work]:
    return {row.pk: msgspec.convert(row.work, Work) for row in QueuedWork.objects.all()}


def build(version: str, cpu: str = "") -> BuildRecord:
    return BuildRecord.of(
        "home", kind="player", component="script", package="openomni", package_version=version, path="x:Y",
        parameters={}, files=[], libraries={}, machine=MachineRecord(cpu=cpu), openomni="0.2.0",
    )  # fmt: skip


def play(work: Work, says: list[str], by: BuildRecord) -> None:
    """A caller's record of it, and its turns as their host tells them."""
    call = CallWork.of(work)
    turns = [
        TurnRecord(project="home", version=2, turn_id=f"{call.cell}-{index}", session_id=call.session_id, index=index,
                   pipeline="a", pipeline_hash=work.spec_hash, live=True, origin="experiment", cell=call.cell,
                   status="completed", outcome="answered", transcript=text)
        for index, text in enumerate(says)
    ]  # fmt: skip
    called = [
        CalledRecord(index=index, turn_id=f"{call.cell}-{index}", turn_ids=[f"{call.cell}-{index}"], answered=True,
                     voice_to_voice_s=0.5, start=16_000, end=32_000, text=text)
        for index, text in enumerate(says)
    ]  # fmt: skip
    cell = CellRecord(project="home", version=work.attempt, cell=call.cell, attempt=work.attempt, status="done",
                      session_id=call.session_id, caller="box", turns=called, player=[by.build])  # fmt: skip
    write_batch([by, *turns, cell])


def test_a_call_has_who_plays_and_what_a_player_is_told(researcher: Api) -> None:
    made = run(researcher)
    assert made["manifest"]["player"] | {"version": ""} == {
        "kind": "script", "version": "", "parameters": {}, "voice": "simulated", "voice_parameters": {"seconds": 0.5},
    }  # fmt: skip
    feeding.feed(Experiment.objects.get().pk)
    cell = Cell.objects.filter(sample__sample_id="talk", repeat=1).first()
    assert cell is not None
    call = CallWork.of(works()[cell.pk])
    assert call.player == PlayerChoice(**SCRIPT)
    assert call.sample == "talk"
    written = [said["text"] for said in cell.sample.content["utterances"]]
    assert [each.text for each in call.utterances] == written != []


def test_recordings_carry_no_text(researcher: Api) -> None:
    run(researcher, player={**SCRIPT, "name": "script"}, name="other")
    body = request()
    del body["player"]
    researcher("POST", "/experiments", body, 202)
    feeding.feed(Experiment.objects.get(name="e1").pk)
    calls = [CallWork.of(each) for each in works().values()]
    assert {(call.player, call.sample, each.text) for call in calls for each in call.utterances} == {(None, "", None)}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"pace": "fast"}, "the player script speaks and listens as a person does, and fast pace has nobody who hears"),
        ({"player": {"name": "scrit"}}, "unknown player 'scrit'; did you mean 'script'?"),
        ({"player": {"name": "script", "voice": "pipper"}}, "unknown tts 'pipper'; did you mean 'piper'?"),
        ({"player": {"name": "script", "parameters": {"x": 1}}}, "player:script: unknown parameter 'x'"),
        (
            {"player": {**SCRIPT, "voice_parameters": {"seconds": "long"}}},
            "tts:simulated: parameter 'seconds' must be a number",
        ),
        ({"player": {"name": "script", "parameters": {"x": "y" * 20_000}}}, "16 KiB at most"),
        ({"player": {"name": "script", "speed": 2}}, "speed: unknown name"),
        ({"player": {"name": ""}}, "name"),
        ({"player": {"name": "recording"}}, "recordings are what is played without a player; leave the player out"),
    ],
)
def test_what_can_t_play(researcher: Api, changed: dict[str, Any], line: str) -> None:
    Agent.objects.all().delete()  # those of tests know no parameters
    assert line in researcher.error("POST", "/experiments", request(**changed), status=422)
    assert not Experiment.objects.exists()


def test_a_script_needs_words(researcher: Api, project: Project) -> None:
    dataset(project, sample("known"), sample("unknown", text=None), into_reply("cut"), name="some")
    line = researcher.error("POST", "/experiments", request(dataset="some"), status=422)
    assert line.startswith("sample unknown: has no text in each utterance for the player script to say")
    dataset(project, sample("short"), sample("long", text="a" * 2_001), name="long-ones")
    line = researcher.error("POST", "/experiments", request(dataset="long-ones"), status=422)
    assert line.startswith("sample long: has an utterance of more than 2,000 characters")


def test_a_sample_that_a_player_can_t_be_told(researcher: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "MAX_CONTENT", 2)
    line = researcher.error("POST", "/experiments", request(), status=422)
    assert line.startswith("sample plain, talk: holds more than")


def test_another_player_under_the_same_name_is_refused(researcher: Api) -> None:
    run(researcher)
    body = request()
    del body["player"]
    line = researcher.error("POST", "/experiments", body, status=409)
    told = "the user played by script; voice simulated, seconds 0.5, and this asks for the recordings"
    assert line == f"experiment 'e1' has {told}; give this one a name of its own (--name)"
    run(researcher)


def test_it_waits_for_a_caller_who_has_the_player(researcher: Api, project: Project) -> None:
    Agent.objects.all().delete()
    agent(project)
    agent_with(project, "player:script", roles=[])
    run(researcher)
    experiment = Experiment.objects.get()

    def held_up() -> list[str]:
        (lines, *others) = Runnable.now(experiment).held_up.values()
        assert others == [lines]
        return lines

    assert held_up() == [
        "no live agent plays the person; start one with the role: openomni agent --offer caller,player:script"
    ]
    Agent.objects.filter(offers__kind="llm").update(roles=["host", "caller"])
    assert held_up() == [
        "no live agent with the role caller offers player:script; start one where it is installed: "
        "openomni agent --offer caller,player:script"
    ]
    agent_with(project, "player:script", roles=["caller"])
    (lacking,) = held_up()
    assert lacking.endswith(
        ": plays the person, too, and offers no player:script; install it there, or start that agent without the role "
        "caller"
    )
    Agent.objects.filter(offers__kind="llm").update(roles=["host"])
    assert Runnable.now(experiment).held_up == {}


def test_what_was_said_is_what_is_compared_with(researcher: Api) -> None:
    run(researcher)
    experiment = Experiment.objects.get()
    feeding.feed(experiment.pk)
    cell = Cell.objects.select_related("sample", "pipeline").filter(sample__sample_id="talk", repeat=1).first()
    assert cell is not None
    written = [said["text"] for said in cell.sample.content["utterances"]]
    play(works()[cell.pk], [written[0], "Something of my own.", "", "Bye."], build("1"))
    cell.refresh_from_db()
    runs, _ = run_reading.runs_of(experiment, [cell])
    turns = runs[cell.pk].turns
    assert [each.utterance and each.utterance.text for each in turns] == [
        written[0], "Something of my own.", None, "Bye.",
    ]  # fmt: skip
    first, second, *_ = turns
    assert first.utterance is not None
    assert second.utterance is not None
    asked = cell.sample.content["utterances"]
    assert first.utterance.answer == asked[0].get("answer")
    assert second.utterance.answer is None, "the sample's answer is to other words"
    assert (first.utterance.sound.start, first.utterance.sound.end) == (1.0, 2.0)
    found = {name: registry.build(name).measure(runs[cell.pk]) for name in ("wer", "unanswered_rate")}
    words = len(f"{written[0]} Something of my own. Bye.".split())
    assert (found["wer"].detail["errors"], found["wer"].detail["total"]) == (0, words)
    assert (found["unanswered_rate"].value, found["unanswered_rate"].detail["total"]) == (0.0, 4)
    report = latency.report(caller_of(experiment.project), Selection(experiment="e1", include=frozenset(["warm-up"])))
    assert report["turns"]["total"] >= 4
    whole = researcher("GET", "/experiments/e1")["turns"]
    others = {row.sample.sample_id: len(row.sample.content["utterances"]) for row in
              Cell.objects.filter(repeat=1).exclude(pk=cell.pk).select_related("sample")}  # fmt: skip
    assert whole["total"] == 4 + 2 * others["plain"] + others["talk"]
    assert whole["on_time"] == 4


def test_the_same_choice_is_the_same_in_whatever_order_it_was_typed(researcher: Api) -> None:
    voice = {"seconds": 0.5, "chunk_s": 0.1}
    run(researcher, player=SCRIPT | {"voice_parameters": voice})
    run(researcher, player=SCRIPT | {"voice_parameters": dict(reversed(voice.items()))})
    assert playing.words({"kind": "p", "parameters": {"n": 8}, "voice": "v"}) != playing.words(
        {"kind": "p", "parameters": {"n": "8"}, "voice": "v"}
    )


def test_cells_of_two_builds_of_a_player_are_told(researcher: Api) -> None:
    run(researcher)
    experiment = Experiment.objects.get()
    feeding.feed(experiment.pk)
    for number, work in enumerate(works().values()):
        play(work, ["a"] * len(CallWork.of(work).utterances), build("1" if number else "2"))
    counted = Cell.objects.filter(experiment=experiment, repeat=1).count()
    found = comparing.compared(experiment)
    assert found["player"] == "script; voice simulated, seconds 0.5"
    assert sum(each["cells"] for each in found["players"]) == counted
    assert {each["player"] for each in found["players"]} <= {"player:script 1", "player:script 2"}
    one = Cell.objects.filter(experiment=experiment, repeat=1).first()
    assert one is not None
    other = build("3")
    write_batch([other])
    one.played["player"] = [other.build]
    one.save()
    comparing.cache.clear()
    told = {each["player"]: each["cells"] for each in comparing.compared(experiment)["players"]}
    assert told["player:script 3"] == 1
    assert len(told) >= 2
    # The same player on another machine is the same one.
    elsewhere = build("3", cpu="another")
    assert elsewhere.build != other.build
    write_batch([elsewhere])
    another = Cell.objects.filter(experiment=experiment, repeat=1).exclude(pk=one.pk).first()
    assert another is not None
    another.played["player"] = [elsewhere.build]
    another.save()
    comparing.cache.clear()
    assert {each["player"]: each["cells"] for each in comparing.compared(experiment)["players"]}["player:script 3"] == 2


def test_a_paper_says_who_played() -> None:
    def said(pace: str, **comparison: Any) -> str:
        told = {"metrics": [], "baseline": "a", **comparison}
        experiment = {"repeats": 1, "pace": pace, "seed": 0, "margins": {}}
        dataset_ = {"samples": [], "name": "d", "number": 1, "hash": "h"}
        rest = {"pipelines": [], "cells": [], "comparison": told}
        return methods.paragraph({"experiment": experiment, "dataset": dataset_, **rest})

    assert "The user was played" not in said("fast")
    assert "The user was played by the recordings." in said("realtime")
    script, other = ({"player": f"player:script {version}", "cells": 3} for version in "12")
    assert "The user was played by script; voice piper (player:script 1 in 3 runs)." in said(
        "realtime", player="script; voice piper", players=[script]
    )
    assert "not by the same one in all runs (player:script 1 in 3 runs, player:script 2 in 3 runs)" in said(
        "realtime", player="script; voice piper", players=[script, other]
    )
