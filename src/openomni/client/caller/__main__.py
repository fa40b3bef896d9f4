"""The process of one call: the plan comes as JSON on a line of the standard input, the outcome goes out as JSON.

The end of the input, which comes with the death of whoever asked, ends the call in order, and so does SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import msgspec

from ...errors import MediaError, OpenOmniError
from ...storage.api import Refused
from .call import CallOutcome, CallPlan, conduct


async def _main() -> CallOutcome:
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    plan = msgspec.json.decode(await asked.readline(), type=CallPlan)
    calling = asyncio.create_task(conduct(plan))
    loop.add_signal_handler(signal.SIGTERM, calling.cancel)
    leaving = asyncio.create_task(_left(asked, calling))
    try:
        return await calling
    except OpenOmniError as error:
        final = isinstance(error, Refused | MediaError)
        return CallOutcome(error=" ".join(str(error).split()), passing=not final)
    finally:
        leaving.cancel()


async def _left(asked: asyncio.StreamReader, calling: asyncio.Task[CallOutcome]) -> None:
    await asked.read()
    calling.cancel()


def main() -> None:
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_main())))


if __name__ == "__main__":
    main()
