"""The embedded server: starts, comes back after a crash, keeps what it stored, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openomni.background import troubles
from openomni.bus import server as server_module
from openomni.bus import store_watch
from openomni.bus.credentials import Authority
from openomni.bus.server import EmbeddedServer, ServerError, trust

from .conftest import Deployment, answers, eventually, restart


async def test_it_answers_when_started_and_is_gone_when_stopped(tmp_path: Path) -> None:
    server = await EmbeddedServer(tmp_path, Authority.create()).start()
    pid = server.pid
    assert pid
    assert await answers(server.port)
    await server.stop()
    assert not await answers(server.port)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_its_configuration_is_for_its_owner_only(deployment: Deployment) -> None:
    assert stat.S_IMODE((deployment.server.folder / "server.conf").stat().st_mode) == 0o600


async def test_a_killed_server_comes_back_on_its_port_with_what_it_stored(deployment: Deployment) -> None:
    bus = await deployment.gateway()
    await bus.jetstream.add_stream(name="KEEP", subjects=["keep"])
    await bus.store("keep", b"precious")
    port = deployment.server.port
    await restart(deployment.server)
    await eventually(lambda: bus.reconnects == 1)
    assert deployment.server.port == port
    assert (await bus.jetstream.get_msg("KEEP", seq=1)).data == b"precious"


async def test_a_second_server_in_the_same_folder_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"another bus runs in .*; stop it, or choose another data directory"):
        await EmbeddedServer(tmp_path, deployment.authority).start(timeout=0.2)


async def test_a_taken_port_is_one_clear_line(deployment: Deployment, tmp_path: Path) -> None:
    second = EmbeddedServer(tmp_path / "second", deployment.authority, deployment.server.port)
    with pytest.raises(ServerError, match=r"port \d+ is taken"):
        await second.start()


async def test_the_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from openomni.bus.credentials import Authority\n"
        "from openomni.bus.server import EmbeddedServer\n"
        "async def main():\n"
        "    server = await EmbeddedServer(sys.argv[1], Authority.create()).start()\n"
        "    print(server.port, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        port = int(await asyncio.to_thread(parent.stdout.readline))
        assert await answers(port)
        parent.send_signal(signal.SIGKILL)
    async with asyncio.timeout(10):
        while await answers(port):
            await asyncio.sleep(0.02)


async def test_an_external_server_with_the_printed_block_takes_our_users(tmp_path: Path) -> None:
    """A server that somebody else runs, told only whom to trust."""
    from openomni.bus.connection import connect
    from openomni.bus.credentials import Credentials, Keys
    from openomni.bus.server import _free_port, binary

    authority, keys, port = Authority.create(), Keys.create(), _free_port(0)
    configuration = tmp_path / "external.conf"
    configuration.write_text(f"listen: 127.0.0.1:{port}\njetstream: {{store_dir: {tmp_path}}}\n" + trust(authority))
    assert all(seed not in configuration.read_text() for seed in authority.seeds.values())

    async def renew() -> Credentials:
        return authority.issue("server", keys.public, 60)

    process = await asyncio.create_subprocess_exec(
        str(binary()), "-c", str(configuration), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        bus = await connect(f"nats://127.0.0.1:{port}", renew, keys, "api", timeout=10, retry_every=0.05)
        await bus.flush()
        await bus.close()
    finally:
        process.terminate()
        await process.wait()


async def test_after_a_full_disk_it_is_started_again_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was seen on a disk of 150 MB: one error, and the stream took nothing any more."""
    monkeypatch.setattr(store_watch, "LOOK_S", 0.05)
    monkeypatch.setattr(store_watch, "ROOM", 1 << 60)
    monkeypatch.setattr(server_module, "LOOK_S", 0.05)
    async with EmbeddedServer(tmp_path, Authority.create()) as server:
        with (server.folder / "server.log").open("a") as file:
            file.write("[1] [ERR] JetStream failed to store a msg on stream 'A > RECORDS': no space left on device\n")
        await eventually(lambda: "nothing can be stored" in troubles().get("the bus's disk", ""))
        assert server.restarts == 0
        monkeypatch.setattr(store_watch, "ROOM", 0)
        await eventually(lambda: server.restarts == 1)
        async with asyncio.timeout(10):
            while not await answers(server.port):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert "the bus's disk" not in troubles()
        assert server.restarts == 1
