"""The process in which a call is played: what is measured there does not wait for whatever this agent does."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import msgspec

from ..client.caller.call import CallOutcome, CallPlan

GRACE_S = 5.0
"""How long a call that is given up may take to say goodbye to its gateway."""


async def conduct(plan: CallPlan) -> CallOutcome:
    """Plays the call; cancelled, it ends it. What went wrong is in the outcome."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openomni.agent.call_main", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # What it is told has the token in it: no place for that on a command line. The pipe stays open, for its end
        # says that this agent is gone.
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        said = await process.stdout.read()
        code = await process.wait()
    finally:
        await asyncio.shield(_end(process))
    try:
        return msgspec.json.decode(said, type=CallOutcome)
    except msgspec.MsgspecError:
        return CallOutcome(error=f"the caller's process ended with code {code} and said nothing", passing=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
