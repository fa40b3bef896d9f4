"""Cells through the queue: each is run once and counts once, whatever fails, comes twice, or is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from django.test import Client

from api.bus import connecting, line
from api.experiment_rows import agent, dataset, pipelines, sample
from api.support import Api, api_for, person
from openomni.api.accounts.models import Project, Scope
from openomni.api.experiments import feeding, scored
from openomni.api.experiments.models import Cell
from openomni.api.fleet.models import Agent
from openomni.api.queue import dead_letters, outbox
from openomni.api.queue.models import QueuedWork
from openomni.api.records import recorder
from openomni.api.records.models import Session, Turn
from openomni.bus import subjects
from openomni.bus.connection import Bus
from openomni.bus.envelope import Cancelled
from openomni.bus.records import RecordWriter
from openomni.bus.work import Claim, TurnWork, WorkQueue
from openomni.records import TurnRecord

__all__ = ["connecting", "line"]

Line = Callable[..., Any]
Act = Callable[[Claim, TurnWork, RecordWriter], Any]


@pytest.fixture
def running(connecting: Any, line: Line, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a server does beside answering, as far as experiments are concerned; but for scoring, which takes long."""
    monkeypatch.setattr(scored, "score", lambda key: None)
    stop = recorder.start(connecting, dead_letters.watch, outbox.watch, feeding.watch)
    yield
    stop()


@pytest.fixture
def researcher(running: None, project: Project) -> Api:
    dataset(project, *(sample(f"s{number}") for number in range(3)), sample("talk", 3))
    agent(project)
    pipelines(project, "a", "b", "c")
    return api_for(project, Scope.RESEARCHER)


def run(api: Api, *names: str) -> Any:
    return api("POST", "/experiments", {"dataset": "questions", "pipelines": list(names or "ab"), "name": "e1"}, 202)


def result(claim: Claim, body: TurnWork, **fields: Any) -> TurnRecord:
    known = {"status": "completed", "outcome": "answered", "voice_to_voice_s": 0.5, "started_at": time.time()}
    return TurnRecord(
        project="home", version=2, turn_id=body.turn_id, session_id=body.session_id, index=body.index,
        pipeline=body.pipeline, pipeline_hash=claim.work.spec_hash, recording=body.recording, live=False,
        origin=body.options["origin"], cell=body.options["cell"], **(known | fields),
    )  # fmt: skip


async def answer(claim: Claim, body: TurnWork, writer: RecordWriter) -> None:
    """As an agent does; its record comes twice."""
    for _ in range(2):
        writer.write(result(claim, body))
    await writer.flush(5)
    await claim.done()


def work(act: Act = answer) -> Callable[[Bus], Any]:
    """Does the next of what is queued."""

    async def one(bus: Bus) -> TurnWork:
        async with RecordWriter(bus) as writer, WorkQueue(bus, "home", "throughput") as queue:
            claim = await queue.claim()
            body = TurnWork.of(claim.work)
            await act(claim, body, writer)
            return body

    return one


def until(api: Api, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while not holds(found := api("GET", "/experiments/e1")):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def work_off(api: Api, line: Line, act: Act = answer) -> dict[str, Any]:
    """All of it, however many turns that is."""

    async def some(bus: Bus) -> None:
        async with RecordWriter(bus) as writer, WorkQueue(bus, "home", "throughput") as queue:
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(0.5):
                        claim = await queue.claim()
                    await act(claim, TurnWork.of(claim.work), writer)

    deadline = time.monotonic() + 60
    while (found := api("GET", "/experiments/e1"))["status"] != "done":
        assert time.monotonic() < deadline, stuck(line)
        line(some, timeout=20)
    return dict(found)


def stuck(line: Line) -> str:
    """What there is to know of an experiment that does not go on."""
    cells = Cell.objects.exclude(status="done").values_list("pk", "status", "attempt", "session", "reason")
    turns = Turn.objects.exclude(status="completed").values_list("pk", "status", "version", "session", "reason", "cell")
    queued = [(row.pk, row.waits, row.session_id) for row in QueuedWork.objects.all()]
    return f"cells {list(cells)}\nturns {list(turns)}\noutbox {queued}\n{left(line)} messages are left"


def left(line: Line) -> int:
    async def stored(bus: Bus) -> int:
        return (await bus.jetstream.stream_info(subjects.WORK)).state.messages

    return int(line(stored))


def test_each_cell_is_run_once_and_one_more_pipeline_runs_only_its_own(researcher: Api, line: Line) -> None:
    run(researcher)
    warm_up = {"s0": 1, "s1": 1, "s2": 1, "talk": 3}[Cell.objects.filter(repeat=0).first().sample.sample_id]
    of_each = 6 + warm_up
    done = work_off(researcher, line)
    assert (done["cells"]["run"], done["cells"]["done"], done["cells"]["planned"]) == (8, 8, 8)
    assert done["turns"] == {"total": 12, "on_time": 12} | dict.fromkeys(
        ("late", "early", "interrupted", "unanswered", "missing", "cancelled", "failed"), 0
    )
    assert set(Cell.objects.values_list("status", "attempt")) == {("done", 1)}
    assert set(Turn.objects.values_list("status", "origin", "live")) == {("completed", "experiment", False)}
    assert Turn.objects.count() == 2 * of_each
    assert set(Session.objects.values_list("status", "origin")) == {("closed", "experiment")}
    assert (QueuedWork.objects.count(), left(line)) == (0, 0)
    browser = Client()
    browser.force_login(person("ada", "viewer", Project.objects.get()))
    for path in ("/conversations/", "/"):
        assert Session.objects.first().pk not in browser.get(path).content.decode(), "nobody's conversations"
    before = {each["id"]: each for each in Cell.objects.values()}
    assert run(researcher)["status"] == "done", "run again, it does nothing"
    run(researcher, "a", "b", "c")
    done = work_off(researcher, line)
    assert done["cells"]["done"] == 12
    assert {each["id"]: each for each in Cell.objects.filter(pk__in=before).values()} == before


def test_an_utterance_of_a_dialogue_waits_for_the_one_before(researcher: Api, line: Line) -> None:
    run(researcher, "a")
    Cell.objects.exclude(sample__sample_id="talk").filter(status="planned").update(status="done")
    seen: list[TurnWork] = []
    while len([each for each in seen if each.index == 2]) < Cell.objects.filter(sample__sample_id="talk").count():
        seen.append(line(work(), timeout=20))
    of = [each for each in seen if each.session_id == seen[-1].session_id]
    assert [each.index for each in of] == [0, 1, 2]
    assert [each.after for each in of] == ["", of[0].turn_id, of[1].turn_id]
    assert [(each.start, each.end) for each in of] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]


