"""The connection: comes back by itself, always with fresh credentials, and says plainly what it may not do."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import pytest
from nats.aio.msg import Msg

from openomni.background import troubles
from openomni.bus.connection import Bus, BusError, NoAnswer, connect
from openomni.bus.credentials import Credentials, Keys
from openomni.bus.subscription import Overflow, matcher
from openomni.errors import OpenOmniError

from .conftest import Deployment, eventually, restart


async def echo(bus: Bus, subject: str) -> None:
    async def answer(question: Msg) -> None:
        await bus.respond(question, question.data)

    await bus.subscribe(subject, answer)
    await bus.flush()


async def test_a_request_gets_its_answer(gateway: Bus) -> None:
    await echo(gateway, "echo")
    answers = await asyncio.gather(*(gateway.request("echo", b"%d" % i) for i in range(20)))
    assert [answer.data for answer in answers] == [b"%d" % i for i in range(20)]


async def test_a_request_that_nobody_serves_fails_at_once(gateway: Bus) -> None:
    with pytest.raises(NoAnswer, match=r"nobody serves nothing\.here"):
        await gateway.request("nothing.here", timeout=60)


async def test_a_closed_server_is_one_clear_line(deployment: Deployment) -> None:
    keys = Keys.create()
    await deployment.server.stop()
    with pytest.raises(BusError, match=r"the bus at nats://.* did not take us within 0.2 s \(.*\); check that it runs"):
        await connect(deployment.server.url, deployment.renew(keys, 60), keys, "x", timeout=0.2, retry_every=0.05)


async def test_without_a_timeout_it_waits_for_the_server(deployment: Deployment) -> None:
    keys = Keys.create()
    await deployment.server.stop()
    connecting = asyncio.create_task(
        connect(deployment.server.url, deployment.renew(keys, 60), keys, "x", retry_every=0.05)
    )
    await asyncio.sleep(0)
    await deployment.server.start()
    async with asyncio.timeout(10):
        bus = await connecting
    await bus.flush()
    await bus.close()


async def test_it_waits_for_credentials_too(deployment: Deployment) -> None:
    """The API may come up after the agent."""
    keys, tries = Keys.create(), 0

    async def renew() -> Credentials:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OpenOmniError("the API is not there yet")
        return deployment.authority.issue("server", keys.public, 60)

    bus = await connect(deployment.server.url, renew, keys, "x", timeout=10, retry_every=0.01)
    assert tries == 3
    await bus.close()


async def test_subscriptions_survive_a_killed_server(deployment: Deployment, gateway: Bus) -> None:
    heard = await gateway.subscribe("news")
    await restart(deployment.server)
    await eventually(lambda: gateway.reconnects == 1)
    await gateway.publish("news", b"back")
    async with asyncio.timeout(5):
        assert (await anext(heard)).data == b"back"


async def test_what_is_published_during_an_outage_arrives_after_it(deployment: Deployment, gateway: Bus) -> None:
    agent = await deployment.agent("a1")
    heard = await gateway.subscribe("oo.default.fleet.here.a1")
    await gateway.flush()
    await deployment.server.stop()
    await eventually(lambda: not agent.connected.is_set() and not gateway.connected.is_set())
    await deployment.server.start()
    await eventually(gateway.connected.is_set)
    await agent.publish("oo.default.fleet.here.a1", b"kept")
    async with asyncio.timeout(5):
        assert (await anext(heard)).data == b"kept"


async def test_every_reconnect_brings_fresh_credentials(deployment: Deployment) -> None:
    agent = await deployment.agent("a1")
    deployment.issued.clear()
    agent._login._fetched_at = 0.0
    await restart(deployment.server)
    await eventually(lambda: agent.reconnects == 1)
    assert deployment.issued


async def test_credentials_are_renewed_before_they_expire(deployment: Deployment) -> None:
    """With a life of four seconds it stays connected well beyond, and was never thrown out."""
    agent = await deployment.agent("a1", ttl=4.0)
    heard = await agent.subscribe("oo.default.fleet.here.*")
    ended = time.time() + 5.0
    await eventually(lambda: len(deployment.issued) >= 3 and time.time() > ended, timeout=20)
    await eventually(agent.connected.is_set)
    await agent.publish("oo.default.fleet.here.a1", b"still here")
    async with asyncio.timeout(5):
        assert (await anext(heard)).data == b"still here"


async def test_expired_credentials_are_replaced_after_the_server_threw_us_out(deployment: Deployment) -> None:
    """A live stream held the planned reconnect back, and the API was away at the time."""
    keys, away = Keys.create(), False

    async def renew() -> Credentials:
        if away:
            raise OpenOmniError("the API is away")
        return deployment.authority.issue("server", keys.public, 2.0)

    bus = await connect(deployment.server.url, renew, keys, "x", timeout=10, retry_every=0.05)
    away = True
    await eventually(lambda: not bus.connected.is_set())
    away = False
    await eventually(bus.connected.is_set)
    await bus.flush()
    await bus.close()


async def test_a_planned_reconnect_waits_for_a_quiet_moment(deployment: Deployment) -> None:
    agent = await deployment.agent("a1", ttl=6.0)
    with agent.hold():
        await asyncio.sleep(3.3)
        assert agent.reconnects == 0
    await eventually(lambda: agent.reconnects == 1)


async def test_a_reader_that_is_too_slow_gets_an_error_and_no_gap(gateway: Bus) -> None:
    heard = await gateway.subscribe("flood", limit=4)
    for i in range(6):
        await gateway.publish("flood", b"%d" % i)
    await gateway.flush()
    assert [(await anext(heard)).data for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    with pytest.raises(Overflow, match="more than 4 messages wait on flood"):
        await anext(heard)


async def test_a_handler_that_fails_gets_the_next_message_all_the_same(gateway: Bus) -> None:
    got: list[bytes] = []

    async def handler(message: Msg) -> None:
        got.append(message.data)
        if message.data == b"bad":
            raise ValueError("no good")

    await gateway.subscribe("jobs", handler)
    await gateway.publish("jobs", b"bad")
    await gateway.publish("jobs", b"good")
    await eventually(lambda: got == [b"bad", b"good"])


async def test_closing_ends_who_iterates(gateway: Bus) -> None:
    heard = await gateway.subscribe("news")
    reading = asyncio.create_task(_all(heard))
    await asyncio.sleep(0)
    await gateway.close()
    async with asyncio.timeout(5):
        assert await reading == 0


async def _all(messages: object) -> int:
    return len([message async for message in messages])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.b", "aXb", False),
        ("a$.*", "a$.b", True),
    ],
)
def test_wildcards(pattern: str, subject: str, fits: bool) -> None:
    assert matcher(pattern)(subject) is fits


async def test_a_cancellation_that_the_library_loses_does_not_make_it_wait_for_ever(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(self: Bus, *_: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    keys = Keys.create()
    monkeypatch.setattr(Bus, "_open", deaf)
    with pytest.raises(BusError, match=r"did not take us within 0\.1 s"):
        async with asyncio.timeout(30):
            await connect(deployment.server.url, deployment.renew(keys, 60), keys, "x", timeout=0.1)


async def test_closing_ends_the_search_for_a_server_also_where_that_loses_its_cancellation(
    deployment: Deployment, gateway: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    dial, lost = gateway._client._select_next_server, 0

    async def deaf() -> None:
        nonlocal lost
        try:
            await dial()
        except asyncio.CancelledError:
            lost += 1
            if lost > 1:
                raise
            raise OSError("as if it had come to nothing by itself") from None

    monkeypatch.setattr(gateway._client, "_select_next_server", deaf)
    await deployment.server.stop()
    await eventually(lambda: gateway._client.is_reconnecting)
    await gateway.close()
    searching = gateway._client._reconnection_task
    assert searching is not None
    assert searching.done()
    assert lost == 2


async def test_an_api_that_is_away_for_longer_than_the_credentials_hold_ends_no_renewal(
    deployment: Deployment,
) -> None:
    keys, away = Keys.create(), False
    issue = deployment.renew(keys, 3600.0, project="default", agent_id="a1")

    async def renew() -> Credentials:
        if away:
            raise OpenOmniError("the API is away")
        # They hold for longer than they say, so that the server does not end the connection meanwhile.
        return msgspec.structs.replace(await issue(), expires_at=time.time() + 1.2)

    bus = await connect(deployment.server.url, renew, keys, "a1", timeout=10, retry_every=0.05)
    deployment.stack.push_async_callback(bus.close)
    away = True
    await eventually(lambda: "renewing the credentials of a1 for the bus" in troubles())
    away, before = False, len(deployment.issued)
    await eventually(lambda: len(deployment.issued) > before and bus.reconnects > 0)
