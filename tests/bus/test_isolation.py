"""What an agent of project A may not do to project B: every way that we know, tried with real connections."""

from __future__ import annotations

import asyncio
import json

import pytest

from openomni.bus import subjects
from openomni.bus.connection import Bus, BusError, NoAnswer, SubjectDenied, connect
from openomni.bus.credentials import Authority, Credentials, Keys
from openomni.bus.fleet import Announcer, Fleet, Presence
from openomni.bus.streams import work_consumer
from openomni.errors import WrongUsage

from .conftest import Deployment

FOREIGN = [
    "oo.b.>",
    "oo.*.fleet.here.*",
    "oo.>",
    ">",
    "oo.b.fleet.here.*",
    "oo.b.agent.b1.call",
    "oo.b.call.*.in",
    "oo.b.live.-.*.in",
    "oo.b.live.*.*.out",
    "oo.b.record",
    "oo.b.work.reprocess.-.turn",
    "oo.b.dead",
    "_INBOX.>",
    "_INBOX.b.b1.>",
    "_INBOX._server.>",
    "_INBOX.a.a2.>",
    "oo.a.agent.a2.call",
    "$JS.>",
    "$SYS.>",
]


@pytest.fixture
async def agent_a(deployment: Deployment, gateway: Bus) -> Bus:
    for project in ("a", "b"):
        await work_consumer(gateway, project)
    return await deployment.agent("a1", "a")


@pytest.fixture
async def agent_b(deployment: Deployment, gateway: Bus) -> Bus:
    return await deployment.agent("b1", "b")


async def test_hearing_what_is_not_its_own_is_denied(agent_a: Bus) -> None:
    for subject in FOREIGN:
        heard = await agent_a.subscribe(subject)
        with pytest.raises(SubjectDenied, match="these credentials don't allow"):
            async with asyncio.timeout(5):
                await anext(heard)


SAYING = [
    "oo.b.fleet.here.b1",
    "oo.a.fleet.here.a2",
    "oo.who",
    "oo.b.agent.b1.call",
    "oo.b.agent.b1.session",
    "oo.b.call.x.in",
    "oo.b.live.-.s.in",
    "oo.b.live.-.s.out",
    "oo.a.live.-.s.in",
    "oo.b.record",
    "oo.b.work.reprocess.-.turn",
    "oo.b.dead",
    "_INBOX.b.b1.x",
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.INFO.WORK",
    "$JS.API.STREAM.PURGE.WORK",
    "$JS.API.STREAM.DELETE.WORK",
    "$JS.API.STREAM.UPDATE.WORK",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.MSG.GET.WORK",
    "$JS.API.STREAM.MSG.DELETE.WORK",
    "$JS.API.DIRECT.GET.WORK",
    "$JS.API.CONSUMER.LIST.WORK",
    "$JS.API.CONSUMER.CREATE.WORK.mine",
    "$JS.API.CONSUMER.CREATE.WORK.work-a",
    "$JS.API.CONSUMER.DURABLE.CREATE.WORK.work-b",
    "$JS.API.CONSUMER.DELETE.WORK.work-b",
    "$JS.API.CONSUMER.INFO.WORK.work-b",
    "$JS.API.CONSUMER.MSG.NEXT.WORK.work-b",
    "$JS.API.CONSUMER.MSG.NEXT.RECORDS.writer",
    "$JS.ACK.WORK.work-b.1.1.1.1.0",
    "$SYS.REQ.SERVER.PING",
]


async def test_saying_what_is_not_its_own_is_denied(agent_a: Bus) -> None:
    for subject in SAYING:
        with pytest.raises(SubjectDenied):
            await agent_a.request(subject, b"{}", timeout=5)


async def test_a_pull_aimed_at_another_project_delivers_nothing_there(gateway: Bus, agent_a: Bus, agent_b: Bus) -> None:
    """JetStream sends a pulled message wherever the puller asked for, past all permissions: the receiver must see
    through it, and the other project's queue must stay empty."""
    calls = await agent_b.subscribe(subjects.call("b", "b1"))
    await agent_b.flush()
    for target in (subjects.call("b", "b1"), subjects.work("b"), subjects.record("b")):
        await agent_a.store(subjects.work("a"), b"forged")
        pull = json.dumps({"batch": 1, "expires": 10**9}).encode()
        await agent_a.publish("$JS.API.CONSUMER.MSG.NEXT.WORK.work-a", pull, target)
        await agent_a.flush()
    # What was stored anew is still of project A, whichever subject it was aimed at.
    await gateway.publish(subjects.call("b", "b1"), b"genuine")
    async with asyncio.timeout(5):
        assert (await anext(calls)).data == b"genuine"
    assert calls.refused == 1
    state = (await gateway.jetstream.stream_info(subjects.WORK, subjects_filter=">")).state
    assert set(state.subjects or {}) == {subjects.work("a")}
    records = (await gateway.jetstream.stream_info(subjects.RECORDS, subjects_filter=subjects.record("*"))).state
    assert not records.subjects


