"""The responder plays what the gateway sends, says what it played, and outlives the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from openomni.client.responder.responder import Responder
from openomni.client.responder.sinks import Folder
from openomni.client.wire import ReplyChunk
from openomni.errors import OpenOmniError
from openomni.media import Audio
from scripted_server import TOKEN, Connection, ScriptedServer

TURN = "ab" * 16


async def quiet(connection: Connection) -> None:
    """The test speaks for the gateway."""


@pytest.fixture
async def connection(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Connection]:
    """The gateway's side of a responder that writes into `replies`."""
    server.script = quiet
    responder = Responder(server.url, TOKEN, "lab", partial(Folder, tmp_path / "replies"), lambda line: None)
    running = asyncio.create_task(responder.run())
    yield await server.connected.get()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def chunk(seconds: float, offset: float = 0.0) -> ReplyChunk:
    rate = 16000
    return ReplyChunk(TURN, rate, round(offset * rate), Audio(np.full(round(seconds * rate), 0.5), rate).pcm16())


async def test_it_asks_for_its_site_as_a_responder(connection: Connection) -> None:
    assert connection.hello["role"] == "responder"
    assert connection.websocket.query_params["site"] == "lab"


async def test_a_reply_is_played_written_and_reported(connection: Connection, tmp_path: Path) -> None:
    await connection.say("openomni.reply.started", turn_id=TURN, session_id="s")
    await connection.reply(chunk(0.1))
    await connection.reply(chunk(0.1, offset=0.1))
    await connection.say("openomni.reply.ended", turn_id=TURN, status="completed")
    report = await connection.until("openomni.playback", ended=True)
    assert report["seconds"] == pytest.approx(0.2)
    assert report["started"] <= report["audible"]
    assert Audio.load(tmp_path / "replies" / f"{TURN}.wav").duration == pytest.approx(0.2)


async def test_a_cancelled_reply_is_cut_and_the_cut_reported(connection: Connection) -> None:
    await connection.reply(chunk(60.0))
    await connection.until("openomni.playback")
    await connection.say("openomni.reply.ended", turn_id=TURN, status="cancelled")
    report = await connection.until("openomni.playback", ended=True)
    assert report["seconds"] < 30.0


async def test_a_paused_reply_waits_and_what_was_heard_is_said_at_once(connection: Connection) -> None:
    await connection.reply(chunk(60.0))
    await connection.until("openomni.playback")
    for kind in ("paused", "resumed", "paused"):
        await connection.say(f"openomni.reply.{kind}", turn_id=TURN)
    await asyncio.sleep(0.3)
    await connection.say("openomni.reply.ended", turn_id=TURN, status="cancelled")
    ended = await connection.until("openomni.playback", ended=True)
    *_, paused, last = connection.of("openomni.playback")
    assert last == ended
    assert last["seconds"] == pytest.approx(paused["seconds"])  # nothing was played since


async def test_it_comes_back_after_the_gateway_was_away_and_plays_on(
    server: ScriptedServer, connection: Connection, tmp_path: Path
) -> None:
    await connection.reply(chunk(0.1))
    await connection.until("openomni.playback")
    await server.stop()
    await server.start()
    again = await server.connected.get()
    await again.reply(chunk(0.1, offset=0.1))
    await again.say("openomni.reply.ended", turn_id=TURN, status="completed")
    assert (await again.until("openomni.playback", ended=True))["seconds"] == pytest.approx(0.2)
    assert Audio.load(tmp_path / "replies" / f"{TURN}.wav").duration == pytest.approx(0.2)


async def test_a_refusal_is_one_line(server: ScriptedServer, tmp_path: Path) -> None:
    server.refusal = ("invalid_request_error", "this token is for the site 'ward'")
    responder = Responder(server.url, TOKEN, "lab", partial(Folder, tmp_path), lambda line: None)
    with pytest.raises(OpenOmniError, match="this token is for the site 'ward'"):
        await responder.run()


async def test_stopped_it_ends_in_good_order_with_its_wav_whole(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = quiet
    responder = Responder(server.url, TOKEN, "", partial(Folder, tmp_path), lambda line: None)
    running = asyncio.create_task(responder.run())
    connection = await server.connected.get()
    await connection.reply(chunk(5.0))
    await connection.until("openomni.playback")
    responder.stop()
    await running
    assert Audio.load(tmp_path / f"{TURN}.wav").duration == 5.0
