"""The server over HTTP: downloads that resume, and what goes wrong as one line with the mend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from openomni.errors import WrongUsage
from openomni.storage.api import Api, Refused, Unreachable, address, refusal
from scripted_server import TOKEN, ScriptedServer, Stored


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        running.recordings["r1"] = Stored({}, bytearray(b"a spoken reply"))
        yield running


async def test_a_recording_is_downloaded(server: ScriptedServer, tmp_path: Path) -> None:
    async with Api(server.url, TOKEN) as api:
        path = await api.download("r1", tmp_path / "replies" / "r1.wav")
    assert path.read_bytes() == b"a spoken reply"


@pytest.mark.parametrize("there", [b"a spok", b"a spoken reply"])
async def test_a_download_goes_on_where_it_broke_off(server: ScriptedServer, tmp_path: Path, there: bytes) -> None:
    (tmp_path / "r1.wav.part").write_bytes(there)
    async with Api(server.url, TOKEN) as api:
        path = await api.download("r1", tmp_path / "r1.wav")
    assert path.read_bytes() == b"a spoken reply"
    assert not (tmp_path / "r1.wav.part").exists()


async def test_a_download_that_breaks_in_the_middle_goes_on_and_is_whole(
    server: ScriptedServer, tmp_path: Path
) -> None:
    asked: list[str | None] = []

    async def three_bytes() -> AsyncIterator[bytes]:
        yield bytes(server.recordings["r1"].data[:3])
        raise ConnectionError

    def break_off_once(request: Request) -> Response | None:
        asked.append(request.headers.get("range"))
        length = str(len(server.recordings["r1"].data))
        return StreamingResponse(three_bytes(), headers={"Content-Length": length}) if len(asked) == 1 else None

    server.on_request = break_off_once
    async with Api(server.url, TOKEN) as api:
        path = await api.download("r1", tmp_path / "r1.wav")
    assert path.read_bytes() == b"a spoken reply"
    assert asked == [None, "bytes=3-"]


class Told:
    """Notices, and waiting for the first of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.first = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.first.set()


async def test_a_server_that_is_killed_is_waited_for_with_one_line_at_each_end(server: ScriptedServer) -> None:
    told = Told()
    async with Api(server.url, TOKEN) as api:
        patient = api.patient(told)
        assert (await patient.get("/recordings/r1"))["received"] == 14
        await server.stop()
        calls = [
            asyncio.create_task(patient.get("/recordings/r1")),
            asyncio.create_task(patient.post("/turns/queue", {"session_id": "s"})),
        ]
        await told.first.wait()
        await server.start()
        assert (await asyncio.gather(*calls))[0]["received"] == 14
    assert server.queued == [{"session_id": "s"}]
    away, back = told.lines
    assert away.startswith(f"cannot reach {server.url} (")
    assert away.endswith("); waiting up to 60 s for it to come back")
    assert back == f"{server.url} is back"


@pytest.mark.parametrize("status", [502, 503, 504, 429])
async def test_who_answers_that_it_restarts_is_asked_again(server: ScriptedServer, status: int) -> None:
    told, answers = Told(), iter([JSONResponse({"error": "it restarts"}, status)] * 2)
    server.on_request = lambda request: next(answers, None)
    async with Api(server.url, TOKEN) as api:
        await api.patient(told).get("/recordings/r1")
    assert told.lines == [
        f"{server.url} answers {status} (it restarts); waiting up to 60 s for it to come back",
        f"{server.url} is back",
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 507])
async def test_what_waiting_does_not_mend_fails_at_once(server: ScriptedServer, status: int) -> None:
    told, asked = Told(), []

    def no(request: Request) -> Response:
        asked.append(request)
        return JSONResponse({"error": "no"}, status)

    server.on_request = no
    async with Api(server.url, TOKEN) as api:
        with pytest.raises(Refused if status < 500 else Unreachable):
            await api.patient(told).get("/recordings/r1")
    assert len(asked) == 1
    assert told.lines == []


async def test_a_server_that_stays_away_is_an_error_when_patience_ends(server: ScriptedServer) -> None:
    told = Told()
    async with Api(server.url, TOKEN) as api:
        await server.stop()
        with pytest.raises(Unreachable, match="is the server up"):
            await api.patient(told, seconds=1.0).get("/recordings/r1")
        await server.start()
    (away,) = told.lines
    assert away.endswith("waiting up to 1 s for it to come back")


async def test_a_bad_token_is_one_line_with_the_mend(server: ScriptedServer) -> None:
    async with Api(server.url, "oo_00000000_wrong") as api:
        with pytest.raises(Refused, match=r"does not accept the token .*OPENOMNI_TOKEN"):
            await api.get("/turns")


async def test_an_unknown_pipeline_is_told_in_the_servers_words(server: ScriptedServer) -> None:
    async with Api(server.url, TOKEN) as api:
        with pytest.raises(Refused, match="did you mean 'local'"):
            await api.get("/pipelines/locla/resolve")


async def test_a_server_that_is_away_is_one_line_with_the_mend() -> None:
    async with Api("http://127.0.0.1:1", TOKEN) as api:
        with pytest.raises(Unreachable, match=r"cannot reach http://127.0.0.1:1 .*--server"):
            await api.get("/turns")


@pytest.mark.parametrize(
    ("status", "body", "kind", "line"),
    [
        (403, b'{"error": "needs device"}', Refused, "may not do this"),
        (426, b'{"error": "upgrade with pip"}', Refused, "upgrade with pip"),
        (404, b'{"detail": [{"msg": "one"}, {"msg": "two"}]}', Refused, "one; two"),
        (400, b'{"error": {"message": "no such thing"}}', Refused, "no such thing"),
        (503, b"<html>", Unreachable, "answers 503"),
        (418, b"", Refused, "refuses with 418"),
    ],
)
def test_every_refusal_is_a_line(status: int, body: bytes, kind: type, line: str) -> None:
    error = refusal("http://server", status, body)
    assert isinstance(error, kind)
    assert line in str(error)
    assert "\n" not in str(error)


def test_an_address_serves_http_and_websockets() -> None:
    assert address("https://hub.example/") == "https://hub.example"
    assert address("localhost:8000") == "http://localhost:8000"
    assert address("https://hub.example/lab", "ws") == "wss://hub.example/lab"
    with pytest.raises(WrongUsage, match="--server"):
        address("ftp://hub.example")


def test_a_token_with_foreign_characters_is_refused_before_it_is_sent() -> None:
    with pytest.raises(WrongUsage, match="the token holds characters"):
        Api("http://server", "oo_1_schlüssel")


@pytest.mark.parametrize("path", ["/hello", "/nothing"])
async def test_a_server_that_is_too_old_is_what_is_to_be_upgraded(server: ScriptedServer, path: str) -> None:
    server.on_request = lambda request: JSONResponse({}, 404, {"OpenOmni-Version": "0.1.0"})
    async with Api(server.url, TOKEN) as api:
        with pytest.raises(Refused, match=r"^the server at \S+ is openomni 0.1.0 and too old for this part of it"):
            await api.get(path)