async def test_an_answer_goes_to_inboxes_only(gateway: Bus, agent_a: Bus, agent_b: Bus) -> None:
    """A request with another project's subject as its reply must not make the gateway speak there."""

    async def answer(question: object) -> None:
        await gateway.respond(question, b"the gateway's words")  # type: ignore[arg-type]

    await gateway.subscribe(subjects.CLOCK, answer)
    await gateway.flush()
    heard = await agent_b.subscribe(subjects.call("b", "b1"))
    await agent_b.flush()
    await agent_a.publish(subjects.CLOCK, b"", subjects.call("b", "b1"))
    assert (await agent_a.request(subjects.CLOCK)).data == b"the gateway's words"
    await agent_b.flush()
    assert heard.waiting == 0


async def test_a_request_to_itself_opens_no_door(agent_a: Bus) -> None:
    """NATS's «allow responses» would let it publish on any subject that it names as a reply."""
    mine = await agent_a.subscribe(subjects.call("a", "a1"))
    await agent_a.publish(subjects.call("a", "a1"), b"", "oo.b.work")
    async with asyncio.timeout(5):
        reply = (await anext(mine)).reply
    with pytest.raises(SubjectDenied):
        await agent_a.request(reply, b"{}", timeout=5)


async def test_agents_of_two_projects_don_t_see_each_other(gateway: Bus, agent_a: Bus, agent_b: Bus) -> None:
    a = Presence(agent_id="a1", name="a1", project="a", components=["stt:x"])
    b = Presence(agent_id="b1", name="b1", project="b", components=["stt:x"])
    async with (
        Announcer(agent_a, lambda: a),
        Announcer(agent_b, lambda: b),
        Fleet(agent_a, "a") as fleet,
        Fleet(gateway) as everyone,
    ):
        await fleet.ready()
        await everyone.ready()
        assert [agent.agent_id for agent in fleet.find("stt")] == ["a1"]
        assert {agent.agent_id for agent in everyone.agents} == {"a1", "b1"}
        assert [agent.agent_id for agent in everyone.find("stt", project="b")] == ["b1"]


async def test_what_it_may_do_works(agent_a: Bus, gateway: Bus) -> None:
    for subject in (subjects.work("a"), subjects.record("a"), subjects.dead("a")):
        assert (await agent_a.store(subject, b"{}")).seq == 1
    with pytest.raises(NoAnswer):
        await agent_a.request(subjects.call("a", "a9"))


REFUSED = r"(?i)authorization violation|reset by peer"
"""The server says so and hangs up; on a busy machine the hang-up can be read first."""


async def test_a_user_of_another_operator_is_not_let_in(deployment: Deployment) -> None:
    stranger, keys = Authority.create(), Keys.create()

    async def renew() -> Credentials:
        return stranger.issue("server", keys.public, 60)

    with pytest.raises(BusError, match=REFUSED):
        await connect(deployment.server.url, renew, keys, "stranger", timeout=0.5, retry_every=0.05)


async def test_the_seed_of_another_key_is_not_let_in(deployment: Deployment) -> None:
    asked, used = Keys.create(), Keys.create()

    async def renew() -> Credentials:
        return deployment.authority.issue("server", asked.public, 60)

    with pytest.raises(BusError, match=REFUSED):
        await connect(deployment.server.url, renew, used, "thief", timeout=0.5, retry_every=0.05)


@pytest.mark.parametrize(
    ("project", "agent_id"),
    [("*", "x"), ("a", "*"), ("a.b", "x"), ("", "x"), ("a", ">"), ("A", "x")],
)
def test_no_credentials_for_a_wildcard(project: str, agent_id: str) -> None:
    with pytest.raises(WrongUsage):
        Authority.create().issue("agent", Keys.create().public, 60, project=project, agent_id=agent_id)


def test_a_malformed_key_is_refused() -> None:
    with pytest.raises(WrongUsage, match="no public key"):
        Authority.create().issue("server", "SUAxxx", 60)
