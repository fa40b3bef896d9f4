"""An agent, the API and a real bus, each as it runs for users: presence, draining, and whose subjects are whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.support import LiveServer, registration, start_server, stop_server
from openomni.api import secrets
from openomni.bus import subjects
from openomni.bus.connection import Bus, SubjectDenied, connect
from openomni.bus.credentials import Authority, Credentials, Keys
from openomni.bus.fleet import Announcer, Presence
from openomni.bus.server import EmbeddedServer


@dataclass
class Running:
    """The bus and the API, and a client of the API as its owner."""

    bus_url: str
    api: LiveServer
    http: httpx.AsyncClient

    async def agent(self, name: str) -> tuple[Bus, str]:
        """Registers, and connects with what registration gave; and the agent's id."""
        keys = Keys.create()
        answer = (await self.http.post("/api/v1/agents", json=registration(name, public_key=keys.public))).json()
        given = answer["bus"]

        async def renew() -> Credentials:
            return Credentials(given["jwt"], given["expires_at"], given["inbox_prefix"])

        return await connect(given["urls"], renew, keys, name, timeout=10), answer["agent_id"]

    async def until(self, agent_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The agent as the API lists it, once `holds`."""
        async with asyncio.timeout(20):
            while True:
                agent: dict[str, Any] = (await self.http.get(f"/api/v1/agents/{agent_id}")).json()
                if holds(agent):
                    return agent


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    data = tmp_path / "data"
    async with EmbeddedServer(data, Authority(secrets.ensure(data).bus)) as nats:
        api = await asyncio.to_thread(start_server, data, OPENOMNI_BUS_URL=nats.url)
        headers = {"Authorization": f"Bearer {api.token}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, trust_env=False, timeout=20) as http:
            yield Running(nats.url, api, http)
        assert await asyncio.to_thread(stop_server, api) == 0


async def test_an_agent_is_seen_drained_and_missed(running: Running) -> None:
    bus, agent_id = await running.agent("box-1")
    here = Presence(agent_id=agent_id, name="box-1", project="default", slots=4, busy=3, roles=["host"])
    asked = asyncio.Event()

    async def on_drain(message: Any) -> None:
        await bus.respond(message, b"")
        asked.set()

    async with Announcer(bus, lambda: here):
        seen = await running.until(agent_id, lambda agent: agent["busy"] == 3)
        assert seen["alive"]
        await bus.subscribe(subjects.drain("default", agent_id), on_drain)
        await bus.flush()
        drained = await running.http.post(f"/api/v1/agents/{agent_id}/drain")
        assert drained.status_code == 202, drained.text
        assert asked.is_set()
    # It said goodbye on its way out: it takes no work from then on, and is not alive a moment later.
    await running.until(agent_id, lambda agent: agent["draining"])
    await running.until(agent_id, lambda agent: not agent["alive"])
    await bus.close()
    gone = await running.http.post(f"/api/v1/agents/{agent_id}/drain")
    assert (gone.status_code, "does not answer" in gone.json()["error"]) == (409, True)


async def test_an_agent_may_not_serve_or_hear_what_is_anothers(running: Running) -> None:
    bus, agent_id = await running.agent("box-1")
    for subject in (
        subjects.call("default", "0" * 32),
        subjects.fleet("ward"),
        subjects.live("ward", subjects.ANY, subjects.ANY, "in"),
        ">",
    ):
        subscription = await bus.subscribe(subject)
        with pytest.raises(SubjectDenied):
            await anext(aiter(subscription))
    with pytest.raises(SubjectDenied):
        await bus.store(subjects.record("ward"), b"{}")
    await bus.close()
    assert agent_id
