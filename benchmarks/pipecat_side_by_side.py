"""OpenOmni and Pipecat side by side: same models, same questions, same ears, taking turns in one run.

    python benchmarks/pipecat_side_by_side.py [--questions 24] [--paused 12] [--json FILE]

Run it with the Python of OpenOmni's environment (`.venv/bin/python` after `./setup`). Pipecat is installed from its
package into an environment of its own, under the user's cache, the first time.

Each question is asked of one and then, the same, of the other, by turns who is first, so that whatever else the
machine does falls on both. Both hold one conversation that grows. Both are real processes that are spoken to over a
WebSocket on the loopback interface, in real time, 20 ms of sound at a time.

- OpenOmni: all its processes as `openomni up` starts them, and the built-in pipeline `local` as it comes.
- Pipecat: the bot of `pipecat_bot.py`, as its project template has it. Whisper tiny.en in int8 by faster-whisper, the
  same SmolLM2 file by llama.cpp's own OpenAI-compatible server with its defaults, the same Piper voice, Silero, and
  the turn strategies that it takes by default (Smart Turn v3).

Voice-to-voice: from the last speech sample of the question to the first sample of the reply above −40 dBFS that the
client's loudspeaker would play. A question is falsely cut when its turn was decided before its last speech sample.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect

from openomni import clock, models
from openomni.bench import corpus, figures, machine, prompts
from openomni.bench.corpus import Corpus
from openomni.cli.processes import Child, children, free_port, run
from openomni.cli.stack import agent_for, check_and_pull, running
from openomni.client.caller.caller import LEAD_IN_S, SyntheticCaller
from openomni.client.caller.ear import HeardReply
from openomni.client.caller.measured import decided
from openomni.client.caller.room import SaidUtterance
from openomni.client.caller.utterance import SpokenUtterance
from openomni.client.wire import ReplyChunk
from openomni.components.llm.requantised import as_mixed
from openomni.errors import OpenOmniError
from openomni.pipeline import spec

PIPECAT = "1.14.0"
REPLY_RATE = 24_000
GAP_S = 1.0
"""Without an end that is told, a reply of Pipecat's is over when nothing came for so long after its last sound."""
ANSWER_S = 15.0
LISTENS_S = 4.0
"""How much of a reply is heard before the other one is asked."""
THINKS_S = 0.5
CONTEXT = 8192
START_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--paused", type=int, default=12, help="utterances with pauses of 0.3 to 0.7 s inside")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recordings", type=Path, help="a folder with more real utterances, one a file")
    parser.add_argument("--logs", type=Path, help="a folder for Pipecat's log and its language model's")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve-llm", nargs=2, metavar=("MODEL", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_llm:
        serve_llm(options.serve_llm[0], int(options.serve_llm[1]))
        return
    pipeline = spec.builtin()["local"]
    try:
        python = pipecat_environment()
        check_and_pull(pipeline)
        asked = corpus.build(options.questions + 1, options.paused, options.seed, options.recordings, progress)
        corpus.let_go()
        sides = run(measure(pipeline, python, asked, options.logs))
    except OpenOmniError as error:
        sys.exit(f"pipecat_side_by_side: {error}")
    found = compare(sides)
    for line in table(found):
        print(line)
    for note in asked.notes:
        print(f"note: {note}")
    if options.json:
        settings = {"pipecat": PIPECAT, "questions": options.questions, "paused": options.paused, "seed": options.seed}
        utterances = {side.name: [asdict(row) for row in side.rows] for side in sides}
        report = {"figures": found, "machine": machine.describe(), "settings": settings, "utterances": utterances}
        options.json.write_text(json.dumps(report, indent=2))


# ---- what runs ----


