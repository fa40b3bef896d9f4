"""A client that knows the protocol and means harm, beside a conversation that must not notice.

    .venv/bin/python benchmarks/fuzzing.py --turns 200 --minutes 10 --json fuzzing.json

Blocks of turns alone and blocks beside the fuzzing client take turns on one server with simulated components, so that a
drift of the machine hits both alike. The fuzzing client is a process of its own, niced, with a device token that is
valid: 200 messages a second, malformed in every way, over as many connections as it is let. Told at the end: what it
adds to a turn, what processes were restarted, and memory, disk, files and tasks after the last minute beside those
after the second.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import struct
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from openomni import clock
from openomni.bench import machine, overhead
from openomni.cli.stack import Stack, running
from openomni.client.connection import Link, Received
from openomni.client.wire import ReplyChunk
from openomni.events import AXIS_RATE
from openomni.media import Audio, Frame
from openomni.storage.api import address

RATE = 200.0
"""Messages a second."""
EVENTS = (
    "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear", "session.update",
    "conversation.item.create", "conversation.item.delete", "conversation.item.retrieve", "conversation.item.truncate",
    "output_audio_buffer.clear", "response.create", "response.cancel", "openomni.hello", "openomni.ping",
    "openomni.clock", "openomni.audio_end", "openomni.frame", "openomni.playback", "no.such.event", "",
)  # fmt: skip
FIELDS = (
    "audio", "session", "item", "item_id", "response", "event_id", "previous_item_id", "content_index", "audio_end_ms",
    "offset", "uncertainty", "sent", "position", "jpeg", "turn_id", "seconds", "started", "audible", "ended",
)  # fmt: skip


NO_EVENTS = ("", "{", "[]", "null", '{"type": 7}', "\x00", '{"type": "\\ud800"}', "9" * 5000)


class Fuzz:
    """Messages that a client may send, most of them wrong; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        jpeg = Frame(np.full((48, 64, 3), 120, np.uint8)).jpeg()
        self._jpeg = base64.b64encode(jpeg).decode()

    def message(self) -> str | bytes:
        kind = self._random.random()
        if kind < 0.3:
            return self._binary()
        if kind < 0.4:
            return self._random.choice(
                ["", "{", "[]", "null", '{"type": 7}', "\x00", '{"type": "\\ud800"}', "9" * 5000]
            )
        if kind < 0.42:
            return '{"type":' * 5000
        return json.dumps(self._event())

    def _event(self) -> dict[str, Any]:
        kind = self._random.choice(EVENTS)
        event: dict[str, Any] = {"type": kind}
        match kind:
            case "input_audio_buffer.append":
                event["audio"] = base64.b64encode(self._random.randbytes(self._random.randrange(0, 9601))).decode()
            case "conversation.item.create":
                part = self._random.choice(
                    [
                        {"type": "input_text", "text": self._text()},
                        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{self._jpeg}"},
                        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{self._jpeg[:200]}"},
                        {"type": "input_audio", "audio": self._jpeg},
                    ]
                )
                event["item"] = {
                    "type": "message",
                    "role": self._random.choice(["user", "system", "x"]),
                    "content": [part],
                }
            case "openomni.frame":
                event |= {"position": self._number(), "jpeg": self._jpeg}
            case "session.update":
                event["session"] = {
                    "type": "realtime",
                    self._random.choice(["audio", "tools", "instructions"]): self._any(),
                }
        for _ in range(self._random.randrange(3)):
            event[self._random.choice(FIELDS)] = self._any()
        return event

    def _binary(self) -> bytes:
        position = self._random.choice([0, 320, 1 << 33, 1 << 50, (1 << 64) - 1, self._random.randrange(1 << 40)])
        captured = self._random.choice([0.0, float("nan"), float("inf"), -1e300, time.monotonic()])
        size = self._random.choice([0, 1, 2, 640, 641, 4000])
        return struct.pack("<Qd", position, captured)[: self._random.choice([16, 16, 16, 7])] + bytes(size)

    def _any(self, depth: int = 3) -> Any:
        kind = self._random.randrange(8 if depth else 6)
        if kind < 2:
            return self._number()
        if kind < 4:
            return self._text()
        if kind < 6:
            return self._random.choice([None, True, False])
        if kind == 6:
            return [self._any(depth - 1) for _ in range(self._random.randrange(4))]
        return {self._random.choice(FIELDS): self._any(depth - 1) for _ in range(self._random.randrange(4))}

    def _number(self) -> float | int:
        return self._random.choice([0, -1, 1e300, -1e300, 2**63, 2**70, 0.5, self._random.random() * 1e6])

    def _text(self) -> str:
        return self._random.choice(["", "\0", "\ud800", "x" * 20_000, "<think>", "../../etc", "?a=b", "*", "é漢字"])


async def fuzz(server: str, token: str, seed: int) -> None:
    """Sends until it is ended, over four connections at a time; one that is closed is opened again."""
    source = Fuzz(seed)
    period = 4 / RATE
    paths = ("/v1/realtime?model=bench-overhead", "/v1/realtime?model=*", "/v1/realtime?model=a%3Fb", "/v1/respond")

    async def one(number: int) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        hello = {"type": "openomni.hello", "role": "responder" if number == 3 else "listener", "audio": "binary"}
        for count in itertools.count():
            try:
                url = address(server, "ws") + (paths[number] if count % 5 == 0 else paths[3 * (number == 3)])
                async with connect(url, additional_headers=headers, max_size=None, open_timeout=10) as socket:
                    reading = asyncio.create_task(_drain(socket))
                    if count % 3:
                        await socket.send(json.dumps(hello))
                    for _ in range(500):
                        began = time.monotonic()
                        await socket.send(source.message())
                        await asyncio.sleep(max(period - (time.monotonic() - began), 0))
                    reading.cancel()
            except (OSError, WebSocketException, TimeoutError, UnicodeError):
                await asyncio.sleep(period)

    await asyncio.gather(*(one(number) for number in range(4)))