def test_what_fails_or_kills_its_agents_is_set_aside_and_the_rest_goes_on(researcher: Api, line: Line) -> None:
    run(researcher, "a", "b", "c")
    failing, killing = list(Cell.objects.filter(repeat=1, sample__sample_id="s1").order_by("order")[:2])

    async def act(claim: Claim, body: TurnWork, writer: RecordWriter) -> None:
        if body.options["cell"] == failing.pk:
            writer.write(result(claim, body, status="failed", outcome="failed", reason="llm broke"))
            await writer.flush(5)
            await claim.bury("llm broke")
        elif body.options["cell"] == killing.pk:
            await claim.bury("3 attempts ended without an answer: the agents that ran it were lost")
        else:
            await answer(claim, body, writer)

    done = work_off(researcher, line, act)
    assert (done["cells"]["done"], done["cells"]["failed"], done["turns"]["failed"]) == (10, 2, 2)
    failed = researcher("GET", "/experiments/e1/cells?status=failed")["items"]
    assert {each["cell"]: each["reason"] for each in failed} == {
        failing.pk: "llm broke",
        killing.pk: "3 attempts ended without an answer: the agents that ran it were lost",
    }


def test_cancelled_it_leaves_nothing_queued_and_run_again_it_goes_on(researcher: Api, line: Line) -> None:
    told: list[Cancelled] = []

    async def hear(bus: Bus) -> None:
        async def heard(message: Any) -> None:
            told.append(msgspec.json.decode(message.data, type=Cancelled))

        await bus.subscribe(subjects.cancelled("home"), heard)

    line(hear)
    run(researcher)
    for _ in range(3):
        line(work(), timeout=20)
    until(researcher, lambda found: left(line) > 0)
    late: list[TurnRecord] = []

    async def hold(claim: Claim, body: TurnWork, writer: RecordWriter) -> None:
        """In the midst of it the experiment is cancelled."""
        late.append(result(claim, body))
        await claim.release()

    line(work(hold), timeout=20)
    cancelled = researcher("POST", "/experiments/e1/cancel")
    counts = cancelled["cells"]
    assert (cancelled["status"], counts["running"], counts["waiting"]) == ("cancelled", 0, 0)
    assert counts["run"] + counts["cancelled"] == 8
    until(researcher, lambda found: left(line) == 0)
    assert not QueuedWork.objects.exists()
    assert not Turn.objects.filter(status="pending").exists()
    until(researcher, lambda found: bool(told))
    assert {each.group for each in told} == {str(Cell.objects.first().experiment_id)}
    researcher("POST", "/experiments/e1/cancel")
    before = dict(Cell.objects.filter(status="done").values_list("pk", "session"))
    assert run(researcher)["status"] == "running"

    async def come_late(bus: Bus) -> None:
        async with RecordWriter(bus) as writer:
            writer.write(late[0])
            await writer.flush(5)

    until(researcher, lambda found: found["cells"]["running"] > 0)
    line(come_late)
    work_off(researcher, line)
    assert set(Cell.objects.values_list("status", flat=True)) == {"done"}
    again = Cell.objects.exclude(pk__in=before)
    assert set(again.values_list("attempt", flat=True)) <= {1, 2}
    assert dict(Cell.objects.filter(pk__in=before).values_list("pk", "session")) == before
    counting = Turn.objects.filter(session__in=Cell.objects.values("session"))
    assert set(counting.values_list("status", flat=True)) == {"completed"}
    assert researcher("GET", "/experiments/e1")["turns"]["total"] == 12


def test_a_cell_whose_agents_went_waits_for_the_next(researcher: Api, line: Line, project: Project) -> None:
    run(researcher, "a")
    lost: list[str] = []

    async def act(claim: Claim, body: TurnWork, writer: RecordWriter) -> None:
        lost.append(body.options["cell"])
        reason = "no live agent offers llm:simulated"
        writer.write(result(claim, body, status="failed", outcome="failed", reason=reason))
        await writer.flush(5)
        await claim.bury("no live agent offers llm:simulated")

    until(researcher, lambda found: left(line) > 0)
    Agent.objects.update(draining=True)
    line(work(act), timeout=20)
    (cell,) = lost
    waits = until(researcher, lambda found: found["cells"]["waiting"] + found["warm_up"]["waiting"] > 0)
    assert Cell.objects.get(pk=cell).status == "planned"
    told = "no live agent offers llm:simulated; start one: openomni agent --offer llm:simulated"
    assert told in waits["held_up"] or not waits["cells"]["waiting"]
    Agent.objects.update(draining=False)
    work_off(researcher, line)
    assert (Cell.objects.get(pk=cell).status, Cell.objects.get(pk=cell).attempt) == ("done", 2)