def pipecat_environment() -> Path:
    """The Python of an environment with Pipecat in it, made the first time."""
    folder = prompts.cache_folder() / f"pipecat-{PIPECAT}"
    python = folder / "bin" / "python"
    if (folder / ".complete").is_file():
        return python
    progress(f"installing Pipecat {PIPECAT} into {folder}, once")
    wanted = f"pipecat-ai[whisper,piper,openai]=={PIPECAT}"
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--quiet", "--python"] if uv.is_file() else []
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([*install, str(python), wanted] if install
                       else [str(python), "-m", "pip", "install", "--quiet", wanted], check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise OpenOmniError(f"Pipecat can't be installed ({error}); check the network and the package index") from None
    (folder / ".complete").touch()
    return python


def serve_llm(model: str, port: int) -> None:
    """llama.cpp's server with its defaults, for one conversation; until it is ended."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx, parameters.n_parallel = CONTEXT, 1
    parameters.hostnames, parameters.port = ["127.0.0.1"], port
    server = xllamacpp.Server(parameters)
    print(f"serving at {server.listening_address}", flush=True)
    while True:
        time.sleep(3600)


@contextlib.asynccontextmanager
async def pipecat(pipeline: spec.Pipeline, python: Path, folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """A bot and its language model's server, ready; gives the bot's port, and its log with the events of its turns."""
    given = {stage.kind: stage.parameters for stage in pipeline.stages}
    llm = given["llm"]
    ports = free_port(), free_port()
    base = f"http://127.0.0.1:{ports[0]}"
    weights = models.locate(llm["model"], "llama-cpp")
    if llm.get("weights") == "mixed":
        weights = as_mixed(weights)
    server = Child(
        "language model", [sys.executable, __file__, "--serve-llm", str(weights), str(ports[0])], folder / "llm.log"
    )
    bot = Child("pipecat", [
        str(python), str(Path(__file__).with_name("pipecat_bot.py")), "--port", str(ports[1]), "--llm", f"{base}/v1",
        "--whisper", str(models.locate(given["stt"]["model"], "faster-whisper")),
        "--voice", str(models.locate(given["tts"]["voice"], "piper")),
        "--instructions", pipeline_instructions(pipeline), "--max-tokens", str(llm.get("max_tokens", 96)),
        "--temperature", str(llm.get("temperature", 0.2)), "--top-p", str(llm.get("top_p", 0.9)),
    ], folder / "pipecat.log", {"OMP_WAIT_POLICY": "PASSIVE"})  # fmt: skip
    for child in (server, bot):
        child.log.unlink(missing_ok=True)  # what an earlier run told is not this one's
    async with children(server, bot):
        deadline = clock.now() + START_S
        while not (await asyncio.to_thread(answers, f"{base}/health") and turns_of(bot.log, "ready")):
            for child in (server, bot):
                if child.failure is not None:
                    raise child.failure
            if clock.now() > deadline:
                raise OpenOmniError(f"Pipecat is not ready after {START_S:.0f} s; see {bot.log}")
            await asyncio.sleep(0.2)
        yield ports[1], bot.log


def pipeline_instructions(pipeline: spec.Pipeline) -> str:
    return next(stage.framework.instructions or "" for stage in pipeline.stages if stage.kind == "llm")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def turns_of(log: Path, event: str = "turn") -> list[dict[str, Any]]:
    """The events of a kind that the bot told so far."""
    if not log.is_file():
        return []
    lines = (line for line in log.read_text(errors="replace").splitlines() if line.startswith('{"event"'))
    return [told for line in lines if (told := json.loads(line))["event"] == event]


class PipecatCaller(SyntheticCaller):
    """The same microphone and the same ear, at Pipecat's socket."""

    @contextlib.asynccontextmanager
    async def talk(self, port: int) -> AsyncIterator[None]:
        self._ear(lambda playback: None)
        async with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as socket:

            async def speak() -> None:
                async for block in self.room.capture():
                    await socket.send(block.pcm)

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(speak()), group.create_task(self._hear(socket))]
                await asyncio.sleep(LEAD_IN_S)
                yield
                for task in tasks:
                    task.cancel()

    async def _hear(self, socket: Any) -> None:
        """Sound of one reply after another: each lasts until an interruption, or until nothing more came."""
        number, offset, until = 0, 0, 0.0
        current: str | None = None
        while True:
            try:
                quiet = None if current is None else max(until + GAP_S - clock.now(), 0.0)
                message = await asyncio.wait_for(socket.recv(), quiet)
            except TimeoutError:
                message = ""
            if isinstance(message, str):
                if current is not None:
                    self.ear.end(current, "cancelled" if message else "completed")
                current = None
                continue
            if current is None:
                number, offset, until = number + 1, 0, clock.now()
                current = f"{number:032x}"
            self.ear.play(ReplyChunk(current, REPLY_RATE, offset, message))
            offset += len(message) // 2
            until = max(until, clock.now()) + len(message) / 2 / REPLY_RATE


# ---- what is measured ----


@dataclass(slots=True)
class Row:
    """One utterance as one side took it."""

    name: str
    what: str
    seconds: float
    voice_to_voice_s: float | None
    cut: bool = False


