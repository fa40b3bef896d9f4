"""`openomni gateway` as a process: it starts without anybody, and its end is told to everyone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from openomni.events import SessionClose

from .conftest import SECRET, TOKEN, Client, World


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openomni.cli.main", "gateway", "--data-dir", str(folder), *arguments,
        env={**os.environ, "OPENOMNI_LOG": "WARNING"}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _told_of_its_end(world: World, folder: Path, number: int) -> tuple[asyncio.subprocess.Process, str]:
    """A gateway that gets a signal while a client holds a session, which is told; and its address."""
    (folder / "secrets.json").write_text(json.dumps({"django": "-", "server": SECRET, "bus": world.authority.seeds}))
    process = await start(folder, "--api", world.api.url, "--bus", world.server.url, "--port", "0")
    assert process.stdout
    async with asyncio.timeout(20):
        url = (await process.stdout.readline()).decode().split()[-1]
    host = await world.host()
    headers = {"Authorization": f"Bearer {TOKEN}", "OpenOmni-Version": "0.2.0"}
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime?model=local", additional_headers=headers) as socket:
        client = Client(socket)
        await client.hello(recording_id="r")
        hosted = await host.session()
        process.send_signal(number)
        assert "stopping" in (await client.until("openomni.session.ended"))["reason"]
        with pytest.raises(ConnectionClosed) as end:
            await client.next()
        assert end.value.rcvd
        assert end.value.rcvd.code == 1012
        await hosted.until(SessionClose)
    return process, url


async def test_sigterm_ends_sessions_with_a_reason_and_exits_at_once(world: World, tmp_path: Path) -> None:
    process, _ = await _told_of_its_end(world, tmp_path, signal.SIGTERM)
    async with asyncio.timeout(5):
        assert await process.wait() == 0
    assert process.stderr
    assert b"Traceback" not in await process.stderr.read()


async def test_it_ends_its_sessions_when_it_is_told_to_and_serves_on(world: World, tmp_path: Path) -> None:
    process, url = await _told_of_its_end(world, tmp_path, signal.SIGUSR1)
    async with httpx.AsyncClient(trust_env=False) as web:
        assert (await web.get(f"{url}/healthz")).is_success
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--port", "{taken}"], 1, "is taken; choose another with --port"),
        (["--api", "localhost"], 2, "--api 'localhost' is no address"),
        (["--bus", "localhost"], 2, "--bus 'localhost' is no address"),
        (["--data-dir", "nowhere"], 1, "secrets.json is missing; start the API first"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arguments: list[str], code: int, line: str) -> None:
    seeds = {"operator": "x", "account": "y", "system": "z"}
    (tmp_path / "secrets.json").write_text(json.dumps({"server": SECRET, "bus": seeds}))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        process = await start(tmp_path, *(each.format(taken=taken) for each in arguments))
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    assert process.returncode == code
    assert line in said.decode()
    assert said.decode().count("\n") == 1
