"""Whether a real-time cell measures what `openomni bench live` measures: the same questions asked by both, in turn.

    python benchmarks/realtime_cells.py --turns 120 --json cells.json

Questions go in blocks. Each block is a dialogue that is asked once by the benchmark's own caller and once as a cell,
which an agent's caller claims and plays; which of the two comes first changes from block to block, so that a drift of
the machine hits both alike. Both wait for the end of a reply. `--beside realtime` queues cells of a second experiment,
of the same questions, at the beginning of each of ours, for a second agent with the role `caller`; `--beside fast`
queues turns of it, which wait while the machine is measured on. It speaks in real time: 120 questions take about an
hour.

The figures, over the questions that both had answered, with 95 % intervals that draw pairs: the median of the
differences, question by question; and the median of the cells' voice-to-voice less that of the benchmark's, which knows
nothing of how questions differ and so is less sure.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from openomni.bench import corpus, figures, machine, scenes
from openomni.bus import streams, subjects
from openomni.bus.connection import Bus
from openomni.bus.envelope import CallUtterance, CallWork, TurnWork
from openomni.bus.work import enqueue
from openomni.cli.chosen import find
from openomni.cli.stack import Stack, agent_for, check_and_pull, running
from openomni.client.caller.caller import SyntheticCaller
from openomni.client.caller.utterance import SpokenUtterance
from openomni.evaluation import intervals
from openomni.events import AXIS_RATE
from openomni.gateway.server import bus_connection, read_secrets
from openomni.latency import percentile
from openomni.pipeline.spec import Pipeline
from openomni.records import CellRecord, decode
from openomni.storage.api import Api, RecordingMeta, Refused

PROJECT = "default"
OURS, OTHERS = "1", "2"
"""Experiments."""
Waits = list[float | None]


async def main(options: argparse.Namespace) -> None:
    pipeline = find(options.pipeline)
    check_and_pull(pipeline)
    asked = corpus.build(options.turns, 0, options.seed, None, told).questions
    corpus.let_go()
    # A dialogue of a dataset waits for the whole reply, and so does the other one here.
    scenes.LISTENS_S = 120.0
    blocks = [asked[first : first + options.block] for first in range(0, len(asked), options.block)]
    ours: Waits = []
    theirs: Waits = []
    disturbed = lost = 0
    offer, *more = agent_for(pipeline, options.pipeline)[1:]
    load = os.getloadavg()[0]
    async with running(["--offer", f"{offer},caller", *more]) as stack, bench(stack, pipeline) as cells:
        beside = {"second": "caller"} if options.beside == "realtime" else {}
        async with stack.agents(beside):
            for number, block in enumerate(blocks):
                for side in ("live", "cell") if number % 2 else ("cell", "live"):
                    if side == "live":
                        theirs += await live(stack, pipeline, block, options.seed + number, stack.folder / str(number))
                        continue
                    found = await cells.play(block, options.beside, options.seed + number)
                    disturbed += found.status == "disturbed"
                    lost += found.frames_lost or 0
                    heard = {each.index: each.voice_to_voice_s for each in found.turns}
                    ours += [heard.get(index) for index in range(len(block))]
                told(f"{min((number + 1) * options.block, len(asked))} of {len(asked)} questions")
    pairs = np.array([pair for pair in zip(ours, theirs, strict=True) if None not in pair], dtype=float)
    low, high = interval(pairs, difference, options.seed)
    paired_low, paired_high = interval(pairs, paired, options.seed)
    result = {
        "cell_p50_s": percentile(ours, 50), "cell_p95_s": percentile(ours, 95),
        "live_p50_s": percentile(theirs, 50), "live_p95_s": percentile(theirs, 95),
        "paired_p50_s": paired(pairs), "paired_low_s": paired_low, "paired_high_s": paired_high,
        "difference_p50_s": difference(pairs), "difference_low_s": low, "difference_high_s": high,
        "pairs": len(pairs), "disturbed": disturbed, "frames_lost": lost,
    }  # fmt: skip
    for name, value in result.items():
        print(f"{name:<24} {value}")
    if options.json:
        settings = {**{name: value for name, value in vars(options).items() if name != "json"},
                    "pipeline_hash": pipeline.hash, "load_before": load, "load_after": os.getloadavg()[0]}  # fmt: skip
        content = {"figures": result, "machine": machine.describe(), "settings": settings,
                   "pairs": [{"cell_s": mine, "live_s": other} for mine, other in zip(ours, theirs, strict=True)],
                  }  # fmt: skip
        options.json.write_text(json.dumps(content, indent=2) + "\n")


def difference(pairs: np.ndarray) -> float | None:
    return float(np.median(pairs[:, 0]) - np.median(pairs[:, 1])) if len(pairs) else None


def paired(pairs: np.ndarray) -> float | None:
    return float(np.median(pairs[:, 0] - pairs[:, 1])) if len(pairs) else None


def interval(
    pairs: np.ndarray, figure: Callable[[np.ndarray], float | None], seed: int
) -> tuple[float | None, float | None]:
    """Pairs are drawn, not values: each question is asked by both."""
    numbers = np.arange(len(pairs), dtype=float)
    return intervals.bootstrap(numbers, lambda drawn: figure(pairs[np.asarray(drawn, dtype=int)]), seed=seed)


async def live(stack: Stack, pipeline: Pipeline, block: Sequence[SpokenUtterance], seed: int, folder: Path) -> Waits:
    """As `openomni bench live` asks them."""
    caller = SyntheticCaller(seed)
    async with caller.call(stack.url, stack.token, pipeline.name, folder):
        played = await scenes.play(caller, scenes.plain(block), seed, lambda scene: None)
    return [figures.row(caller, scene).voice_to_voice_s for scene in played]


class Cells:
    """Puts calls into the queue, and hears what became of them."""

    def __init__(self, bus: Bus, api: Api, pipeline: Pipeline, heard: Any, folder: Path) -> None:
        self._bus, self._api, self._pipeline, self._heard, self._folder = bus, api, pipeline, heard, folder
        self._uploaded: dict[str, str] = {}

    async def play(self, block: Sequence[SpokenUtterance], beside: str, seed: int) -> CellRecord:
        """Returns when it was played; one that was disturbed counts as it is."""
        work = await self._call(block, OURS, seed)
        await enqueue(self._bus, work)
        if beside == "realtime":
            await enqueue(self._bus, await self._call(block[:2], OTHERS, seed))
        elif beside == "fast":
            for said in block:
                await self._turn(said)
        async for message in self._heard:
            record = decode(message.data)
            if isinstance(record, CellRecord) and record.cell == work.work_id:
                break
        await streams.cancel(self._bus, PROJECT, OTHERS)
        if record.status == "failed":
            raise SystemExit(f"the cell failed: {record.reason}")
        return record

    async def _call(self, block: Sequence[SpokenUtterance], experiment: str, seed: int) -> Any:
        utterances = [
            CallUtterance(recording=await self._recording(each), speech=(each.start / AXIS_RATE, each.end / AXIS_RATE))
            for each in block
        ]
        call = CallWork(cell=uuid.uuid4().hex, experiment=experiment, pipeline=self._pipeline.name,
                        session_id=uuid.uuid4().hex, utterances=utterances, settings={"seed": seed})  # fmt: skip
        return call.work(PROJECT, self._pipeline.hash, group=experiment)

    async def _turn(self, said: SpokenUtterance) -> None:
        turn = TurnWork(turn_id=uuid.uuid4().hex, session_id=uuid.uuid4().hex, pipeline=self._pipeline.name,
                        recording=await self._recording(said), options={"origin": "bench"})  # fmt: skip
        await enqueue(self._bus, turn.work(PROJECT, self._pipeline.hash, lane="throughput", group=OTHERS))

    async def _recording(self, said: SpokenUtterance) -> str:
        """Its id on the server, which gets it once."""
        content = said.audio.pcm16()
        name = hashlib.sha256(content).hexdigest()
        if name not in self._uploaded:
            key = self._uploaded[name] = uuid.uuid4().hex
            data = said.audio.save(self._folder / f"{key}.wav").read_bytes()
            await self._api.create(
                RecordingMeta(recording_id=key, kind="audio", media_type="audio/wav", rate=AXIS_RATE)
            )
            await self._api.write(key, 0, data)
            await self._api.finish(key, hashlib.sha256(data).hexdigest(), len(data))
        return self._uploaded[name]


@asynccontextmanager
async def bench(stack: Stack, pipeline: Pipeline) -> AsyncIterator[Cells]:
    """The way to the queue of a server on this machine, once its agent is warm and the pipeline known by its hash."""
    await stack.know(pipeline)
    await stack.server.warm()
    url = str(stack.server.parts[0].environment["OPENOMNI_BUS_URL"])
    bus = await bus_connection([url], read_secrets(stack.folder / "data").bus)()
    try:
        async with Api(stack.url, stack.token) as api, await bus.subscribe(subjects.record(PROJECT)) as heard:
            # A session through it makes it known by its hash, be it built in.
            await live(stack, pipeline, [], 0, stack.folder / "first")
            while True:
                try:
                    await api.get(f"/pipelines/versions/{pipeline.hash}")
                    break
                except Refused:
                    await asyncio.sleep(0.2)
            yield Cells(bus, api, pipeline, heard, stack.folder)
    finally:
        await bus.close()


def told(what: str) -> None:
    print(f"· {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pipeline", default="local", help="a built-in one, or a YAML file")
    parser.add_argument("--turns", type=int, default=120, help="questions")
    parser.add_argument("--block", type=int, default=20, help="questions of a dialogue; 120 makes one of all of them")
    parser.add_argument("--beside", choices=("", "realtime", "fast"), default="", help="a second experiment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asyncio.run(main(parser.parse_args()))
