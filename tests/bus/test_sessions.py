"""Live sessions: opened on a host, talked over a link, and noticed when one side is gone."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from nats.aio.msg import Msg

from openomni.bus import subjects, wire
from openomni.bus.connection import Bus, BusError, NoAnswer
from openomni.bus.sessions import (
    HostRefused,
    OpenSession,
    PeerLost,
    SessionOpened,
    SessionRefused,
    gateway_end,
    host_end,
    open_session,
    serve_sessions,
    site_outputs,
)
from openomni.events import AudioIn, Event, Heard, ReplySound, SessionEnded

from .conftest import Deployment, eventually, restart


def session(session_id: str = "s1", site: str = "", project: str = "default") -> OpenSession:
    return OpenSession(
        session_id=session_id, project=project, site=site, pipeline="local", pipeline_hash="h", spec={"stages": []}
    )  # fmt: skip


@pytest.fixture
async def host(deployment: Deployment) -> Bus:
    return await deployment.agent("a1")


async def test_a_session_is_opened_and_both_sides_hear_each_other(gateway: Bus, host: Bus) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:

        async def hosting(opened: OpenSession) -> SessionOpened:
            link = host_end(host, opened)
            await link.__aenter__()

            async def echo() -> None:
                async for event in link:
                    assert isinstance(event, AudioIn)
                    await link.send(Heard(str(event.position), "x", True))
                    if event.position == 2:
                        break
                await link.aclose()

            tasks.create_task(echo())
            return SessionOpened("a1")

        await serve_sessions(host, "default", "a1", hosting)
        await host.flush()
        async with gateway_end(gateway, session()) as link:
            assert await open_session(gateway, "a1", session()) == SessionOpened("a1")
            for i in range(3):
                await link.send(AudioIn(i, 0.0, b"\0\0"))
            assert [(await anext(link)).turn_id for _ in range(3)] == ["0", "1", "2"]  # type: ignore[union-attr]


async def test_a_host_may_refuse(gateway: Bus, host: Bus) -> None:
    async def full(opened: OpenSession) -> SessionRefused:
        return SessionRefused("a1", "all its slots are taken")

    await serve_sessions(host, "default", "a1", full)
    await host.flush()
    with pytest.raises(HostRefused, match="agent a1 does not host the session: all its slots are taken"):
        await open_session(gateway, "a1", session())
    with pytest.raises(NoAnswer, match="nobody serves"):
        await open_session(gateway, "a2", session())


async def test_a_session_of_another_version_is_refused_with_the_mend(gateway: Bus, host: Bus) -> None:
    async def never(opened: OpenSession) -> SessionOpened:
        raise AssertionError

    await serve_sessions(host, "default", "a1", never)
    await host.flush()
    answer = await gateway.request(subjects.session("default", "a1"), b"\x81\xa1x\x01")
    assert b"upgrade the older side" in answer.data


@pytest.mark.parametrize(
    "sound",
    [ReplySound("the first", 24_000, 0, 0.0, b"ab"), ReplySound("ab" * 16, 0, 0, 0.0, b"ab"),
     ReplySound("ab" * 16, 24_000, -1, 0.0, b"ab")],
)  # fmt: skip
async def test_sound_that_no_frame_takes_is_dropped_at_the_door(gateway: Bus, host: Bus, sound: ReplySound) -> None:
    async with asyncio.timeout(10), host_end(host, session()) as here, gateway_end(gateway, session()) as there:
        await host.flush()
        await gateway.flush()
        await here.send(sound)
        await here.send(ReplySound("ab" * 16, 24_000, 0, 0.0, b"cd"))
        heard = await anext(there)
        assert isinstance(heard, ReplySound)
        assert (heard.pcm, there.dropped) == (b"cd", 1)


async def test_long_sound_arrives_whole_in_pieces(gateway: Bus, host: Bus) -> None:
    pcm = bytes(range(256)) * 8192
    async with asyncio.timeout(10), host_end(host, session()) as here, gateway_end(gateway, session()) as there:
        await host.flush()
        await gateway.flush()
        await here.send(ReplySound("ab" * 16, 24_000, 100, 0.0, pcm))
        received, offset = b"", 100
        while len(received) < len(pcm):
            event = await anext(there)
            assert isinstance(event, ReplySound)
            assert event.offset == offset
            assert len(event.pcm) <= wire.PIECE
            received += event.pcm
            offset += len(event.pcm) // 2
    assert received == pcm


async def test_a_side_that_is_gone_is_noticed(gateway: Bus, host: Bus) -> None:
    async with gateway_end(gateway, session(), beat=0.05, silence=0.4) as there:
        async with host_end(host, session(), beat=0.05) as here:
            await here.send(Heard("t", "hello", True))
            async with asyncio.timeout(10):
                assert isinstance(await anext(there), Heard)
                # A quiet session is no dead one.
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.8):
                        await anext(there)
        with pytest.raises(PeerLost, match=r"nothing on oo\.default\.live\.-\.s1\.out for 0\.4 s"):
            async with asyncio.timeout(10):
                await anext(there)


async def test_a_host_that_opens_slowly_is_not_lost(gateway: Bus) -> None:
    async with gateway_end(gateway, session(), beat=0.05, silence=0.1) as there:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(there)


async def test_a_restarted_bus_ends_no_session(deployment: Deployment, gateway: Bus, host: Bus) -> None:
    timing = {"beat": 0.05, "silence": 1.0}
    async with host_end(host, session(), **timing) as here, gateway_end(gateway, session(), **timing) as there:
        await here.send(Heard("t1", "before", True))
        async with asyncio.timeout(10):
            await anext(there)
        await restart(deployment.server)
        await eventually(lambda: host.reconnects == gateway.reconnects == 1)
        await here.send(Heard("t2", "after", True))
        async with asyncio.timeout(10):
            assert await anext(there) == Heard("t2", "after", True)


async def test_a_responder_s_gateway_hears_all_sessions_of_its_site_only(gateway: Bus, host: Bus) -> None:
    heard: list[tuple[str, object]] = []

    async def listen() -> None:
        async for session_id, output in site_outputs(gateway, "default", "ward"):
            heard.append((session_id, output))

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await gateway.flush()
    ward, other, lab = session("s1", "ward"), session("s2", "ward"), session("s3", "lab")
    async with host_end(host, ward) as a, host_end(host, other) as b, host_end(host, lab) as c:
        await c.send(Heard("t", "lab", True))
        await a.send(Heard("t", "one", True))
        await b.send(SessionEnded())
        await eventually(lambda: len(heard) == 2)
    listening.cancel()
    assert heard == [("s1", Heard("t", "one", True)), ("s2", SessionEnded())]


async def test_an_end_that_could_not_be_opened_leaves_nothing_behind(
    gateway: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(timeout: float = 5.0) -> None:
        raise BusError("the bus did not answer within 5 s")

    before = len(gateway._subscriptions)
    monkeypatch.setattr(gateway, "flush", never)
    link = gateway_end(gateway, session())
    with pytest.raises(BusError):
        await link.__aenter__()
    assert len(gateway._subscriptions) == before


async def test_a_sign_of_life_that_fails_once_comes_again(
    gateway: Bus, host: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, failed = host.publish, asyncio.Event()

    async def once(*given: object) -> None:
        if not failed.is_set():
            failed.set()
            raise BusError("the outgoing buffer is full")
        await publish(*given)  # type: ignore[arg-type]

    async with gateway_end(gateway, session(), silence=60) as there:
        monkeypatch.setattr(host, "publish", once)
        async with host_end(host, session(), beat=0.05):
            await failed.wait()
            assert there._messages
            await eventually(lambda: there._messages.waiting > 1)  # type: ignore[union-attr]


class Mood(Event, frozen=True, tag="mood"):
    """An event of a later version."""


async def test_what_a_later_version_says_ends_no_session(gateway: Bus, host: Bus) -> None:
    watched = site_outputs(gateway, "default", "north")
    hearing = asyncio.ensure_future(anext(watched))
    opened = session(site="north")
    async with asyncio.timeout(10), gateway_end(gateway, opened) as there, host_end(host, opened) as here:
        await host.flush()
        await here.send(Mood())  # type: ignore[arg-type]
        await host.publish(opened.output, b"\xc1")
        await here.send(Heard("t", "hello", True))
        assert await anext(there) == Heard("t", "hello", True)
        assert there.dropped == 2
        assert await hearing == ("s1", Heard("t", "hello", True))
        await watched.aclose()  # type: ignore[attr-defined]


async def test_an_agent_of_another_version_that_answers_otherwise_is_left(gateway: Bus, host: Bus) -> None:
    async def answer(question: Msg) -> None:
        await host.respond(question, msgspec.msgpack.encode({"type": "session.tomorrow"}))

    await host.subscribe(subjects.session("default", "a1"), answer)
    await host.flush()
    with pytest.raises(HostRefused, match=r"agent a1 answers as another version does .*; upgrade it"):
        await open_session(gateway, "a1", session())


async def test_a_gateway_that_is_too_old_is_told_what_to_upgrade(gateway: Bus, host: Bus) -> None:
    async def never(opened: OpenSession) -> SessionOpened:
        raise AssertionError

    await serve_sessions(host, "default", "a1", never)
    await host.flush()
    for version, said in (("", "of before 0.2.0"), ("0.1.0", "0.1.0")):
        old = msgspec.msgpack.encode(msgspec.structs.replace(session(), version=version))
        answer = msgspec.msgpack.decode((await gateway.request(subjects.session("default", "a1"), old)).data)
        assert answer["reason"].startswith(f"the gateway is openomni {said} and too old for this agent (")
        assert "upgrade the gateway: " in answer["reason"]
