"""Sessions of an experiment's cells: opened by agents, which open no others."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import TOKEN, World

AGENT = "oo_0000bbbb_agent"


async def test_an_agent_opens_the_session_of_a_cell_and_its_host_is_told(world: World) -> None:
    world.api.allow(AGENT, "agent")
    host = await world.host()
    client = await world.connect(token=AGENT, OpenOmni_Version="0.2.0")
    await client.hello(cell="c1", origin="experiment", source="caller")
    opening = (await host.session()).opening
    assert (opening.cell, opening.origin, opening.made_by) == ("c1", "experiment", "0000bbbb")


@pytest.mark.parametrize(
    ("token", "hello", "code"),
    [
        (AGENT, {}, "missing_scope"),
        (AGENT, {"origin": "experiment"}, "missing_scope"),
        (AGENT, {"cell": "c1"}, "no_cell"),
        (AGENT, {"cell": "c1", "origin": "person"}, "no_cell"),
        (TOKEN, {"cell": "c1", "origin": "experiment"}, "no_cell"),
    ],
)
async def test_nobody_else_has_a_cell_and_an_agent_no_session_without_one(
    world: World, token: str, hello: dict[str, Any], code: str
) -> None:
    world.api.allow(AGENT, "agent")
    host = await world.host()
    client = await world.connect(token=token, OpenOmni_Version="0.2.0")
    await client.send({"type": "openomni.hello", "version": "0.2.0", **hello})
    assert (await client.until("error"))["error"]["code"] == code
    assert host.opened.empty()


async def test_an_agents_token_without_a_hello_opens_nothing(world: World) -> None:
    world.api.allow(AGENT, "agent")
    host = await world.host()
    client = await world.connect(token=AGENT)
    await client.send({"type": "input_audio_buffer.append", "audio": ""})
    assert (await client.until("error"))["error"]["code"] == "missing_scope"
    assert host.opened.empty()
