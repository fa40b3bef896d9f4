"""SIGKILL of the agent that hosts a conversation, and of the gateway, in mid-question and in mid-reply.

    python benchmarks/killing.py [--times 20] [--seed 1] [--json FILE]

Every utterance is to be a turn afterwards, and none two. All processes are those of `openomni up`, which starts again
what died; the stages are simulated, so that what is measured is what was said, and not how well.

Two kinds of client are spoken through. One stays: it captures into a spool of its own, as `openomni listen` does, comes
back when its line breaks, and asks a second question then. The other is gone with what died, as a browser that is
closed: the gateway recorded it, and what it said can be answered from that alone. When a process dies is drawn evenly
over the question, or over the reply from its first sound on.

A turn is that of an utterance when it holds most of it, or lies mostly in it. `lost`: utterances without a turn;
`twice`: with more than one; `odd`: turns of no utterance, and those that never ended. Of the turns, `live`: answered to
the person; `recording`: from the recording afterwards; `cut off`: their reply was heard in part, and is not said again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from openomni import clock
from openomni.bench import machine
from openomni.cli.stack import Stack, running
from openomni.client.connection import Link
from openomni.client.listener.listener import Listener, Told
from openomni.client.listener.sources import BLOCK, BLOCK_S, Block, Captured
from openomni.client.replies import ReplyFolder
from openomni.client.responder.sinks import VirtualSpeaker
from openomni.client.wire import ReplyChunk, captured_sound
from openomni.events import AXIS_RATE
from openomni.media import Audio
from openomni.storage.api import Api
from openomni.storage.spool import Spool, SpoolRecording, new_recording, wav_header
from openomni.storage.upload import Uploader
from openomni.version import __version__

OFFER = "host,stt:simulated,llm:simulated,tts:simulated"
QUESTION_S, REPLY_S, LEAD_IN_S = 2.5, 2.4, 0.7
GROWS_S = 1.4
"""How long a reply is still made after its first sound."""
PATIENCE_S = 60.0
RESCUE_S = 150.0
"""How long after all was said a turn may take that is run from the recording."""
PIPELINE = {
    "name": "killed",
    "stages": [
        {"stt": "simulated", "text": "What is the capital of France?"},
        {"llm": "simulated", "first_token_s": 0.2, "token_s": 0.2,
         "text": "One two three four. Five six seven eight. Nine ten eleven twelve."},
        {"tts": "simulated", "seconds": 0.8},
    ],
    "turn_taking": {"vad": "energy", "end_of_turn_silence": 0.4},
}  # fmt: skip


class Mouth:
    """A person at a microphone: silent, but for what they are told to say. Real time, in blocks of 20 ms."""

    label = "mic"
    decides_turns = False
    ambient = True

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []
        """The utterances, in samples."""
        self._words = np.zeros(0, np.float32)
        self._position = 0
        self._recording: SpoolRecording | None = None
        self._stopped = False

    def check(self) -> None:
        pass

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        meta = new_recording("audio", "audio/wav", rate=AXIS_RATE, session_id=session_id, recording_id=recording_id)
        self._recording = spool.record(meta, ".wav")
        self._recording.append(wav_header(AXIS_RATE))
        return [self._recording]

    def say(self, seconds: float) -> None:
        count = round(seconds / BLOCK_S) * BLOCK
        self._words = (0.3 * np.sin(2 * np.pi * 220 * np.arange(count) / AXIS_RATE)).astype(np.float32)
        self.said.append((self._position, self._position + count))

    def stop(self) -> None:
        self._stopped = True

    async def capture(self) -> AsyncGenerator[Captured, None]:
        due = clock.now()
        while not self._stopped:
            due += BLOCK_S
            await asyncio.sleep(max(due - clock.now(), 0))
            block, self._words = self._words[:BLOCK], self._words[BLOCK:]
            pcm = Audio(np.pad(block, (0, BLOCK - len(block))), AXIS_RATE).pcm16()
            if self._recording is not None:
                self._recording.append(pcm)
            yield Block(self._position, due - BLOCK_S, pcm)
            self._position += BLOCK
        if self._recording is not None:
            self._recording.end()


@dataclass
class Conversation:
    """What was said in one session, and what became of it."""

    case: str
    session_id: str = ""
    said: list[tuple[int, int]] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)

    def of(self, start: int, end: int) -> list[dict[str, Any]]:
        """Utterances lie seconds apart; of one that a death cut, the recording may hold its beginning alone."""
        return [turn for turn in self.turns if any(_overlap(each, start, end) for each in _segments(turn))]

    @property
    def over(self) -> bool:
        unfinished = any(turn["status"] in ("pending", "started") or _lost(turn) for turn in self.turns)
        return not unfinished and all(self.of(*each) for each in self.said)


class Killing:
    """Kills, against one server."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack, self._random = stack, random.Random(seed)
        headers = {"Authorization": f"Bearer {stack.token}"}
        self._http = httpx.AsyncClient(base_url=f"{stack.url}/api/v1", headers=headers, timeout=20, trust_env=False)

    async def stays(self, part: str, when: str) -> Conversation:
        """A conversation of two questions, in the first of which a part dies."""
        found = Conversation(f"{part}, {when}")
        mouth, heard = Mouth(), asyncio.Event()
        folder = self._stack.folder / uuid.uuid4().hex
        spool = Spool(folder / "spool", self._stack.url, self._stack.token)
        recording_id = uuid.uuid4().hex
        hello = {"role": "listener", "audio": "binary", "rate": AXIS_RATE, "source": "mic", "output": True,
                 "recording_id": recording_id, "wait_for_agent": True}  # fmt: skip

        class Ear(VirtualSpeaker):
            def play(self, chunk: ReplyChunk) -> None:
                heard.set()
                super().play(chunk)

        async with Api(self._stack.url, self._stack.token) as api, Uploader(api.patient(_nothing)) as uploader:
            async with Link(self._stack.url, self._stack.token, "/v1/realtime?model=killed", hello) as link:
                found.session_id = link.session_id
                for recording in mouth.open(spool, link.session_id, recording_id):
                    uploader.add(recording)
                told = Told(lambda turn: None, _nothing)
                listener = Listener(link, mouth, Ear, ReplyFolder(folder / "replies"), told, reports=True,
                                    full_duplex=True, wait=True)  # fmt: skip
                running = asyncio.create_task(listener.run())
                await asyncio.sleep(LEAD_IN_S)
                mouth.say(QUESTION_S)
                await self._moment(when, heard)
                self._kill(part)
                await self._until(lambda: self._answered(found, mouth.said[0]))
                await self._serves()
                await asyncio.sleep(2.0)
                heard.clear()
                mouth.say(QUESTION_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE_S):
                        await heard.wait()
                await asyncio.sleep(REPLY_S + 1.0)
                mouth.stop()
                async with asyncio.timeout(PATIENCE_S):
                    await running
            await uploader.drain(PATIENCE_S)
        found.said = mouth.said
        return found

    async def leaves(self, part: str, when: str) -> Conversation:
        """A question; its client is gone with what dies."""
        found = Conversation(f"{part}, {when}; the client too")
        mouth, heard = Mouth(), asyncio.Event()
        address = f"{self._stack.url.replace('http', 'ws', 1)}/v1/realtime?model=killed"
        headers = {"Authorization": f"Bearer {self._stack.token}", "OpenOmni-Version": __version__}
        async with connect(address, additional_headers=headers, proxy=None, close_timeout=0.1) as socket:
            hello = {"type": "openomni.hello", "version": __version__, "audio": "binary", "wait_for_agent": True}
            await socket.send(json.dumps(hello))

            async def listen() -> None:
                with contextlib.suppress(WebSocketException):
                    async for message in socket:
                        if isinstance(message, bytes):
                            heard.set()
                        elif (event := json.loads(message))["type"] == "openomni.welcome":
                            found.session_id = event["session_id"]

            async def speak() -> None:
                with contextlib.suppress(WebSocketException):
                    async for block in mouth.capture():
                        assert isinstance(block, Block)
                        await socket.send(captured_sound(block.position, block.captured, block.pcm))

            both = asyncio.gather(listen(), speak())
            await asyncio.sleep(LEAD_IN_S)
            mouth.say(QUESTION_S)
            await self._moment(when, heard)
            self._kill(part)
            socket.transport.abort()
            both.cancel()
            await asyncio.gather(both, return_exceptions=True)
        start, end = mouth.said[0]
        found.said = [(start, min(end, mouth._position))]
        await self._serves()
        return found

    async def _moment(self, when: str, heard: asyncio.Event) -> None:
        if when == "question":
            # The first tenth of a second may be too little to be taken for speech.
            await asyncio.sleep(self._random.uniform(0.2, QUESTION_S - 0.05))
            return
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
        await asyncio.sleep(self._random.uniform(0.0, GROWS_S))

    def _kill(self, part: str) -> None:
        (child,) = (each for each in self._stack.server.parts if each.name == part)
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)

    async def _answered(self, found: Conversation, said: tuple[int, int]) -> bool:
        await self.look(found)
        return any(turn["status"] not in ("pending", "started") and not _lost(turn) for turn in found.of(*said))

    async def _serves(self) -> None:
        """Waits until all parts are there again, which are taken to be there for a while after they died."""
        await asyncio.sleep(4.0)

        async def there() -> bool:
            answer = await self._http.get(f"{self._stack.url}/healthz")
            agents = (await self._http.get("/agents")).json()["items"]
            return answer.status_code == 200 and any(each["alive"] for each in agents)

        await self._until(there)

    async def look(self, found: Conversation) -> None:
        """What the server has of it by now."""
        answer = await self._http.get("/turns", params={"session": found.session_id, "limit": 200})
        found.turns = [each for each in answer.json()["items"] if each["status"] != "superseded"]

    async def _until(self, holds: Any, seconds: float = PATIENCE_S) -> bool:
        deadline = clock.now() + seconds
        while clock.now() < deadline:
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
                if await holds():
                    return True
            await asyncio.sleep(0.2)
        return False

    async def settle(self, all_of_them: list[Conversation]) -> None:
        """Waits until each utterance is a turn that is over, and a moment more, for what may come twice."""

        async def settled() -> bool:
            for found in all_of_them:
                if not found.over:
                    await self.look(found)
            return all(found.over for found in all_of_them)

        await self._until(settled, RESCUE_S)
        await asyncio.sleep(45.0)
        for found in all_of_them:
            await self.look(found)

    async def close(self) -> None:
        await self._http.aclose()


