"""The link to the gateway: handshake, clocks, and coming back."""

from __future__ import annotations

import asyncio

import pytest

from openomni.client.connection import Down, Link, Received, Up
from openomni.client.wire import Playback, ReplyChunk, captured_sound, read_captured_sound
from openomni.storage.api import Refused, Unreachable
from scripted_server import TOKEN, Connection, ScriptedServer


def link_to(server: ScriptedServer, **hello: str) -> Link:
    return Link(server.url, TOKEN, "/v1/realtime?model=local", {"role": "listener", **hello})


async def quiet(connection: Connection) -> None:
    """A gateway that says nothing."""


def test_binary_frames_come_back_as_they_were() -> None:
    assert read_captured_sound(captured_sound(320, 1.5, b"\1\2")) == (320, 1.5, b"\1\2")
    chunk = ReplyChunk("ab" * 16, 22050, 441, b"\3\4")
    assert ReplyChunk.unpack(chunk.pack()) == chunk
    assert chunk.seconds == 1 / 22050
    with pytest.raises(ValueError, match="no reply audio"):
        ReplyChunk.unpack(b"short")


async def test_the_hello_opens_the_session_and_the_clocks_are_compared_first(server: ScriptedServer) -> None:
    server.clock_ahead, server.script = 100.0, quiet
    async with link_to(server, source="mic") as link:
        connection = await server.connected.get()
        assert connection.hello["type"] == "openomni.hello"
        assert connection.hello["source"] == "mic"
        assert link.session_id == "5e55"
        told = await connection.until("openomni.clock")
    assert abs(told["offset"] - 100.0) <= told["uncertainty"]
    assert link.offset.seconds == told["offset"]


async def test_an_error_event_in_answer_to_the_hello_is_the_line(server: ScriptedServer) -> None:
    server.refusal = ("invalid_request_error", "there is no pipeline 'locla'; did you mean 'local'?")
    with pytest.raises(Refused, match="did you mean 'local'"):
        async with link_to(server):
            pass


async def test_a_gateway_that_needs_a_newer_client_says_how_to_upgrade(server: ScriptedServer) -> None:
    server.min_version = "99.0.0"
    with pytest.raises(Refused, match=r"needs OpenOmni 99.0.0 .*git pull"):
        async with link_to(server):
            pass


async def test_a_gateway_that_is_too_old_is_what_is_to_be_upgraded(server: ScriptedServer) -> None:
    server.version = "0.1.0"
    with pytest.raises(Refused, match=r"upgrade the gateway at http://\S+: ") as caught:
        async with link_to(server):
            pass
    assert caught.value.status == 426


async def test_no_server_is_one_line(server: ScriptedServer) -> None:
    await server.stop()
    with pytest.raises(Unreachable, match=r"cannot reach .*--server"):
        async with link_to(server):
            pass
    await server.start()


async def test_after_a_break_the_same_session_goes_on(server: ScriptedServer) -> None:
    server.script = quiet
    received: asyncio.Queue[Received] = asyncio.Queue()
    async with link_to(server) as link:
        running = asyncio.create_task(link.run(received.put_nowait))
        first = await server.connected.get()
        assert "session_id" not in first.hello
        await server.stop()
        assert isinstance(await received.get(), Down)
        assert not await link.send({"type": "lost"})
        await link.report(Playback("t1", 1.0, 1.1, 0.5, False))
        await link.report(newest := Playback("t1", 1.0, 1.1, 0.8, True))
        await server.start()
        again = await server.connected.get()
        assert again.hello["session_id"] == "5e55"
        assert isinstance(await received.get(), Up)
        await again.until("openomni.playback")
        assert again.of("openomni.playback") == [newest.message]
        assert again.of("lost") == []
        # It went out, and may yet have been lost with the connection: it comes again.
        await server.stop()
        await server.start()
        third = await server.connected.get()
        await third.until("openomni.playback")
        assert isinstance(await received.get(), Down)
        assert isinstance(await received.get(), Up)
        await link.close()
        await running


async def test_a_normal_close_by_the_gateway_ends_the_link(server: ScriptedServer) -> None:
    async def goodbye(connection: Connection) -> None:
        await connection.say("last.words")
        await connection.websocket.close(1000)

    server.script = goodbye
    received: list[Received] = []
    async with link_to(server) as link:
        await link.run(received.append)
    assert received == [{"type": "last.words"}]


async def test_a_token_revoked_in_mid_session_ends_it_with_the_reason(server: ScriptedServer) -> None:
    async def revoke(connection: Connection) -> None:
        await connection.websocket.close(4401, "this token was revoked")

    server.script = revoke
    async with link_to(server) as link:
        with pytest.raises(Refused, match="revoked"):
            await link.run(lambda message: None)


async def test_a_break_that_outlasts_the_patience_is_an_error(server: ScriptedServer) -> None:
    server.script = quiet
    async with link_to(server) as link:
        await server.connected.get()
        link.patience_s = 0.0
        running = asyncio.create_task(link.run(lambda message: None))
        await server.stop()
        with pytest.raises(Unreachable):
            await running
    await server.start()
