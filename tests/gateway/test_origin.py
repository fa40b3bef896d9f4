"""One origin: pages and REST are passed on to the API, the bus is bridged, health is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import Any

import httpx
import pytest

from openomni.bus.connection import connect
from openomni.bus.credentials import Credentials, Keys
from openomni.events import AudioIn
from openomni.gateway import access
from openomni.gateway.access import AccessDenied, ApiAway, Memory
from openomni.gateway.connection import RECHECK_EVERY
from openomni.storage.api import headers

from .conftest import TOKEN, World


@pytest.fixture
async def web(world: World) -> Any:
    async with httpx.AsyncClient(base_url=world.url, timeout=5) as client:
        yield client


async def test_requests_go_on_to_the_api_with_who_asked(web: Any) -> None:
    answer = await web.get("/echo/a%20b/ü?q=1&q=2", headers={"Range": "bytes=0-", "X-Forwarded-For": "6.6.6.6"})
    body = answer.json()
    assert (answer.status_code, body["path"], body["query"]) == (206, "/echo/a b/ü", "q=1&q=2")
    assert body["host"] == web.base_url.netloc.decode(), "the API sees the origin that the browser sees"
    assert (body["x-forwarded-for"], body["x-forwarded-proto"]) == ("6.6.6.6", "http"), "a proxy beside us is believed"
    assert answer.headers.get_list("set-cookie") == ["one=1; Path=/; SameSite=lax", "two=2; Path=/; SameSite=lax"]


async def test_the_cookies_of_one_person_never_go_with_the_requests_of_another(world: World, web: Any) -> None:
    signed_in = await web.get("/echo/")
    assert signed_in.cookies, "the API gave the first one cookies"
    async with httpx.AsyncClient(base_url=world.url, timeout=5) as stranger:
        assert "cookie" not in (await stranger.get("/echo/")).json()
    assert (await web.get("/echo/")).json()["cookie"] == "one=1; two=2", "their own are passed on"


async def test_nobody_outside_is_believed_about_their_address(world: World) -> None:
    """127.0.0.2 stands for a machine outside; only 127.0.0.1 is beside the gateway."""
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=world.url, transport=transport, timeout=5) as client:
        body = (await client.get("/echo/", headers={"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"})).json()
    assert body["x-forwarded-for"] == "127.0.0.2"


async def test_bodies_stream_both_ways(web: Any) -> None:
    async def parts() -> Any:
        for _ in range(20):
            yield bytes(100_000)

    known = {"Authorization": f"Bearer {TOKEN}"}
    assert (await web.post("/echo/", content=parts(), headers=known)).json()["size"] == 2_000_000
    async with web.stream("GET", "/slow") as answer:
        assert await anext(answer.aiter_raw()) == b"first"


async def test_health_says_which_part_is_away(world: World, web: Any) -> None:
    assert (await web.get("/healthz")).json() == {"gateway": "ok", "bus": "ok", "api": "ok"}
    await stop_api(world)
    answer = await web.get("/healthz")
    assert (answer.status_code, answer.json()["api"]) == (503, "away")


async def test_an_api_that_is_away_is_told_in_one_line(world: World, web: Any) -> None:
    await stop_api(world)
    page = await web.get("/admin/", headers={"Accept": "text/html"})
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    for element in ("script", "style"):
        content = page.text.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        allowed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{allowed}'" in policy
    assert page.status_code == 502
    assert "The API is not answering" in page.text
    assert "the API is not answering" in (await web.get("/api/v1/turns")).json()["error"]


async def test_conversations_live_through_an_api_that_restarts(world: World) -> None:
    assert world.gateway
    world.gateway.api._tokens._fresh = world.gateway.api._pipelines._fresh = 0.0
    host = await world.host()
    first = await world.connect(OpenOmni_Version="0.2.0")
    await first.hello(recording_id="r")
    await stop_api(world)
    second = await world.connect(OpenOmni_Version="0.2.0")
    await second.hello(audio="binary", recording_id="r")
    await host.session()
    await second.send(bytes(16) + bytes(640))
    await (await host.session()).until(AudioIn)


async def stop_api(world: World) -> None:
    assert world.api.server
    world.api.server.should_exit = True
    # A connection each time: one that came while it stopped is served on.
    async with httpx.AsyncClient(headers={"Connection": "close"}) as client, asyncio.timeout(20):
        while True:
            try:
                await client.get(f"{world.api.url}/api/v1/hello")
                await asyncio.sleep(0.02)
            except httpx.HTTPError:
                return


async def test_a_client_without_or_with_a_wrong_token_is_refused_by_http(world: World) -> None:
    world.api.allow("oo_0000dddd_reader", "viewer")
    for token, status, words in (
        ("oo_bad", 401, "unknown"),
        ("", 401, "needs a token"),
        ("oo_0000dddd_reader", 403, "'device'"),
    ):
        refused = await handshake(world, token)
        assert refused.status_code == status
        assert words in json.loads(refused.body)["error"]["message"]
    old = await handshake(world, "oo_0000aaaa_device", OpenOmni_Version="0.0.1")
    assert old.status_code == 426


async def handshake(world: World, token: str, **headers: str) -> Any:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as refused:
        await world.connect(token=token, **headers)
    return refused.value.response


async def test_a_browser_shows_its_token_as_a_subprotocol(world: World) -> None:
    from websockets.asyncio.client import connect as connect_web

    await world.host()
    offered: Any = ["realtime", "openai-insecure-api-key.oo_0000aaaa_device"]
    async with connect_web(f"{world.ws}/v1/realtime?model=local", subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(await socket.recv())["type"] == "session.created"


async def test_an_agent_reaches_the_bus_through_the_web(world: World) -> None:
    keys = Keys.create()

    async def renew() -> Credentials:
        return world.authority.issue("agent", keys.public, 3600, project="default", agent_id="far")

    shown = headers(world.api.allow("oo_0000cccc_agent", "agent"))
    bus = await connect(f"{world.ws}/bus", renew, keys, "far", timeout=5, headers=shown)
    try:
        big = bytes(900_000)
        async with await bus.subscribe("oo.default.call.c1.in") as messages:
            await bus.publish("oo.default.call.c1.in", big)
            async with asyncio.timeout(5):
                assert (await anext(messages)).data == big
        clock = await bus.request("oo.clock")
        assert clock.data
    finally:
        await bus.close()


async def test_an_answer_is_believed_a_while_and_longer_when_nobody_answers() -> None:
    memory: Memory[int] = Memory(fresh=0.0)
    answers: list[Any] = [1, 2, ApiAway("away"), AccessDenied(401, "revoked"), ApiAway("away")]

    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    assert [await memory.get("k", ask) for _ in range(3)] == [1, 2, 2]
    with pytest.raises(AccessDenied):
        await memory.get("k", ask)
    with pytest.raises(AccessDenied):
        await memory.get("k", ask)
    assert len(answers) == 1, "a refusal is remembered too"


async def test_many_clients_that_come_at_once_ask_once() -> None:
    memory: Memory[int] = Memory(fresh=60.0)
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return 1

    assert sum(await asyncio.gather(*(memory.get("k", ask) for _ in range(50)))) == 50
    assert asked == 1


def test_tokens_are_looked_at_again_within_a_minute() -> None:
    assert RECHECK_EVERY + access.FRESH_TOKEN <= 120
    assert access.Access("i", "p", ("device",), expires_at="2020-01-01T00:00:00Z").seconds_left < 0
    assert 50 < access.Access("i", "p", ("device",), expires_at=time.time() + 60).seconds_left <= 60
