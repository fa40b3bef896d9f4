"""A process that ends while a model is at work in native code ends with its own exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import asyncio, atexit, sys, time
from openomni.components.worker import CallThread, leave

atexit.register(lambda: print("left"))

async def main():
    call = CallThread("slow").submit(time.sleep, {seconds})
    await asyncio.wait([call], timeout=0.3)

asyncio.run(main())
print("said")
leave(3)
print("went on")
sys.exit(4)
"""


@pytest.mark.parametrize(("seconds", "code", "said"), [(60, 3, ["said", "left"]), (0, 4, ["said", "went on", "left"])])
def test_what_is_still_running_does_not_decide_how_it_ends(seconds: int, code: int, said: list[str]) -> None:
    command = [sys.executable, "-c", CODE.format(seconds=seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.split("\n")[:-1]) == (code, said), done.stderr
