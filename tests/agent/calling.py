"""A gateway between the agents and the scripted API, so that a caller comes in there as any client does."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.backend import DEVICE_TOKEN, TOKEN, Backend, speech
from openomni.bus.connection import Bus
from openomni.bus.envelope import CallUtterance, CallWork, Work
from openomni.datasets import AfterReply, When
from openomni.gateway.app import application
from openomni.gateway.server import Server, address, listen
from openomni.gateway.services import Gateway
from openomni.pipeline.spec import Pipeline
from openomni.records import CellRecord

SECRET = "oo_9999ffff_server"


class CallBackend(Backend):
    """`url` is the gateway's, once there is one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tokens[SECRET] = ("default", "server")
        self.door = ""
        self.names: dict[str, str] = {}
        """Of pipelines, by hash."""

    @property
    def url(self) -> str:
        return self.door or super().url

    async def _answer(self, request: Request, project: str, scope: str, path: list[str]) -> Response:
        match request.method, path:
            case "GET", ["hello"]:
                return JSONResponse({"version": "0.2.0"})
            case "POST", ["auth", "introspect"]:
                _, asked = self.tokens.get(token := (await request.json())["token"], ("", ""))
                if not asked:
                    return JSONResponse({"error": "this token is unknown"}, 404)
                return JSONResponse({"token_id": token[3:11], "project": "default", "scopes": [asked]})
            case "GET", ["me"]:
                return JSONResponse({})
            case "GET", ["pipelines", named, "resolve"]:
                name, _, spec_hash = named.partition("@")
                return JSONResponse({"name": name, "hash": spec_hash, "spec": self.pipelines[spec_hash]})
            case "GET", ["sessions", key, "opening"]:
                return JSONResponse({"session_id": key, "known": False})
            case "GET", ["recordings", key] if key in self.uploads:
                upload = self.uploads[key]
                status = "complete" if upload["complete"] else "receiving"
                return JSONResponse({"recording_id": key, "received": len(upload["data"]), "status": status})
            case "GET", ["recordings", key, "content"] if key in self.uploads:
                return Response(self.uploads[key]["data"], media_type="audio/wav")
        return await super()._answer(request, project, scope, path)

    def call(self, pipeline: Pipeline, *whens: When, experiment: str = "e1", **fields: Any) -> Work:
        """Work of a cell: an utterance of half a second for each rule, one by itself without any."""
        self.pipelines[pipeline.hash] = pipeline.normalised()
        recording = self.record(speech((0.1, 0.6), length=0.7))
        utterances = [CallUtterance(recording=recording, when=when, speech=(0.1, 0.6))
                      for when in whens or (AfterReply(),)]  # fmt: skip
        call = CallWork(
            cell=uuid.uuid4().hex, experiment=experiment, pipeline=pipeline.name, session_id=uuid.uuid4().hex,
            utterances=utterances, settings={"patience_s": 4.0}, **fields,
        )  # fmt: skip
        return call.work("default", pipeline.hash, group=experiment)

    def cells(self, status: str = "") -> list[CellRecord]:
        return [each for each in self.records if isinstance(each, CellRecord) and status in ("", each.status)]


@contextlib.asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[CallBackend]:
    async with CallBackend(folder) as backend:
        api, made = backend.url, list[Gateway]()

        async def connecting() -> Bus:
            return await backend.connect("gateway")

        def make() -> Gateway:
            made.append(Gateway(api, SECRET, [backend.nats.url], connecting, folder / "spool"))
            return made[0]

        listener = listen("127.0.0.1", 0)
        server = Server(application(make))
        serving = asyncio.create_task(server._serve([listener]))
        async with asyncio.timeout(20):
            while not made or (await made[0].health())["bus"] != "ok":
                await asyncio.sleep(0.01)
        backend.door = address(listener)
        try:
            yield backend
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving


__all__ = ["DEVICE_TOKEN", "TOKEN", "CallBackend", "calling"]
