"""Child processes: logged, restarted when they crash, ended in order, gone when their parent is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from openomni import children as module
from openomni.background import troubles
from openomni.children import Child, children
from openomni.cli.processes import until
from openomni.errors import OpenOmniError


def script(tmp_path: Path, name: str, code: str) -> Child:
    return Child(name, [sys.executable, "-c", code], tmp_path / f"{name}.log")


WAITING = "import os, pathlib, time; pathlib.Path({ready!r}).write_text(str(os.getpid())); time.sleep(60)"


async def test_what_a_child_says_is_in_its_log(tmp_path: Path) -> None:
    child = script(tmp_path, "talker", "print('hello', flush=True); import time; time.sleep(60)")
    async with children(child):
        while b"hello" not in (child.log.read_bytes() if child.log.exists() else b""):
            await asyncio.sleep(0.01)
    assert child.process is not None
    assert child.process.returncode == -signal.SIGTERM


async def test_one_that_says_what_is_wrong_is_not_started_again(tmp_path: Path) -> None:
    wrong = script(tmp_path, "wrong", "import sys; sys.exit('openomni: no such token; make one')")
    async with children(wrong):
        with pytest.raises(OpenOmniError, match="the wrong ended with exit code 1: no such token; make one"):
            await until(tmp_path / "never", [wrong])
    assert wrong.restarts == 0


async def test_one_that_is_killed_is_started_again(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    child = script(tmp_path, "worker", WAITING.format(ready=str(ready)))
    async with children(child):
        await until(ready, [child])
        first = int(ready.read_text())
        ready.unlink()
        os.kill(first, signal.SIGKILL)
        await until(ready, [child])
        assert child.restarts == 1
        assert child.failure is None


async def test_one_that_always_crashes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CRASHES", 1)
    child = script(tmp_path, "broken", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    async with children(child):
        with pytest.raises(OpenOmniError, match="the broken ended with exit code -11"):
            await until(tmp_path / "never", [child])
    assert child.restarts == 1


async def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.1)
    ready = tmp_path / "ready"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITING.format(ready=str(ready))
    child = script(tmp_path, "deaf", deaf)
    async with children(child):
        await until(ready, [child])
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("code", [0, 3])
async def test_one_that_nobody_asked_to_end_is_started_again_whatever_it_says(tmp_path: Path, code: int) -> None:
    second = tmp_path / "second"
    marker = f"import pathlib, sys, time; p = pathlib.Path({str(tmp_path / 'first')!r})\n"
    again = f"if p.exists(): pathlib.Path({str(second)!r}).touch(); time.sleep(60)\np.touch(); sys.exit({code})"
    child = script(tmp_path, "quitter", marker + again)
    async with children(child):
        await until(second, [child])
    assert child.restarts == 1
    assert child.failure is None


@pytest.mark.parametrize(("code", "line"), [(0, None), (3, "the asker ended with exit code 3: it said nothing")])
async def test_one_that_comes_to_an_end_is_started_once(tmp_path: Path, code: int, line: str | None) -> None:
    child = Child("asker", [sys.executable, "-c", f"raise SystemExit({code})"], tmp_path / "log", comes_to_an_end=True)
    async with children(child):
        assert await child.ended() == code
        while not child.done:
            await asyncio.sleep(0.01)
    assert child.restarts == 0
    assert str(child.failure).startswith(str(line))


async def test_one_that_can_not_be_started_again_at_first_is_later(tmp_path: Path) -> None:
    """Its log's folder is gone, for one."""
    ready, folder = tmp_path / "ready", tmp_path / "logs"
    child = Child("worker", [sys.executable, "-c", WAITING.format(ready=str(ready))], folder / "log", first_wait=0.0)
    async with children(child):
        await until(ready, [child])
        (folder / "log").unlink()
        folder.rmdir()
        folder.touch()
        first = int(ready.read_text())
        ready.unlink()
        os.kill(first, signal.SIGKILL)
        while not troubles():
            await asyncio.sleep(0.01)
        assert troubles().keys() == {"keeping the worker running"}
        folder.unlink()
        await until(ready, [child])
    assert child.failure is None


async def test_a_log_that_grows_is_put_aside_and_nothing_of_its_last_words_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1000)
    monkeypatch.setattr(module, "LOOK_AT_LOG_EVERY", 0.01)
    talks = "import sys, time\nfor n in range(3000): print(n, flush=True)\nsys.stdin.read()\ntime.sleep(60)"
    child = script(tmp_path, "talker", talks)
    assert child.log is not None
    aside = child.log.with_name("talker.log.1")
    async with children(child):
        while child.last_line() != "2999" and not (aside.exists() and aside.read_bytes().endswith(b"2999\n")):
            await asyncio.sleep(0.01)
        while child.log.stat().st_size > 1000:
            await asyncio.sleep(0.01)
    assert aside.stat().st_size > 1000
    assert "".join(f"{n}\n" for n in range(3000)).endswith(child.log.read_text()), "nothing of what was put aside stays"
    assert child.restarts == 0


PARENT = """
import asyncio, sys
from pathlib import Path
from openomni.children import Child, children
from openomni.cli.processes import run, until

async def main():
    ready = Path(sys.argv[1])
    code = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    child = Child("child", [sys.executable, "-c", code, str(ready)], ready.with_suffix(".log"))
    async with children(child):
        await until(ready, [child])
        print("up", flush=True)
        await asyncio.Event().wait()

run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_children_are_gone_when_their_parent_is(tmp_path: Path, number: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "pid")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    child.wait(10)
    assert not child.is_running()