@dataclass(slots=True)
class Side:
    name: str
    caller: SyntheticCaller
    asked: list[tuple[str, SaidUtterance, HeardReply | None]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    async def ask(self, what: str, utterance: SpokenUtterance) -> None:
        caller = self.caller
        said = await caller.say(utterance)
        await caller.until(lambda: caller.answering(said) is not None, ANSWER_S)
        self.asked.append((what, said, caller.answering(said)))
        await caller.until(lambda: not caller.being_heard, LISTENS_S)
        await asyncio.sleep(THINKS_S)

    def settle(self, decided: Sequence[float]) -> None:
        """When the call is over. `decided`: stamps at which an end of turn was decided."""
        for what, said, reply in self.asked:
            wait = round(reply.audible - said.end, 4) if reply is not None and reply.audible is not None else None
            cut = any(said.start < at < said.end for at in decided)
            self.rows.append(Row(said.utterance.name, what, round(said.utterance.seconds, 3), wait, cut))


async def measure(pipeline: spec.Pipeline, python: Path, asked: Corpus, logs: Path | None) -> list[Side]:
    ours, theirs = Side("openomni", SyntheticCaller(1)), Side("pipecat", PipecatCaller(1))
    assert isinstance(theirs.caller, PipecatCaller)
    with tempfile.TemporaryDirectory(prefix="pipecat-") as temporary:
        folder = Path(temporary)
        progress("starting both")
        async with (
            running(agent_for(pipeline, pipeline.name)) as stack,
            pipecat(pipeline, python, logs or folder) as (port, log),
        ):
            await stack.server.warm()
            calling = ours.caller.call(stack.url, stack.token, pipeline.name, folder / "replies")
            async with calling, theirs.caller.talk(port):
                await take_turns([ours, theirs], asked)
        began = ours.caller.room.began
        ours.settle([began + decided(turn) for turn in ours.caller.turns if turn["segments"]])
        theirs.settle([turn["at"] for turn in turns_of(log)])
    return [ours, theirs]


async def take_turns(sides: Sequence[Side], asked: Corpus) -> None:
    warm_up, *questions = asked.questions
    mixed = interleaved(questions, asked.paused)
    for side in sides:
        await side.ask("warm-up", warm_up)
    for number, (what, utterance) in enumerate(mixed):
        if number % 5 == 0:
            progress(f"{number} of {len(mixed)} utterances")
        for side in sides if number % 2 else reversed(sides):
            await side.ask(what, utterance)


def interleaved(
    questions: Sequence[SpokenUtterance], paused: Sequence[SpokenUtterance]
) -> list[tuple[str, SpokenUtterance]]:
    mixed = [((place + 0.5) / len(questions), "question", each) for place, each in enumerate(questions)]
    mixed += [((place + 0.5) / len(paused), "paused", each) for place, each in enumerate(paused)]
    return [(what, utterance) for _, what, utterance in sorted(mixed, key=lambda each: each[0])]


def compare(sides: Sequence[Side]) -> dict[str, float]:
    found: dict[str, float] = {}
    for side in sides:
        plain = [row for row in side.rows if row.what == "question"]
        waits = [row.voice_to_voice_s for row in plain if row.voice_to_voice_s is not None]
        paused = [row.cut for row in side.rows if row.what == "paused"]
        for share in (50, 95):
            if (value := figures.percentile(waits, share)) is not None:
                found[f"{side.name}_voice_to_voice_p{share}_s"] = round(value, 4)
        found[f"{side.name}_answered"] = len(waits)
        found[f"{side.name}_questions"] = len(plain)
        if paused:
            found[f"{side.name}_false_cut_rate"] = round(sum(paused) / len(paused), 4)
    for share in (50, 95):
        ours, theirs = (found.get(f"{name}_voice_to_voice_p{share}_s") for name in ("openomni", "pipecat"))
        if ours and theirs:
            found[f"ratio_p{share}"] = round(theirs / ours, 3)
    return found


def table(found: dict[str, float]) -> list[str]:
    lines = [f"{'':<34}{'OpenOmni':>10}{'Pipecat':>10}"]
    for name, label in (("voice_to_voice_p50_s", "voice to voice, p50 (s)"), ("voice_to_voice_p95_s", "  p95 (s)"),
                        ("answered", "questions answered"), ("questions", "  of"),
                        ("false_cut_rate", "cut at a pause in a sentence")):  # fmt: skip
        values = [found.get(f"{side}_{name}") for side in ("openomni", "pipecat")]
        lines.append(f"{label:<34}" + "".join(f"{'–' if value is None else f'{value:g}':>10}" for value in values))
    ratios = [(share, found.get(f"ratio_p{share}")) for share in (50, 95)]
    return lines + [f"Pipecat's caller waits {ratio:g} times as long at p{share}" for share, ratio in ratios if ratio]


def progress(what: str) -> None:
    print(f"· {what} … (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
