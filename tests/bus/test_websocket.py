"""The bus through a WebSocket, as the gateway bridges it for agents that have only HTTPS."""

from __future__ import annotations

import asyncio
import contextlib

from websockets.asyncio.server import ServerConnection, serve

from openomni.bus.streams import work_consumer
from openomni.bus.work import TurnWork, WorkQueue, enqueue

from .conftest import Deployment, eventually, restart


async def test_an_agent_works_over_a_websocket_and_comes_back(deployment: Deployment, gateway: object) -> None:
    async def bridge(socket: ServerConnection) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", deployment.server.port)

        async def down() -> None:
            # A killed server resets the connection rather than ending it.
            with contextlib.suppress(ConnectionResetError):
                while data := await reader.read(65_536):
                    await socket.send(data)
            await socket.close()

        task = asyncio.create_task(down())
        async for data in socket:
            writer.write(data)  # type: ignore[arg-type]
        task.cancel()
        writer.close()

    server = await serve(bridge, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    api = await deployment.gateway()
    await work_consumer(api, "default")
    agent = await deployment.connect("a1", urls=f"ws://127.0.0.1:{port}/bus", project="default", agent_id="a1")
    async with WorkQueue(agent, "default") as queue:
        for turn in ("t1", "t2"):
            await enqueue(api, TurnWork(turn_id=turn, session_id="s", pipeline="p", recording="r").work("default", "h"))
            claim = await queue.claim()
            assert claim.work.work_id == turn
            await claim.done()
            if turn == "t1":
                await restart(deployment.server)
                await eventually(lambda: agent.reconnects == 1 and api.reconnects == 1)
    await agent.close()
    server.close()
    await server.wait_closed()
