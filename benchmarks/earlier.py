"""This tree beside an earlier commit: the same questions, in turn, in one run, on one machine.

    .venv/bin/python benchmarks/earlier.py e0f8e8b --questions 60 --paused 24 --sessions 10 --json earlier.json

Each question is asked of one and then, the same, of the other, by turns who is first, so that whatever else the machine
does falls on both; the figures are of the differences, question by question. The earlier one is checked out into a
temporary folder and runs in this environment. Each side is a process of its own, with the client of its own commit:
the two need not understand each other.

Then so many sessions at once of simulated stages, and what of a processor's core each part takes for one of them, by
turns and twice each. The sessions are real listeners that send sound in real time and ask a question every few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

ROOT = Path(__file__).parents[1]
ANSWER_S = 15.0
LISTENS_S = 2.0
"""How much of a reply is heard before the other side is asked."""
THINKS_S = 0.4
WARM_UP = 2
PARTS = {"openomni.cli.main api": "API", "openomni.cli.main gateway": "gateway", "openomni.cli.main agent": "agent",
         "nats-server": "bus", "openomni.agent": "agent"}  # fmt: skip
"""What a process is, by what its command line holds; any other child goes to `others`."""
SECONDS = 60.0
EVERY_S = 6.0
"""Between the questions of one session, among those at once."""

Told = dict[str, Any]

# ---- one side: what runs in the commit's own code. It reads a line, does it, and writes one line of JSON. ----


def synthetic_caller(number: int) -> Any:
    """By the name that the side's own commit has for it."""
    try:
        from openomni.client.caller import caller
    except ImportError:  # an earlier commit's
        from openomni.bench import caller

    known = vars(caller)
    return known.get("SyntheticCaller", known.get("Caller"))(number)


async def side(asked: int, paused: int, seed: int) -> None:
    from openomni.bench import corpus
    from openomni.cli.stack import agent_for, check_and_pull, running
    from openomni.pipeline import spec

    pipeline = spec.builtin()["local"]
    check_and_pull(pipeline)
    utterances = corpus.build(asked, paused, seed, None, lambda what: None)
    corpus.let_go()
    say({"questions": len(utterances.questions), "paused": len(utterances.paused)})
    while command := await hear():
        match command["do"]:
            case "talk":
                async with running(agent_for(pipeline, "local")) as stack:
                    await stack.server.warm()
                    await talk(stack, pipeline.name, utterances)
            case "sessions":
                async with running() as stack:
                    say(await sessions(stack, command["count"], utterances))


async def talk(stack: Any, pipeline: str, utterances: Any) -> None:
    """One call: what the parent asks for is said, until it asks for the end."""
    from openomni.bench import figures
    from openomni.bench.scenes import Scene, Step

    caller, scenes = synthetic_caller(1), []
    async with caller.call(stack.url, stack.token, pipeline, stack.folder / "replies"):
        say({"ready": True})
        while (command := await hear())["do"] == "ask":
            utterance = getattr(utterances, command["of"])[command["number"]]
            said = await caller.say(utterance)
            await caller.until(lambda said=said: caller.answering(said) is not None, ANSWER_S)
            reply = caller.answering(said)
            await caller.until(lambda: not caller.being_heard, LISTENS_S)
            what = "question" if command["of"] == "questions" else "paused"
            scenes.append(Scene(Step(what, utterance, "listen"), said, None))
            say({"audible_s": None if reply is None or reply.audible is None else reply.audible - said.end})
    say({"rows": [figures.row(caller, scene).voice_to_voice_s for scene in scenes],
         "cut": [figures.row(caller, scene).cut for scene in scenes]})  # fmt: skip


async def sessions(stack: Any, count: int, utterances: Any) -> Told:
    """Shares of a core that each part takes for one of so many sessions at once."""
    from openomni.bench import overhead

    await stack.put_pipeline(overhead.PIPELINE)
    name = str(overhead.PIPELINE["name"])
    async with stack.agents({"simulated": "host," + ",".join(overhead.COMPONENTS)}):
        callers = [synthetic_caller(number) for number in range(count)]
        over = asyncio.Event()

        async def one(number: int) -> None:
            await asyncio.sleep(number * EVERY_S / count)
            chance = random.Random(number)
            async with callers[number].call(stack.url, stack.token, name, stack.folder / f"replies-{number}"):
                while not over.is_set():
                    await callers[number].say(chance.choice(utterances.questions))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(over.wait(), EVERY_S)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
            await asyncio.sleep(EVERY_S + 6.0)
            before, since = spent(), time.monotonic()
            await asyncio.sleep(SECONDS)
            after, took = spent(), time.monotonic() - since
            over.set()
        turns = sum(len(caller.turns) for caller in callers)
    return {"turns": turns, **{part: (after[part] - before.get(part, 0.0)) / took / count for part in after}}


def spent() -> dict[str, float]:
    """Seconds of processor time of our child processes, by part."""
    import psutil

    seconds: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            line, times = " ".join(process.cmdline()), process.cpu_times()
            part = next((part for text, part in PARTS.items() if text in line), "others")
            seconds[part] = seconds.get(part, 0.0) + times.user + times.system
    return seconds


def say(told: Told) -> None:
    _answers.write(json.dumps(told) + "\n")
    _answers.flush()


async def hear() -> Told:
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else {}


_answers: TextIO = sys.stdout


# ---- the parent: takes turns, and compares ----


