"""The server over HTTP: downloads that resume, and what goes wrong as one line with the mend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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


async def test_a_server_that_restarts_is_waited_for_and_a_person_is_told(server: ScriptedServer) -> None:
    said: list[str] = []
    async with Api(server.url, TOKEN) as api:
        api.patience_s, api.notice = 30.0, said.append
        answers = iter([Unreachable("it answers 502"), Unreachable("it answers 502")])
        whole = api._asked

        async def asked(*arguments: object, **parts: object) -> object:
            if (error := next(answers, None)) is not None:
                raise error
            return await whole(*arguments, **parts)  # type: ignore[arg-type]

        api._asked = asked  # type: ignore[method-assign,assignment]
        assert (await api.get("/recordings/r1"))["received"] == len(b"a spoken reply")
    assert [line.partition(";")[0] for line in said] == ["it answers 502", f"{server.url} is back"]


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
    with pytest.raises(WrongUsage, match="--token"):
        Api("http://server", "oo_1_schlüssel")
