"""What `up` and `demo` tell of an agent that can't join, without starting all of it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from openomni.children import Child, children
from openomni.cli import all_in_one
from openomni.cli.all_in_one import AllInOne, Tokens
from openomni.cli.logs import FORMAT, complaint
from openomni.errors import OpenOmniError

AGENT = f"""
import logging, pathlib, sys, time
logging.basicConfig(format={FORMAT!r}, level="INFO")
logging.info("warming")
logging.warning("cannot reach the hub (502); is it up?; trying again in %.1f s", 0.4)
sys.stdin.read()
while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AllInOne:
    monkeypatch.setattr(all_in_one, "PATIENCE_S", 0.01)
    ready = tmp_path / "ready"
    agent = Child("agent", [sys.executable, "-c", AGENT, str(tmp_path / "mended"), str(ready)], tmp_path / "agent.log")
    return AllInOne("http://localhost", Tokens("", ""), "", "", [agent], ready)


async def test_an_agent_that_can_not_join_ends_who_waits_for_it(server: AllInOne) -> None:
    async with children(*server.parts):
        with pytest.raises(
            OpenOmniError, match=r"the agent can't join: cannot reach the hub \(502\); is it up\? \(log"
        ):
            await server.warm()


async def test_or_is_told_once_and_waited_for(server: AllInOne, tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with children(*server.parts):
        waiting = asyncio.create_task(server.warm(told.put_nowait))
        assert await told.get() == "the agent can't join yet: cannot reach the hub (502); is it up?"
        (tmp_path / "mended").touch()
        await waiting
    assert told.empty()


def test_only_what_is_wrong_is_a_complaint() -> None:
    assert complaint("2026-01-01 10:00:00,123 INFO openomni.agent: warmed stt in 2.1 s") == ""
    assert complaint("2026-01-01 10:00:00,123 ERROR openomni.agent: no: not so") == "no: not so"
    assert complaint("Traceback (most recent call last):") == complaint("") == ""