def figures(found: list[Conversation]) -> dict[str, int]:
    """Of one case."""
    count: Counter[str] = Counter(kills=len(found), lost=0, twice=0, odd=0)
    for each in found:
        known = set()
        for said in each.said:
            turns = each.of(*said)
            known |= {turn["turn_id"] for turn in turns}
            count["utterances"] += 1
            count["lost"] += not turns
            count["twice"] += len(turns) > 1
            count.update(_way(turn) for turn in turns)
        count["turns"] += len(each.turns)
        count["odd"] += sum(turn["turn_id"] not in known or _way(turn) == "unfinished" for turn in each.turns)
    return dict(count)


def _way(turn: dict[str, Any]) -> str:
    if turn["status"] in ("pending", "started") or _lost(turn):
        return "unfinished"
    if turn["interrupted"]:
        return "cut off"
    if turn["status"] != "completed":
        return "failed"
    return "live" if turn["live"] else "recording"


def _lost(turn: dict[str, Any]) -> bool:
    return bool(turn["outcome"] == "lost")


def _segments(turn: dict[str, Any]) -> list[tuple[int, int]]:
    return [(each["start"], each["end"]) for each in turn["segments"]]


def _overlap(segment: tuple[int, int], start: int, end: int) -> bool:
    return min(segment[1], end) > max(segment[0], start)


