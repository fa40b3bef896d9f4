"""What experiments at fast pace cost beside a bare loop: the same utterances through the same components, in turn.

    python benchmarks/fast_pace.py --rounds 3 --agents 1

Each agent has one slot, as each loop does one utterance at a time; `--slots` gives them more.

The bare loop is a process that imports the components alone, one utterance after another, in as many processes as
there are agents. The other side is `openomni experiment run` on as many agents. Both are warm before the clock starts;
the figure is the turns a minute of the experiment's cells ÷ those of the loop, of the medians of the rounds. Let the
machine do nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from openomni.bench import machine
from openomni.cli.chosen import find
from openomni.cli.processes import command
from openomni.cli.stack import Stack, agent_for, check_and_pull, running

DATASET = "builtin:questions"
BARE = """
import json, sys, time
from pathlib import Path
from openomni.components.llm.llama_cpp import LlamaCpp
from openomni.components.stt.faster_whisper import FasterWhisper
from openomni.components.tts.piper import Piper
from openomni.events import Message
from openomni.media import Audio

folder, share, of, parameters = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
stt, llm, tts = FasterWhisper(**parameters["stt"]), LlamaCpp(**parameters["llm"]), Piper(**parameters["tts"])
samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()][share::of]

def run(sample):
    told, turns = [Message("system", parameters["instructions"])], 0
    for utterance in sample.get("utterances") or [sample]:
        audio = Audio.load(folder / utterance["path"])
        told.append(Message("user", stt.transcribe(audio).text))
        reply = "".join(each if isinstance(each, str) else getattr(each, "text", "") for each in llm.generate(told))
        told.append(Message("assistant", reply))
        for _ in tts.synthesize(reply) if reply.strip() else ():
            pass
        turns += 1
    return turns

run(samples[0])
print("warm", flush=True)
sys.stdin.readline()
began = time.monotonic()
turns = sum(map(run, samples))
print(json.dumps({"turns": turns, "seconds": time.monotonic() - began}), flush=True)
"""


async def main(options: argparse.Namespace) -> None:
    pipeline = find("local")
    check_and_pull(pipeline)
    stages = {stage.kind: dict(stage.parameters) for stage in pipeline.stages}
    instructions = next(stage.framework.instructions for stage in pipeline.stages if stage.kind == "llm")
    rates: dict[str, list[float]] = {"bare": [], "experiment": []}
    os.environ["OPENOMNI_SLOTS"] = str(options.slots)  # all agents are children of this process
    async with running(agent_for(pipeline, "local")) as stack:
        await stack.server.warm()
        folder = stack.folder / "questions"
        told = await asyncio.to_thread(openomni, stack, "dataset", "import", DATASET, "--name", "questions")
        told += await asyncio.to_thread(
            openomni, stack, "dataset", "export", "questions", "--format", "jsonl", "--out", str(folder)
        )
        more = {f"agent-{number}": "host,stt,llm,tts,vad,turn" for number in range(1, options.agents)}
        async with stack.agents(more):
            for number in range(options.rounds):
                rates["bare"].append(
                    await asyncio.to_thread(bare, folder, options.agents, {**stages, "instructions": instructions})
                )
                rates["experiment"].append(await asyncio.to_thread(experiment, stack, f"round-{number}"))
                print(f"round {number + 1}: {', '.join(f'{name} {each[-1]:.1f}' for name, each in rates.items())} "
                      "turns a minute", flush=True)  # fmt: skip
    figures = {f"{name}_turns_a_minute": median(each) for name, each in rates.items()}
    figures["share"] = figures["experiment_turns_a_minute"] / figures["bare_turns_a_minute"]
    for name, value in figures.items():
        print(f"{name:<32} {value:.3f}")
    if options.json:
        settings = {"agents": options.agents, "slots": options.slots, "rounds": options.rounds, "rates": rates}
        content = {"figures": figures, "machine": machine.describe(), "settings": settings}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


def openomni(stack: Stack, *arguments: str) -> str:
    environment = {"OPENOMNI_SERVER": stack.url, "OPENOMNI_TOKEN": stack.token}
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=dict(os.environ) | environment
    )
    if done.returncode:
        sys.exit(f"openomni {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def bare(folder: Path, processes: int, parameters: dict[str, Any]) -> float:
    """Turns a minute of so many processes, each with its share of the samples."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", BARE, str(folder), str(number), str(processes), json.dumps(parameters)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    for each in running:
        assert each.stdout is not None
        if each.stdout.readline().strip() != "warm":
            sys.exit("the bare loop did not become warm")
    began = time.monotonic()
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    turns = sum(json.loads(each.communicate()[0].splitlines()[-1])["turns"] for each in running)
    return 60 * turns / (time.monotonic() - began)


def experiment(stack: Stack, name: str) -> float:
    """Turns a minute from the first counted cell's claim to the last one's end."""
    openomni(stack, "experiment", "run", "questions", "--pipelines", "local", "--name", name)
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(base_url=f"{stack.url}/api/v1", headers=headers, timeout=60, trust_env=False) as client:
        cells = client.get(f"/experiments/{name}/cells", params={"limit": 500}).raise_for_status().json()["items"]
        turns = client.get(f"/experiments/{name}").raise_for_status().json()["turns"]["total"]
    counted = [cell for cell in cells if cell["repeat"]]
    at = [datetime.fromisoformat(cell[key]).timestamp() for cell in counted for key in ("started_at", "ended_at")]
    return 60 * turns / (max(at) - min(at))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--agents", type=int, default=1)
    parser.add_argument("--slots", type=int, default=1, help="of each agent")
    parser.add_argument("--json", type=Path)
    asyncio.run(main(parser.parse_args()))