class Side:
    """A process that runs one tree's code."""

    def __init__(self, name: str, tree: Path, arguments: Sequence[str], log: Path) -> None:
        self.name, self._tree, self._arguments, self._log = name, tree, arguments, log

    async def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(self._tree / "src")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--side", *self._arguments, cwd=self._tree, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log.open("wb"), limit=1 << 24,
        )  # fmt: skip

    async def told(self) -> Told:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise SystemExit(f"earlier: {self.name} ended: {last[0] if last else 'it said nothing'}")
        return dict(json.loads(line))

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def asked(self, **command: Any) -> Told:
        self.tell(**command)
        return await self.told()

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(f"earlier: {packed.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="earlier-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


async def measure(commit: str, questions: int, paused: int, count: int, seed: int) -> Told:
    arguments = ["--questions", str(questions + WARM_UP), "--paused", str(paused), "--seed", str(seed)]
    with checked_out(commit) as tree:
        logs = tree.parent
        sides = [Side("this tree", ROOT, arguments, logs / f"{tree.name}-now.log"),
                 Side(commit, tree, arguments, logs / f"{tree.name}-then.log")]  # fmt: skip
        for each in sides:
            await each.start()
        have = [await each.told() for each in sides]
        if have[0] != have[1]:
            raise SystemExit(f"earlier: the two do not have the same questions: {have}")
        figures: Told = {}
        rows: list[Told] = []
        if questions:
            rows = await in_turn(sides, questions, have[0]["paused"])
            figures |= differences(rows, seed)
        if count:
            figures |= await at_once(sides, count)
        for each in sides:
            await each.end()
    return {"figures": figures, "utterances": rows}


async def in_turn(sides: Sequence[Side], questions: int, paused: int) -> list[Told]:
    """A row an utterance, with what each of the two came to."""
    for each in sides:
        await each.asked(do="talk")
    for number in range(WARM_UP):
        for each in sides:
            await each.asked(do="ask", of="questions", number=number)
    order = [("questions", number + WARM_UP, (number + 0.5) / questions) for number in range(questions)]
    order += [("paused", number, (number + 0.5) / paused) for number in range(paused)]
    order.sort(key=lambda each: each[2])
    for place, (of, number, _) in enumerate(order):
        if place % 10 == 0:
            progress(f"{place} of {len(order)} utterances")
        for each in sides if place % 2 else reversed(sides):
            await each.asked(do="ask", of=of, number=number)
            await asyncio.sleep(THINKS_S)
    ended = [await each.asked(do="end") for each in sides]
    return [
        {"what": of, "number": number,
         **{f"{name}_s": told["rows"][WARM_UP + place] for name, told in zip(("now", "then"), ended, strict=True)},
         **{f"{name}_cut": told["cut"][WARM_UP + place] for name, told in zip(("now", "then"), ended, strict=True)}}
        for place, (of, number, _) in enumerate(order)
    ]  # fmt: skip


def differences(rows: Sequence[Told], seed: int) -> dict[str, float]:
    """Of the questions that both answered; intervals by bootstrap over questions: of the median of the differences,
    and of the difference of the medians."""
    plain, paused = ([row for row in rows if row["what"] == what] for what in ("questions", "paused"))
    pairs = [row for row in plain if row["now_s"] is not None and row["then_s"] is not None]
    now, then = (np.array([row[f"{name}_s"] for row in pairs]) for name in ("now", "then"))
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, len(pairs), (20_000, len(pairs)))
    medians = np.median((now - then)[drawn], axis=1)
    of_medians = np.median(now[drawn], axis=1) - np.median(then[drawn], axis=1)
    found = {
        "questions": len(plain), "pairs": len(pairs), "paused": len(paused),
        **{f"{name}_p{share}_s": float(np.percentile(values, share))
           for name, values in (("now", now), ("then", then)) for share in (50, 95)},
        "difference_p50_s": float(np.median(now - then)),
        "difference_p50_low_s": float(np.percentile(medians, 2.5)),
        "difference_p50_high_s": float(np.percentile(medians, 97.5)),
        "difference_of_p50_low_s": float(np.percentile(of_medians, 2.5)),
        "difference_of_p50_high_s": float(np.percentile(of_medians, 97.5)),
    }  # fmt: skip
    for name in ("now", "then"):
        found[f"{name}_questions_cut"] = sum(row[f"{name}_cut"] for row in plain)
        found[f"{name}_paused_cut"] = sum(row[f"{name}_cut"] for row in paused)
    return found


async def at_once(sides: Sequence[Side], count: int) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for number in range(2):
        for side, name in [(sides[0], "now"), (sides[1], "then")][:: 1 if number else -1]:
            progress(f"{count} sessions at once, {side.name}")
            for part, share in (await side.asked(do="sessions", count=count)).items():
                found.setdefault(f"sessions_{name}_{part}", []).append(share)
    return {name: round(sum(values) / len(values), 6) for name, values in sorted(found.items())}


def progress(what: str) -> None:
    print(f"· {what} … (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default="e0f8e8b")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--paused", type=int, default=24, help="utterances with pauses of 0.3 to 0.7 s inside")
    parser.add_argument("--sessions", type=int, default=10, help="at once, of simulated stages; 0: leaves them out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        # Whatever the code prints goes elsewhere: our answers have the channel for themselves.
        global _answers
        _answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        asyncio.run(side(given.questions, given.paused, given.seed))
        return
    measured = asyncio.run(measure(given.commit, given.questions, given.paused, given.sessions, given.seed))
    for name, value in measured["figures"].items():
        print(f"{name:<28} {value:10.4f}")
    if given.json:
        from openomni.bench import machine

        settings = {"commit": given.commit, "seed": given.seed, "load": os.getloadavg()[0]}
        given.json.write_text(json.dumps({**measured, "machine": machine.describe(), "settings": settings}, indent=1))


if __name__ == "__main__":
    main()