def _nothing(*_: object) -> None:
    pass


COLUMNS = ("kills", "utterances", "turns", "lost", "twice", "odd", "live", "recording", "cut off", "failed")


def table(found: dict[str, dict[str, int]]) -> str:
    width = max(map(len, found)) + 2
    lines = ["".join([f"{'':<{width}}", *(f"{name:>11}" for name in COLUMNS)])]
    for case, count in found.items():
        lines.append("".join([f"{case:<{width}}", *(f"{count.get(name, 0):>11}" for name in COLUMNS)]))
    return "\n".join(lines)


@contextlib.asynccontextmanager
async def killing(seed: int) -> AsyncIterator[Killing]:
    async with running(agent=["--offer", OFFER]) as stack:
        await stack.server.warm()
        await stack.put_pipeline(PIPELINE)
        made = Killing(stack, seed)
        try:
            yield made
        finally:
            await made.close()


async def measure(times: int, seed: int, parts: list[str], whens: list[str], clients: list[str]) -> dict[str, Any]:
    found: dict[str, list[Conversation]] = {}
    async with killing(seed) as killer:
        for _ in range(times):
            for client in clients:
                for part in parts:
                    for when in whens:
                        held = await (killer.stays if client == "stays" else killer.leaves)(part, when)
                        found.setdefault(held.case, []).append(held)
                        print(".", end="", flush=True, file=sys.stderr)
        await killer.settle([each for several in found.values() for each in several])
    for each in (each for several in found.values() for each in several):
        if figures([each]).keys() & {"unfinished", "failed"} or any(figures([each])[bad] for bad in BAD):
            print(f"\n{each.case}: said {each.said}\n" + "\n".join(map(_line, each.turns)), file=sys.stderr)
    return {case: figures(several) for case, several in sorted(found.items())}


BAD = ("lost", "twice", "odd")


def _line(turn: dict[str, Any]) -> str:
    return (
        f"  {turn['turn_id'][:8]} {turn['index']} {turn['status']} {turn['outcome']} {_segments(turn)} {turn['reason']}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="kills of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", default="agent,gateway")
    parser.add_argument("--when", default="question,reply")
    parser.add_argument("--clients", default="stays,leaves")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = asyncio.run(
        measure(given.times, given.seed, given.parts.split(","), given.when.split(","), given.clients.split(","))
    )
    print(f"\n{table(found)}")
    if given.json:
        settings = {"times": given.times, "seed": given.seed}
        flat = {f"{case}: {name}": count for case, counts in found.items() for name, count in counts.items()}
        report = {"figures": flat, "machine": machine.describe(), "settings": settings}
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return int(any(count[bad] for count in found.values() for bad in BAD))


if __name__ == "__main__":
    sys.exit(main())
