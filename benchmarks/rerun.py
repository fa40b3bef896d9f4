"""Whether turns that are run again come out the same: live turns of a pipeline, as `openomni bench live` makes them,
and then each of them again through `openomni turns rerun`.

    python benchmarks/rerun.py --turns 60 --json rerun.json

It speaks in real time: 60 questions take about 12 minutes, and the reruns a minute more. Beside the questions there
are utterances with a pause inside and interruptions, so there are more turns than questions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx

from openomni.bench import corpus, live, machine
from openomni.cli.chosen import find
from openomni.cli.processes import command
from openomni.cli.stack import Stack, agent_for, check_and_pull, running


async def main(options: argparse.Namespace) -> None:
    pipeline = find(options.pipeline)
    check_and_pull(pipeline)
    asked = corpus.build(options.turns, options.paused, options.seed, None, told)
    corpus.let_go()
    async with running(agent_for(pipeline, options.pipeline)) as stack:
        await stack.know(pipeline)
        await stack.server.warm()
        measured = await live.measure(stack.url, stack.token, pipeline.name, asked, 1, options.seed, stack.folder, told)
        found = await asyncio.to_thread(again, stack, options)
    figures = {
        "turns": found["of"],
        "same": found["same"],
        "same_and_whole": sum(each["same"] and None not in each["stages"].values() for each in found["reruns"]),
        **{f"differs_first_in_{name}": count for name, count in first_differences(found).items()},
        "answered": measured.figures["answered"],
    }
    for name, value in figures.items():
        print(f"{name:<32} {value}")
    if options.json:
        settings = {"pipeline": pipeline.name, "pipeline_hash": pipeline.hash, "turns": options.turns,
                    "paused": options.paused, "seed": options.seed}  # fmt: skip
        content = {"figures": figures, "machine": machine.describe(), "settings": settings, **found}
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def again(stack: Stack, options: argparse.Namespace) -> dict:
    """What `openomni turns rerun --json` says of all turns that are over."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        page = client.get("/api/v1/turns", params={"status": "completed", "limit": 500}).raise_for_status().json()
    turns = [turn["turn_id"] for turn in page["items"]][::-1]
    file = stack.folder / "rerun.json"
    environment = {**os.environ, "OPENOMNI_SERVER": stack.url, "OPENOMNI_TOKEN": stack.token}
    told(f"running {len(turns)} turns again")
    more = [argument for each in options.rerun for argument in each.split()]
    subprocess.run([*command("turns", "rerun", *turns, *more, "--json", str(file))], env=environment, check=True)
    found = json.loads(file.read_text())
    was = {turn["turn_id"]: turn for turn in page["items"]}
    return {**found, "was": [was[each["reruns"]] for each in found["reruns"]]}


def first_differences(found: dict) -> Counter[str]:
    return Counter(each["first"]["stage"] for each in found["reruns"] if each["first"])


def told(what: str) -> None:
    print(f"· {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pipeline", default="local", help="a built-in one, or a YAML file")
    parser.add_argument("--turns", type=int, default=60, help="questions")
    parser.add_argument("--paused", type=int, default=0, help="utterances with a pause inside")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rerun", action="append", default=[], help="options for `turns rerun`, such as '--from llm'")
    parser.add_argument("--json", type=Path)
    asyncio.run(main(parser.parse_args()))
