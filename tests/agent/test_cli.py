"""`openomni agent` as its users start it: one line for what they can mend."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.backend import DEVICE_TOKEN, Backend
from openomni.cli.access import NO_TOKEN

Start = Callable[..., Any]


async def said(agent: Any) -> tuple[int, str]:
    """Its exit code and its last line; there is no traceback."""
    code = await agent.ended()
    text = agent.log.read_text()
    assert "Traceback" not in text
    return code, text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("offer", "code", "line"),
    [
        ("stt:simulatd", 2, "openomni: unknown stt component 'simulatd'; did you mean 'simulated'?"),
        ("hots", 2, "openomni: --offer: unknown 'hots'; did you mean 'host'?"),
        ("speaker", 1, "openomni: --offer: no speaker component is usable here; "),
    ],
)
async def test_an_offer_that_cannot_be_met(backend: Backend, start: Start, offer: str, code: int, line: str) -> None:
    ended, last = await said(await start("one", offer, wait=False))
    assert ended == code
    assert last.startswith(line)


async def test_a_token_that_is_unknown_or_lacks_the_scope(backend: Backend, start: Start) -> None:
    code, line = await said(await start("one", "stt:simulated", wait=False, token="oo_9_wrong"))
    assert code == 1
    assert "does not accept the token" in line
    code, line = await said(await start("two", "stt:simulated", wait=False, token=DEVICE_TOKEN))
    assert code == 1
    assert "use one with the scope `agent`" in line


@pytest.mark.long
async def test_a_server_that_is_not_there(backend: Backend, start: Start) -> None:
    await backend.stop_api()
    code, line = await said(await start("one", "stt:simulated", wait=False))
    await backend.start_api()
    assert code == 1
    assert line.startswith(f"openomni: cannot reach {backend.url}")


async def test_no_token_and_no_server(start: Start, tmp_path: Path) -> None:
    code, line = await said(await start("one", "stt:simulated", wait=False, token=""))
    assert (code, line) == (2, "openomni: " + NO_TOKEN.format("agent"))


@pytest.mark.long
async def test_a_folder_and_a_name_are_for_one_agent(backend: Backend, start: Start, tmp_path: Path) -> None:
    first = await start("one", "stt:simulated")
    code, line = await said(await start("one", "stt:simulated", wait=False))
    assert code == 1
    assert "another agent works in" in line
    code, line = await said(await start("one", "stt:simulated", "--data-dir", str(tmp_path / "own"), wait=False))
    assert code == 1
    assert "an agent named one is at work in project default; give this one another --name" in line
    first.terminate()
    assert await first.ended() == 0


async def test_it_registers_what_it_is_and_what_it_offers(backend: Backend, start: Start) -> None:
    agent = await start("one", "host,stt:simulated", "--slots", "3")
    (known,) = backend.agents.values()
    assert agent.ready["agent_id"] in backend.agents
    assert known["name"] == "one"
    assert known["roles"] == ["host"]
    assert known["slots"] == 3
    assert known["machine"]["cores"] >= 1
    offered = {(each["kind"], each["name"]): each for each in known["components"]}
    transcriber = offered["stt", "simulated"]
    assert transcriber["schema"]["properties"]["delay_s"]["default"] == 0.05
    assert transcriber["package"] == "openomni"
    assert transcriber["version"]
    (here,) = await backend.there("one")
    assert here.roles == ["host"]
    assert here.health == ""


async def test_what_is_to_be_warm_is_loaded_before_it_is_ready(backend: Backend, start: Start, tmp_path: Path) -> None:
    pipeline = tmp_path / "mine.yaml"
    pipeline.write_text("name: mine\nstages: [{stt: simulated, delay_s: 0.1}]\nturn_taking: {vad: energy}\n")
    agent = await start("one", "host,stt:simulated", "--warm", str(pipeline))
    assert "warmed stt:simulated" in agent.log.read_text()


async def test_a_pipeline_to_warm_that_is_wrong(backend: Backend, start: Start, tmp_path: Path) -> None:
    pipeline = tmp_path / "mine.yaml"
    pipeline.write_text("name: mine\nstages: [{stt: simulated, delay: 0.1}]\n")
    code, line = await said(await start("one", "stt:simulated", "--warm", str(pipeline), wait=False))
    assert code == 2
    assert "unknown parameter 'delay'; did you mean 'delay_s'?" in line
    code, line = await said(await start("two", "stt:simulated", "--warm", "nosuch", wait=False))
    assert code == 2
    assert "nosuch" in line


async def test_the_server_can_ask_an_agent_to_drain(backend: Backend, start: Start) -> None:
    from openomni.bus import subjects

    agent = await start("one", "stt:simulated")
    await backend.bus.request(subjects.drain("default", agent.ready["agent_id"]))
    assert await agent.ended() == 0
    assert "draining" in agent.log.read_text()


@pytest.mark.long
async def test_the_first_address_of_the_bus_that_answers_is_taken(backend: Backend, start: Start) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        backend.bus_urls = [f"nats://127.0.0.1:{unused.getsockname()[1]}", backend.nats.url]
        await start("one", "stt:simulated")


async def test_it_can_be_stopped_while_it_still_looks_for_the_bus(backend: Backend, start: Start) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        backend.bus_urls = [f"nats://127.0.0.1:{unused.getsockname()[1]}"]
        agent = await start("one", "stt:simulated", wait=False)
        await backend.until(lambda: backend.registrations)
        agent.terminate()
        assert await agent.ended() == 0
