"""The process of one call: the plan comes as JSON on a line of the standard input, the outcome goes out as JSON.

The end of the input, which comes with the death of whoever asked, ends the call in order, and so does SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys

import msgspec

from ..bounds import MAX_LINE
from ..client.caller.call import CallOutcome, CallPlan, conduct
from ..components.worker import leave
from ..errors import MediaError, OpenOmniError, WrongUsage
from ..storage.api import Refused

log = logging.getLogger(__name__)


async def _main() -> CallOutcome:
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    plan = msgspec.json.decode(await asked.readline(), type=CallPlan)
    calling = asyncio.create_task(_conduct(plan))
    loop.add_signal_handler(signal.SIGTERM, calling.cancel)
    leaving = asyncio.create_task(_left(asked, calling))
    try:
        return await calling
    except OpenOmniError as error:
        final = isinstance(error, Refused | MediaError | WrongUsage)
        return CallOutcome(error=" ".join(str(error).split()), passing=not final)
    except Exception as error:
        log.exception("the call failed")
        return CallOutcome(error=f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_LINE])
    finally:
        leaving.cancel()


async def _conduct(plan: CallPlan) -> CallOutcome:
    if plan.player is None:
        return await conduct(plan)
    # What only a component needs is not loaded for recordings.
    from .player import PlayerAtWork

    async with PlayerAtWork.ready(plan.player, plan) as player:
        outcome = await conduct(plan, player)
    outcome.builds = player.builds
    return outcome


async def _left(asked: asyncio.StreamReader, calling: asyncio.Task[CallOutcome]) -> None:
    await asked.read()
    calling.cancel()


def main() -> None:
    # The outcome alone goes to who asked; what a component prints goes to the log.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt), out:
        out.write(msgspec.json.encode(asyncio.run(_main())))
    leave(0)


if __name__ == "__main__":
    main()