async def _drain(socket: Any) -> None:
    with contextlib.suppress(WebSocketException):
        async for _ in socket:
            pass


async def converse(server: str, token: str, turns: int) -> list[float]:
    """Seconds from each commit to the first sound of its reply at the client."""
    sounded: asyncio.Queue[float] = asyncio.Queue()
    done: asyncio.Queue[str] = asyncio.Queue()
    begun: set[bytes | str] = set()

    def receive(event: Received) -> None:
        if isinstance(event, ReplyChunk):
            if event.turn_id not in begun:
                begun.add(event.turn_id)
                sounded.put_nowait(clock.now())
        elif isinstance(event, dict) and event.get("type") == "openomni.turn.done":
            done.put_nowait(str(event["turn"]["status"]))

    hello = {"role": "listener", "audio": "binary", "rate": AXIS_RATE, "source": "bench", "output": True,
             "recording_id": uuid.uuid4().hex}  # fmt: skip
    speech = Audio(0.3 * np.sin(2 * np.pi * 220 * np.arange(AXIS_RATE // 2) / AXIS_RATE), AXIS_RATE)
    took: list[float] = []
    async with Link(server, token, f"/v1/realtime?model={overhead.PIPELINE['name']}", hello) as link:
        receiving = asyncio.create_task(link.run(receive))
        off = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await link.send({"type": "session.update", "session": off})
        position = 0
        for _ in range(turns):
            position = await overhead._say(link, speech, position)
            began = clock.now()
            await link.send({"type": "input_audio_buffer.commit"})
            async with asyncio.timeout(60):
                took.append(await sounded.get() - began)
                await done.get()
        await link.close()
        await receiving
    return took


def resources(pids: list[int], folder: Path) -> dict[str, float]:
    """Memory (MiB), disk (MiB), open files and threads of the processes."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return {
        "memory_mib": sum(each.memory_info().rss for each in processes) / 2**20,
        "disk_mib": size / 2**20,
        "files": sum(each.num_fds() for each in processes),
        "threads": sum(each.num_threads() for each in processes),
    }


def family() -> dict[int, float]:
    """Our child processes and when each was started."""
    return {each.pid: each.create_time() for each in psutil.Process().children(recursive=True)}


async def device_token(stack: Stack) -> str:
    headers = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=20, trust_env=False) as client:
        made = await client.post("/api/v1/tokens", json={"name": "fuzz", "scopes": ["device"]})
        made.raise_for_status()
        return str(made.json()["token"])


async def measure(turns: int, minutes: float, block: int) -> dict[str, Any]:
    alone: list[float] = []
    beside: list[float] = []
    seen: list[dict[str, float]] = []
    async with running() as stack:
        await stack.put_pipeline(overhead.PIPELINE)
        async with stack.agents({"simulated": "host," + ",".join(overhead.COMPONENTS)}):
            token = await device_token(stack)
            before = family()
            await converse(stack.url, stack.token, 5)
            began, fuzzed = time.monotonic(), 0.0
            for number in itertools.count():
                alone += await converse(stack.url, stack.token, block)
                child = await asyncio.create_subprocess_exec(
                    "nice", "-n", "10", sys.executable, __file__, "--fuzz", stack.url, "--seed", str(number),
                    env={**os.environ, "OPENOMNI_TOKEN": token},
                )  # fmt: skip
                since = time.monotonic()
                await asyncio.sleep(1.0)
                beside += await converse(stack.url, stack.token, block)
                child.terminate()
                await child.wait()
                fuzzed += time.monotonic() - since
                await asyncio.sleep(3.0)
                seen.append({"at_s": time.monotonic() - began, **resources(list(before), stack.folder)})
                print(f"{len(beside)} turns, {fuzzed / 60:.1f} min of fuzzing: {seen[-1]}", flush=True)
                if len(beside) >= turns and fuzzed >= 60 * minutes:
                    break
            after = family()
    early = next((each for each in seen if each["at_s"] >= 120), seen[0])
    p95 = [float(np.percentile(values, 95)) for values in (alone, beside)]
    p50 = [float(np.percentile(values, 50)) for values in (alone, beside)]
    figures: dict[str, float] = {
        "alone_p50_s": p50[0], "beside_p50_s": p50[1], "alone_p95_s": p95[0], "beside_p95_s": p95[1],
        "added_p95_s": p95[1] - p95[0], "turns": len(beside), "fuzzed_s": fuzzed,
        "restarted": sum(before[pid] != after.get(pid) for pid in before),
    }  # fmt: skip
    for name in ("memory_mib", "disk_mib", "files", "threads"):
        figures[f"{name}_early"], figures[f"{name}_late"] = early[name], seen[-1][name]
    return {"figures": figures, "machine": machine.describe(), "settings": {"block": block}, "seen": seen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--block", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fuzz", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.fuzz:
        asyncio.run(fuzz(given.fuzz, os.environ["OPENOMNI_TOKEN"], given.seed))
        return
    measured = asyncio.run(measure(given.turns, given.minutes, given.block))
    for name, value in measured["figures"].items():
        print(f"{name:<20} {value:10.4f}")
    if given.json:
        given.json.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
