"""A server on 127.0.0.1 that speaks OpenAI's HTTP protocol over real sockets, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from openomni.media import Audio

KEY = "key-for-tests"
MODEL = "small"
THINK = "Think first."
"""A message before whose answer the server tells what the model thinks, as servers of both kinds do."""
VOICE = Audio(0.5 * np.sin(np.arange(24_000) / 10), 24_000)


class ProtocolServer:
    """`asked` holds the path and body of each request. `misbehave` names a fault of its next answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str] = []
        """The key that came with each request."""
        self.headers: list[dict[str, str]] = []
        """All that came with each, names in small letters."""
        self.asks_for_a_key = True
        self.misbehave = ""
        self.voices = ("alloy", "coral")
        self.streaming = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/audio/speech", self.speech, methods=["POST"]),
            Route("/v1/audio/transcriptions", self.transcription, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        refusal = self.refuse(request, body)
        return refusal or StreamingResponse(self.tokens(body), media_type="text/event-stream")

    async def tokens(self, body: dict[str, Any]) -> AsyncIterator[str]:
        try:
            if body.get("tools") and body["messages"][-1]["role"] != "tool":
                name = body["tools"][0]["function"]["name"]
                for call in (
                    {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": ""}},
                    {"index": 0, "function": {"arguments": '{"city": '}},
                    {"index": 0, "function": {"arguments": '"Rome"}'}},
                ):
                    yield self.chunk([{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}])
                yield "data: [DONE]\n\n"
                return
            if body.get("messages", [{}])[-1].get("content") == THINK:
                for delta in ({"reasoning_content": "They ask"}, {"reasoning": " for the time."}, {"content": ""}):
                    yield self.chunk([{"index": 0, "delta": delta, "finish_reason": None}])
            for text in ("It ", "is ", "noon."):
                yield self.chunk([{"index": 0, "delta": {"content": text}, "finish_reason": None}])
                self.streaming.set()
                if self.misbehave == "endless":
                    await asyncio.Event().wait()
                if self.misbehave == "cut":
                    raise ConnectionError("cut")
            if body.get("stream_options", {}).get("include_usage"):
                yield self.chunk([], {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
            yield "data: [DONE]\n\n"
        finally:
            self.left.set()

    def chunk(self, choices: list[Any], usage: dict[str, int] | None = None) -> str:
        content = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
        return f"data: {json.dumps({**content, 'usage': usage})}\n\n"

    async def speech(self, request: Request) -> Response:
        body = await request.json()
        refusal = self.refuse(request, body)
        if not refusal and body["voice"] not in self.voices:
            refusal = _error(400, f"Invalid value: '{body['voice']}'. Supported values are: {self.voices}.")
        if refusal or self.misbehave == "words":
            return refusal or JSONResponse({"error": "no"})
        data = VOICE.pcm16()
        pieces = [data[at : at + 4801] for at in range(0, len(data), 4801)]  # odd: a sample is cut in two
        return StreamingResponse(_sent(pieces), media_type="application/octet-stream")

    async def transcription(self, request: Request) -> Response:
        data = await request.body()
        self.asked.append((request.url.path, {"multipart": data}))
        refusal = self.refuse(request, {"model": MODEL if MODEL.encode() in data else "?"}, note=False)
        if self.misbehave == "words":
            return JSONResponse({"hello": 1})
        if not refusal and b"\r\n\r\nxx\r\n" in data:
            refusal = _error(400, "Invalid language 'xx'")
        return refusal or JSONResponse({"text": " What time is it? "})

    def refuse(self, request: Request, body: dict[str, Any], note: bool = True) -> Response | None:
        if note:
            self.asked.append((request.url.path, body))
        self.keys.append(request.headers.get("authorization", "").removeprefix("Bearer "))
        self.headers.append(dict(request.headers))
        if self.asks_for_a_key and self.keys[-1] != KEY:
            return _error(401, "Incorrect API key provided")
        if body["model"] != MODEL:
            return _error(404, f"The model `{body['model']}` does not exist")
        faults = {"busy": 429, "broken": 500, "picky": 400}
        return _error(faults[self.misbehave], self.misbehave) if self.misbehave in faults else None


async def _sent(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "error", "code": None}}, status)


@asynccontextmanager
async def serving() -> AsyncIterator[ProtocolServer]:
    speaking = ProtocolServer()
    server = uvicorn.Server(uvicorn.Config(speaking.app, host="127.0.0.1", port=0, log_level="critical"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    speaking.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    try:
        yield speaking
    finally:
        server.should_exit = server.force_exit = True
        await task
