"""What the gateway asks the API, and what it makes of the answers; they shake hands on their versions too."""

from __future__ import annotations

import httpx
import pytest

from openomni.gateway.access import AccessApi, ApiAway

from .conftest import World


@pytest.mark.parametrize("name", ["a?b", "..?x", "a%2Fversions%2F1?x", "a#b", "ü b", "a;b=c"])
async def test_a_pipelines_name_is_one_part_of_the_path(name: str) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"name": name, "hash": "h", "spec": {}})

    api = AccessApi("http://api", "secret")
    api._http = httpx.AsyncClient(base_url="http://api/api/v1", transport=httpx.MockTransport(answer))
    assert (await api.pipeline("default", name)).name == name
    assert asked[0].path == f"/api/v1/pipelines/{name}/resolve"
    assert dict(asked[0].params) == {"project": "default"}
    await api.close()


async def test_a_pipeline_that_can_not_run_is_refused_with_the_reason(world: World) -> None:
    world.api.faults = ["local:6: unknown vad 'unittest.__main__:x'; did you mean 'silero'?"]
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.send({"type": "openomni.hello", "version": "0.2.0"})
    error = (await client.until("error"))["error"]
    assert (error["code"], error["message"]) == ("pipeline_faulty", f"'local' can't run: {world.api.faults[0]}")
    assert host.opened.empty()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (httpx.Response(200, headers={"OpenOmni-Version": "0.1.0"}), "upgrade the API at http://api: "),
        (httpx.Response(426, json={"detail": "upgrade this gateway"}), "refuses this gateway: upgrade this gateway"),
    ],
)
async def test_whichever_side_is_too_old_is_told_in_a_line(answer: httpx.Response, line: str) -> None:
    api = AccessApi("http://api", "secret")
    api._http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer), base_url="http://api")
    with pytest.raises(ApiAway, match=line):
        await api.access("token")
    await api.close()
