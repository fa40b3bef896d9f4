"""What somebody whom nobody knows can take of the gateway is little, and nothing of it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from openomni.gateway import bus_tunnel, services
from openomni.gateway.proxy import STRANGERS_BODY

from .conftest import TOKEN, World

LARGE = STRANGERS_BODY + 1


async def in_parts(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 1024):
        yield bytes(min(1024, size))


class Sent:
    """A body that counts what was taken of it."""

    def __init__(self, size: int) -> None:
        self.size, self.taken = size, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.taken < self.size:
            self.taken += 64 << 10
            yield bytes(64 << 10)


async def post(world: World, content: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=world.url, timeout=5) as client:
        return await client.post("/echo/", content=content, headers=headers)


@pytest.mark.parametrize("shown", [{}, {"Authorization": "Bearer oo_1_x"}, {"Cookie": "openomni_session=guessed"}])
async def test_a_large_body_is_refused_unread(world: World, shown: dict[str, str]) -> None:
    body = Sent(256 << 20)
    try:
        answer = await post(world, body, **shown, **{"Content-Length": str(body.size)})
    except httpx.NetworkError:
        pass  # closed on it while it was still sending
    else:
        assert answer.status_code == 401
    assert body.taken < 64 << 20, "what the sockets hold, and no more"
    assert (await post(world, bytes(LARGE), **shown)).status_code == 401


async def test_one_of_unknown_length_is_read_as_far_as_a_stranger_may_send(world: World) -> None:
    assert (await post(world, in_parts(STRANGERS_BODY))).json()["size"] == STRANGERS_BODY
    answer = await post(world, in_parts(2 * STRANGERS_BODY))
    assert (answer.status_code, "needs a token" in answer.json()["error"]) == (401, True)


@pytest.mark.parametrize("shown", [{"Authorization": f"Bearer {TOKEN}"}, {"Cookie": "openomni_session=signed-in"}])
async def test_who_is_known_sends_what_they_like_and_a_form_needs_nobody(world: World, shown: dict[str, str]) -> None:
    assert (await post(world, bytes(LARGE), **shown)).json()["size"] == LARGE
    assert (await post(world, b"user=me&password=it")).json()["size"] == 19


@pytest.mark.parametrize(("token", "status"), [("", 401), ("oo_0000dddd_guess", 401), (TOKEN, 403)])
async def test_the_bus_is_for_agents_and_says_so_before_it_opens(world: World, token: str, status: int) -> None:
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{world.ws}/bus", additional_headers=shown)
    assert refused.value.response.status_code == status


async def test_connections_to_the_bus_that_show_no_credentials_are_few_and_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {"Authorization": f"Bearer {world.api.allow('oo_0000cccc_agent', 'agent')}"}
    monkeypatch.setattr(bus_tunnel, "MAX_STRANGERS", 8)
    held = [await connect(f"{world.ws}/bus", additional_headers=shown) for _ in range(2)]
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{world.ws}/bus", additional_headers=shown)
    assert refused.value.response.status_code == 429
    monkeypatch.setattr(bus_tunnel, "STRANGERS_PATIENCE", 0.0)
    for each in held:
        await each.close()
    late = await connect(f"{world.ws}/bus", additional_headers=shown)
    async with asyncio.timeout(5):
        await late.wait_closed()
    assert late.close_code == 4401


async def test_a_token_has_so_many_connections_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_CONNECTIONS", 2)
    await world.host()
    first, _ = [await world.connect() for _ in range(2)]
    for path in ("/v1/realtime?model=local", "/v1/respond"):
        with pytest.raises(InvalidStatus) as refused:
            await world.connect(path)
        assert refused.value.response.status_code == 429
        assert b"2 connections already" in (refused.value.response.body or b"")
    await first.socket.close()
    async with asyncio.timeout(5):
        while len(world.gateway.connections) > 1:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
    await world.connect()
