"""Stages with given timings, and what to wait for when processes come and go."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from e2e.conftest import Installation
from openomni.bus.server import binary
from openomni.cli.processes import free_port

T = TypeVar("T")

QUESTION = Path(__file__).parents[2] / "src/openomni/cli/data/question.wav"
"""2.2 s of speech, one utterance."""
EARS_AND_MOUTH = "host,stt:simulated,tts:simulated"
EVERYTHING = f"{EARS_AND_MOUTH},llm:simulated"


def pipeline(name: str, *, llm_s: float = 0.1, tts_s: float = 0.05, reply_s: float = 0.5) -> dict[str, Any]:
    """A pipeline of simulated stages; seconds to the first word, to a clause's first sound, and of a clause."""
    return {
        "name": name,
        "stages": [
            {"stt": "simulated", "text": "What is the capital of France?"},
            {"llm": "simulated", "first_token_s": llm_s, "text": "It is Paris."},
            {"tts": "simulated", "first_chunk_s": tts_s, "seconds": reply_s},
        ],
        "turn_taking": {"vad": "energy", "end_of_turn_silence": 0.3},
    }


def until(there: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """Asks again until there is something; says `what` never came."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def children(made: Installation, part: str) -> list[psutil.Process]:
    """The processes below `openomni up` that have `part` in their command line."""
    found = psutil.Process(made.processes["up"].pid).children(recursive=True)
    return [each for each in found if part in _command(each)]


def kill(made: Installation, part: str) -> None:
    """SIGKILL, and waits until its supervisor has started it anew."""
    (process,) = children(made, part)
    process.kill()
    until(lambda: any(each.pid != process.pid for each in children(made, part)), f"{part} is not started again")


def _command(process: psutil.Process) -> list[str]:
    try:
        line = process.cmdline()
    except psutil.Error:
        return []
    return [Path(word).name for word in line]


def healthy(made: Installation) -> bool:
    try:
        return made.request("GET", "/healthz").status_code == 200
    except Exception:
        return False


def busy(made: Installation, *names: str) -> str:
    """The first of these agents that is at work; empty when none is."""
    agents = made.request("GET", "/api/v1/agents").json()["items"]
    return next((each["name"] for each in agents if each["name"] in names and each["busy"]), "")


@contextmanager
def external_bus(made: Installation, data: Path) -> Iterator[str]:
    """A `nats-server` that someone else runs, told whom to trust as the manual says; its address."""
    trust = made.run("api", "--data-dir", str(data), "bus-config")
    assert trust.returncode == 0, trust.stderr
    port = free_port()
    configuration = made.folder / "nats.conf"
    configuration.write_text(
        f'listen: 127.0.0.1:{port}\njetstream: {{ store_dir: "{made.folder / "nats"}" }}\n{trust.stdout}'
    )
    with (made.folder / "nats.log").open("wb") as log:
        process = subprocess.Popen([str(binary()), "--config", str(configuration)], stdout=log, stderr=log)
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def apart(folder: Path, gateway: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """A bus, an API and a gateway, each started by its own command; `gateway`: variables of the latter."""
    made, data, ready = Installation(folder), folder / "data", folder / "api.ready"
    with external_bus(made, data) as bus:
        try:
            made.start(
                "api", "api", "--data-dir", str(data), "--port", "0", "--bus-url", bus, "--ready-file", str(ready)
            )
            made.wait_for(ready, "api")
            api = json.loads(ready.read_text())
            made.token, port = api["token"], free_port()
            made.url = f"http://127.0.0.1:{port}"
            made.start(
                "gateway", "gateway", "--api", api["url"], "--bus", bus, "--port", str(port), "--data-dir", str(data),
                **(gateway or {}),
            )  # fmt: skip
            until(lambda: healthy(made), "the gateway does not serve")
            yield made
        finally:
            made.stop()
