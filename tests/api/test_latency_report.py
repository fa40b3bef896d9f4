"""The latency report against a second, slow implementation; each outcome in its place; who sees what."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.datasets.models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from openomni.api.experiments.models import Cell, Experiment, ExperimentPipeline
from openomni.api.ground.caller import Caller
from openomni.api.ground.errors import Refusal
from openomni.api.records.models import Build, Session, Task, Turn
from openomni.api.reports import latency, selection
from openomni.api.reports.outcomes import OUTCOMES, outcome_of
from openomni.api.reports.selection import Selection

SCOPE = "viewer"
STAGE = ("queue_s", "lost_s", "transfer_s", "load_s", "model_s", "ttfb_s")
_ids = itertools.count()


def caller_of(project: Project) -> Caller:
    return Caller(project.pk, frozenset({SCOPE}))


def session_of(project: Project, **fields: Any) -> Session:
    return Session.objects.create(project=project, id=f"s{next(_ids)}", **fields)


def turn_of(session: Session, **fields: Any) -> Turn:
    known = {"pipeline": "local", "pipeline_hash": "h1", "status": "completed", "outcome": "answered", "index": 0}
    return Turn.objects.create(project=session.project, session=session, id=f"t{next(_ids)}", **{**known, **fields})


def task_of(turn: Turn, kind: str = "llm", **fields: Any) -> Task:
    known = {"component": "simulated", "agent": "box", "status": "completed", "started_s": 0.1, "ended_s": 0.6}
    return Task.objects.create(
        project=turn.project, turn=turn, task_id=f"k{next(_ids)}", kind=kind, **{**known, **fields}
    )


def rows_of(found: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if all(row[name] == value for name, value in wanted.items())]


# ---- a second implementation ---------------------------------------------------------------------------------

SOME_SECONDS = st.none() | st.sampled_from([-0.3, 0.0, 0.25, 3.0, 3.01, 7.5])
TURNS = st.fixed_dictionaries(
    {
        "pipeline": st.sampled_from(["a", "b"]),
        "status": st.sampled_from(
            ["pending", "started", "completed", "completed", "failed", "cancelled", "superseded"]
        ),
        "outcome": st.sampled_from(["", "answered", "unanswered", "interrupted", "failed", "cancelled", "lost"]),
        "interrupted": st.booleans(),
        "live": st.booleans(),
        "warm": st.sampled_from([True, False, None]),
        "origin": st.sampled_from(["person", "bench"]),
        "voice_to_voice_s": SOME_SECONDS,
    }
)
TASKS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["stt", "tts"]),
        "agent": st.sampled_from(["x", "y"]),
        "build": st.sampled_from(["", "b1"]),
        "status": st.sampled_from(["completed", "completed", "failed", "cancelled", "superseded", "pending"]),
        "started_s": st.none() | st.floats(-1, 1),
        "ended_s": st.none() | st.floats(1, 5),
        **{name: st.none() | st.floats(0, 2) for name in STAGE},
    }
)
TABLES = st.lists(st.tuples(TURNS, st.lists(TASKS, max_size=3)), max_size=8)


def slowly(table: list[tuple[dict[str, Any], list[dict[str, Any]]]], include: set[str]) -> dict[str, Any]:
    """Row by row, as the contract says it."""
    values, counts = defaultdict(list), Counter[str]()
    for turn, tasks in table:
        if turn["origin"] == "bench" and "bench" not in include:
            continue
        if turn["status"] == "superseded" and "superseded" not in include:
            continue
        waited, says = turn["voice_to_voice_s"], (turn["status"], turn["outcome"])
        holds = {
            "failed": "failed" in says,
            "cancelled": "cancelled" in says or "superseded" in says,
            "missing": turn["status"] in ("pending", "started") or turn["outcome"] == "lost",
            "unanswered": turn["outcome"] == "unanswered"
            or (turn["outcome"] == "" and turn["live"] and waited is None),
            "interrupted": turn["interrupted"] or turn["outcome"] == "interrupted",
            "early": waited is not None and waited < 0,
            "late": waited is not None and waited > 3,
            "on_time": True,
        }
        counts[next(name for name, does in holds.items() if does)] += 1
        good = {"completed"} | {"failed", "superseded"} & include
        good |= {"cancelled"} if turn["interrupted"] else set()
        if turn["status"] not in good or (turn["interrupted"] and "interrupted" not in include):
            continue
        if turn["warm"] is False and "warm-up" not in include:
            continue
        about = (turn["pipeline"], turn["live"])
        if waited is not None:
            values[*about, "turn", None, None, "voice_to_voice_s"].append(waited)
        tasks = [task for task in tasks if task["status"] in good]
        ends = [task["ended_s"] for task in tasks if task["ended_s"] is not None]
        spoken = [task["ended_s"] for task in tasks if task["ended_s"] is not None and task["kind"] == "tts"]
        if ends:
            values[*about, "turn", None, None, "turn_s"].append(max(spoken or ends))
        for task in tasks:
            whole = {name: task[name] for name in STAGE}
            if None not in (task["started_s"], task["ended_s"]):
                whole["total_s"] = task["ended_s"] - task["started_s"]
            for name, value in whole.items():
                if value is not None:
                    model = "tiny" if task["build"] else ""
                    values[*about, task["kind"], model, task["agent"], name].append(value)
    return {"values": values, "turns": counts}


def quantile(values: list[float], share: float) -> float:
    place = share * (len(values) - 1)
    low = int(place)
    ranked = [*sorted(values), 0.0]
    return ranked[low] + (ranked[low + 1] - ranked[low]) * (place - low)


class AgainstASecondImplementation(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(TABLES, st.sets(st.sampled_from(selection.INCLUDED)))
    def test_it_says_the_same(self, table: Any, include: set[str]) -> None:
        project = Project.objects.create(slug=f"p{next(_ids)}", name="P")
        Build.objects.create(project=project, hash="b1", kind="stt", content={"parameters": {"model": "tiny"}})
        session = session_of(project)
        for turn, tasks in table:
            made = turn_of(session, **turn)
            for task in tasks:
                task_of(made, **task)
        found = latency.report(caller_of(project), Selection(include=frozenset(include)))
        slow = slowly(table, include)
        assert found["turns"] == {
            "total": slow["turns"].total(), **{name: slow["turns"][name] for name in OUTCOMES}
        }  # fmt: skip
        told = {
            (row["pipeline"], row["live"], row["kind"], row["model"], row["agent"], row["figure"]): row
            for row in found["rows"]
        }
        assert told.keys() == slow["values"].keys()
        assert len(told) == len(found["rows"])
        for key, values in slow["values"].items():
            row = told[key]
            assert row["count"] == len(values)
            assert row["mean"] == pytest.approx(statistics.fmean(values))
            assert row["sd"] == (pytest.approx(statistics.stdev(values)) if len(values) > 1 else None)
            assert (row["min"], row["max"]) == (min(values), max(values))
            for name, share in (("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
                assert row[name] == pytest.approx(quantile(values, share), abs=1e-9)


# ---- one by one ----------------------------------------------------------------------------------------------


def test_a_turn_counts_as_the_first_that_holds() -> None:
    """From a turn of which all holds, one fault taken away after the other."""
    told: dict[str, Any] = {
        "status": "failed", "outcome": "cancelled", "interrupted": True, "live": True, "voice_to_voice_s": None,
        "late_after_s": 3.0,
    }  # fmt: skip
    steps: list[tuple[str, dict[str, Any]]] = [
        ("failed", {}),
        ("cancelled", {"status": "started"}),
        ("missing", {"outcome": "unanswered"}),
        ("unanswered", {"status": "completed"}),
        ("interrupted", {"outcome": "answered"}),
        ("on_time", {"interrupted": False}),
        ("early", {"voice_to_voice_s": -0.001}),
        ("on_time", {"voice_to_voice_s": 3.0}),
        ("late", {"voice_to_voice_s": 3.001}),
        ("on_time", {"late_after_s": 4.0}),
    ]
    for expected, change in steps:
        told |= change
        assert outcome_of(**told) == expected, told


def test_live_and_queued_turns_are_never_in_one_row(project: Project) -> None:
    session = session_of(project)
    for live in (True, False):
        task_of(turn_of(session, live=live, voice_to_voice_s=0.5 if live else None), model_s=0.25)
    found = latency.report(caller_of(project), Selection())
    assert [(row["live"], row["count"]) for row in rows_of(found, figure="model_s")] == [(True, 1), (False, 1)]


def test_intervals_are_given_where_the_data_carry_them(project: Project) -> None:
    session = session_of(project)
    Turn.objects.bulk_create(
        Turn(id=f"{name}{number}", project=project, session=session, index=number, pipeline=name, status="completed",
             outcome="answered", voice_to_voice_s=number / 100)
        for name, many in (("one", 1), ("few", 199), ("many", 200))
        for number in range(many)
    )  # fmt: skip
    rows = {row["pipeline"]: row for row in latency.report(caller_of(project), Selection())["rows"]}
    assert rows["one"]["mean_interval"] is None
    assert rows["one"]["sd"] is None
    assert rows["few"]["p95_interval"] is None
    assert rows["few"]["p95"] == pytest.approx(1.881)
    low, high = rows["many"]["p95_interval"]
    assert low < rows["many"]["p95"] < high
    low, high = rows["few"]["mean_interval"]
    assert low < rows["few"]["mean"] < high


def test_what_is_left_out_is_told_and_may_be_asked_for(project: Project) -> None:
    session = session_of(project)
    turn_of(session, origin="bench", voice_to_voice_s=1.0)
    turn_of(session, status="superseded", voice_to_voice_s=1.0)
    turn_of(session, warm=False, voice_to_voice_s=1.0)
    found = latency.report(caller_of(project), Selection())
    assert found["rows"] == []
    assert found["turns"]["total"] == found["turns"]["on_time"] == 1, "somebody waited for the cold one"
    assert found["left_out"] == {"bench": 1, "superseded": 1, "warm_up": 0}
    everything = latency.report(caller_of(project), Selection(include=frozenset(selection.INCLUDED)))
    assert everything["turns"]["total"] == everything["rows"][0]["count"] == 3


def test_rows_may_be_told_apart_by_more(project: Project) -> None:
    morning, evening = session_of(project, device="kitchen"), session_of(project, device="hall")
    for session, language in ((morning, "en"), (morning, "de"), (evening, "en")):
        turn_of(session, voice_to_voice_s=0.5, language=language)
    old = turn_of(evening, voice_to_voice_s=0.5, language="en")
    Turn.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=3))
    found = latency.report(caller_of(project), Selection(by=("device", "language")))
    assert [(row["device"], row["language"], row["count"]) for row in found["rows"]] == [
        ("hall", "en", 2), ("kitchen", "de", 1), ("kitchen", "en", 1),
    ]  # fmt: skip
    days = latency.report(caller_of(project), Selection(by=("day",)))["rows"]
    assert [row["day"] for row in days] == [f"{timezone.now() - timedelta(days=ago):%Y-%m-%d}" for ago in (3, 0)]


def test_more_than_it_takes_is_refused_with_the_mend(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(project)
    for _ in range(3):
        turn_of(session, voice_to_voice_s=0.5, language=str(next(_ids)))
    monkeypatch.setattr(latency, "MAX_KEYS", 2)
    with pytest.raises(Refusal, match="tell them apart by less"):
        latency.report(caller_of(project), Selection(by=("language",)))
    monkeypatch.setattr(selection, "MAX_TURNS", 2)
    with pytest.raises(Refusal, match="these are 3 turns, and a report takes 2; ask for fewer, by `since`"):
        latency.report(caller_of(project), Selection())


# ---- experiments ---------------------------------------------------------------------------------------------


@pytest.fixture
def experiment(project: Project) -> Experiment:
    """Of one sample with two utterances, through one pipeline, once, with a warm-up."""
    version = DatasetVersion.objects.create(
        project=project, dataset=Dataset.objects.create(project=project, name="d"), number=1, hash="x", samples=1
    )
    sample = DatasetSample.objects.create(
        project=project, version=version, position=0, sample_id="one", hash="y", content={}
    )
    for index in range(2):
        DatasetUtterance.objects.create(project=project, sample=sample, index=index, recording="r")
    made = Experiment.objects.create(project=project, name="which", dataset=version, baseline="local")
    pipeline = ExperimentPipeline.objects.create(
        project=project, experiment=made, place=0, label="local", name="local", hash="h1"
    )
    for repeat in range(3):
        Cell.objects.create(
            project=project, id=f"cell{repeat}", experiment=made, pipeline=pipeline, sample=sample, repeat=repeat,
            order=repeat, session=f"run{repeat}",
        )  # fmt: skip
    return made


def test_of_an_experiment_each_planned_turn_counts_once(project: Project, experiment: Experiment) -> None:
    def run(cell: str, session: str, number: int, **fields: Any) -> None:
        row = Session.objects.create(project=project, id=session)
        for index in range(number):
            turn_of(row, cell=cell, origin="experiment", index=index, voice_to_voice_s=0.5, **fields)

    run("cell0", "run0", 2)  # warm-up
    run("cell1", "stopped", 1)  # an earlier attempt, which does not count
    run("cell1", "run1", 2)
    run("cell2", "run2", 1)  # half of it is still to come
    turn_of(session_of(project), voice_to_voice_s=9.0)  # somebody else's
    found = latency.report(caller_of(project), Selection(experiment="which"))
    assert found["turns"] == {**dict.fromkeys(OUTCOMES, 0), "total": 4, "on_time": 3, "missing": 1}
    assert found["left_out"] == {"bench": 0, "warm_up": 2, "superseded": 1}
    assert [row["count"] for row in rows_of(found, figure="voice_to_voice_s")] == [3]
    assert latency.report(caller_of(project), Selection(experiment="which", pipeline="other"))["turns"]["total"] == 0
    # Without asking for the experiment, its warm-up is left out as well.
    everything = latency.report(caller_of(project), Selection())
    assert everything["left_out"] == {"bench": 0, "warm_up": 2, "superseded": 1}
    assert everything["turns"]["total"] == 4
    assert latency.report(caller_of(project), Selection(include=frozenset(["superseded"])))["turns"]["total"] == 5


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_turns_that_a_cell_never_had_are_counted_as_what_became_of_the_cell(
    project: Project, experiment: Experiment, status: str
) -> None:
    Cell.objects.filter(repeat=1).update(status=status)
    found = latency.report(caller_of(project), Selection(experiment="which"))
    assert found["turns"] == {**dict.fromkeys(OUTCOMES, 0), "total": 4, status: 2, "missing": 2}


def test_an_experiment_that_is_not_there_has_the_nearest_name(admin: Api, experiment: Experiment) -> None:
    line = admin.error("GET", "/reports/latency?experiment=witch", status=404)
    assert line == "there is no experiment 'witch' in this project; did you mean 'which'?"


# ---- over HTTP -----------------------------------------------------------------------------------------------


def test_over_http_it_is_the_same_and_only_of_what_the_caller_sees(project: Project, stranger: Api) -> None:
    kitchen = session_of(project, device="kitchen")
    task_of(turn_of(kitchen, voice_to_voice_s=0.5), model_s=0.25)
    task_of(turn_of(session_of(project, device="hall"), voice_to_voice_s=1.5), model_s=0.5)
    query = urlencode({"by": ["device", "agent"], "include": ["failed", "bench"], "late_after": 1}, doseq=True)
    found = api_for(project, Scope.VIEWER)("GET", f"/reports/latency?{query}")
    assert (found["turns"]["on_time"], found["turns"]["late"]) == (1, 1)
    assert [(row["device"], row["p50"]) for row in rows_of(found, figure="model_s")] == [
        ("hall", 0.5),
        ("kitchen", 0.25),
    ]
    assert "day" not in found["rows"][0]
    assert stranger("GET", "/reports/latency")["turns"]["total"] == 0
    assert api_for(project, Scope.VIEWER, device="kitchen")("GET", "/reports/latency")["turns"]["total"] == 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("include=everything", "include.0"), ("by=mood", "by.0"), ("late_after=-1", "late_after"),
        ("since=yesterday", "is no moment"), ("origin=x", "unknown origin"), ("pipline=a", "unknown name in the query"),
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(admin: Api, query: str, says: str) -> None:
    assert says in admin.error("GET", f"/reports/latency?{query}", status=422)


def test_a_pipeline_that_there_is_not_is_no_empty_report(project: Project) -> None:
    turn_of(session_of(project), pipeline="gone")
    for named in ("gone", "local"):
        latency.report(caller_of(project), Selection(pipeline=named, session="another"))
    with pytest.raises(Refusal, match="there is no pipeline 'locl' in this project; did you mean 'local'"):
        latency.report(caller_of(project), Selection(pipeline="locl"))
