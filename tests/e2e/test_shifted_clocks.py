"""A turn across processes whose clocks stand seconds apart and drift: everything lies where it was, within what is
said of its uncertainty. The truth is known, for on one machine they are all made of one clock."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e import staging
from e2e.conftest import Installation
from e2e.staging import EARS_AND_MOUTH, QUESTION
from openomni.events import AXIS_RATE

pytestmark = pytest.mark.long

PATCHES = Path(__file__).parent / "shifted_clock"
ERROR_S = 0.005
"""On one machine."""


@dataclass(frozen=True)
class Shifted:
    """A process's clock, as its `sitecustomize` has it."""

    role: str
    apart: float
    drift: float
    began: float
    log: Path

    def variables(self) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(PATCHES), os.environ.get("PYTHONPATH")))),
            "CLOCK_ROLE": self.role, "CLOCK_APART": str(self.apart), "CLOCK_DRIFT": str(self.drift),
            "CLOCK_BEGAN": str(self.began), "CLOCK_LOG": str(self.log),
        }  # fmt: skip

    def at(self, real: float) -> float:
        return real + self.apart + self.drift * (real - self.began)

    def real(self, stamp: float) -> float:
        return (stamp - self.apart + self.drift * self.began) / (1 + self.drift)

    def told(self, what: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line for line in lines if line["what"] == what]


def test_a_turn_across_clocks_that_stand_apart_and_drift(bare: Installation) -> None:
    began = time.monotonic()

    def clock(role: str, name: str, apart: float, drift: float) -> Shifted:
        return Shifted(role, apart, drift, began, bare.folder / f"{name}.clock")

    # The gateway's is the machine's own.
    gateway, host = clock("", "gateway", 0.0, 0.0), clock("agent", "host", 5.0, 1e-4)
    thinker = clock("agent", "thinker", -5.0, -1e-4)
    bare.agents({"host": EARS_AND_MOUTH}, **host.variables())
    bare.agents({"thinker": "llm:simulated"}, **thinker.variables())
    bare.put_pipeline(staging.pipeline("apart"))
    runs = []
    for number in range(3):
        client = clock("client", f"client-{number}", -5.0, 1e-4)
        (turn,) = bare.listen(QUESTION, "--pipeline", "apart", **client.variables())
        runs.append((client, turn))

    # Each time that somebody goes by an offset, it is right.
    used = host.told("offset")
    assert {line["peer"] for line in used} == {"gateway", "thinker"}
    for line in used:
        peer = gateway if line["peer"] == "gateway" else thinker
        error = abs(line["seconds"] - (peer.at(line["at"]) - host.at(line["at"])))
        # It is written a moment after it was made.
        assert error <= line["uncertainty"] + 1e-4, line
        assert error <= ERROR_S, line

    # And so is what comes of them: when the person was silent and when they heard the reply, in the host's eyes.
    accounts = {line["turn_id"]: line for line in host.told("turn")}
    for client, turn in runs:
        account = accounts[turn["turn_id"]]
        stated = next(point["uncertainty_s"] for point in turn["time_points"] if point["name"] == "audible")
        audible = client.real(next(line["stamp"] for line in client.told("audible")))
        # The last sample of speech was captured with the block that holds it.
        block = [line for line in client.told("captured") if line["position"] < account["end"]][-1]
        silent = client.real(block["stamp"]) + (account["end"] - block["position"]) / AXIS_RATE
        for mapped, truth in ((account["audible"], audible), (account["speech_end"], silent)):
            error = abs(host.real(mapped) - truth)
            assert error <= stated + 1e-4
            assert error <= ERROR_S
        assert abs(turn["voice_to_voice_s"] - (audible - silent)) <= ERROR_S
        llm = next(stage for stage in turn["stages"] if stage["kind"] == "llm")
        assert llm["agent"] == "thinker"
        assert llm["model_s"] >= 0.1 - ERROR_S, "as long as it is told to think"
        assert sum(part["end_s"] - part["start_s"] for part in turn["parts"]) == pytest.approx(
            turn["voice_to_voice_s"], abs=1e-4
        )
