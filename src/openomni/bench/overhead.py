"""What the framework itself costs a turn, with stages that take a known time.

Overhead: from the end-of-turn decision to the first reply sound leaving the host, less the model times on the
critical path, as the turn's own account has them. Every turn goes the whole way: client, gateway, bus, host and
stages, each in a process of its own; only where the stages run differs between the two figures.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import clock
from ..client.connection import Link, Received
from ..client.wire import captured_sound
from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..latency import percentile
from ..media import Audio

STT_S, LLM_S, TTS_S = 0.05, 0.1, 0.05
PIPELINE: dict[str, Any] = {
    "name": "bench-overhead",
    "description": "Stages that take a known time.",
    "stages": [
        {"stt": "simulated", "delay_s": STT_S},
        {"llm": "simulated", "first_token_s": LLM_S, "text": "Yes, it is. Thank you for asking."},
        {"tts": "simulated", "first_chunk_s": TTS_S, "seconds": 0.2},
    ],
    "turn_taking": {"vad": "energy"},
}
COMPONENTS = ("stt:simulated", "llm:simulated", "tts:simulated")
FRAME = AXIS_RATE // 50
TURN_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds, one value a turn. `residue` is what the account could give to nobody."""

    overhead: list[float]
    residue: list[float]

    def figures(self, name: str) -> dict[str, float]:
        return {
            figure: round(value or 0.0, 6)
            for figure, value in (
                (f"overhead_{name}_p50_s", percentile(self.overhead, 50)),
                (f"overhead_{name}_p95_s", percentile(self.overhead, 95)),
                (f"residue_{name}_p95_s", percentile(self.residue, 95)),
            )
        }


async def measure(server: str, token: str, turns: int, warm_up: int = 3) -> Overhead:
    """Asks `turns` short questions, one after the other, on one session; the first `warm_up` don't count."""
    asked = await _ask(server, token, turns + warm_up)
    counted = [turn for turn in asked[warm_up:] if turn["status"] == "completed"]
    if len(counted) < turns:
        reasons = {turn["reason"] or turn["status"] for turn in asked if turn["status"] != "completed"}
        raise OpenOmniError(f"{turns - len(counted)} of {turns} turns did not complete: {'; '.join(sorted(reasons))}")
    return Overhead([overhead(turn) for turn in counted], [float(turn["residue_s"]) for turn in counted])


def overhead(turn: dict[str, Any]) -> float:
    """Seconds of one turn's record that no model worked in, from the decision to the reply's first sound."""
    points = {point["name"]: point["at_s"] for point in turn["time_points"]}
    models = sum(part["end_s"] - part["start_s"] for part in turn["parts"] if part["what"] == "model")
    return float(points["reply_sent"] - points["end_of_turn"] - models)


async def _ask(server: str, token: str, count: int) -> list[dict[str, Any]]:
    done: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def receive(event: Received) -> None:
        if not isinstance(event, dict):
            return
        if event.get("type") == "openomni.turn.done":
            done.put_nowait(event["turn"])
        elif event.get("type") == "openomni.session.ended":
            done.put_nowait({"status": "failed", "reason": event.get("reason") or "the session ended", "turn_id": ""})

    hello = {"role": "listener", "audio": "binary", "rate": AXIS_RATE, "source": "bench", "output": True,
             "recording_id": uuid.uuid4().hex}  # fmt: skip
    speech = Audio(0.3 * np.sin(2 * np.pi * 220 * np.arange(AXIS_RATE // 2) / AXIS_RATE), AXIS_RATE)
    turns: list[dict[str, Any]] = []
    async with Link(server, token, f"/v1/realtime?model={PIPELINE['name']}", hello) as link:
        receiving = asyncio.create_task(link.run(receive))
        off = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await link.send({"type": "session.update", "session": off})
        position = 0
        for _ in range(count):
            position = await _say(link, speech, position)
            await link.send({"type": "input_audio_buffer.commit"})
            try:
                async with asyncio.timeout(TURN_TIMEOUT_S):
                    turns.append(await done.get())
            except TimeoutError:
                raise OpenOmniError(f"a turn took longer than {TURN_TIMEOUT_S:.0f} s; see the agents' logs") from None
        await link.close()
        await receiving
    return turns


async def _say(link: Link, speech: Audio, position: int) -> int:
    """Sends half a second of sound at once: its capture is not what is measured."""
    started = clock.now() - speech.duration
    for start in range(0, len(speech.samples), FRAME):
        frame = Audio(speech.samples[start : start + FRAME], AXIS_RATE)
        await link.send(captured_sound(position + start, started + start / AXIS_RATE, frame.pcm16()))
    return position + len(speech.samples)
