from __future__ import annotations

import asyncio

import pytest

from openomni.pipeline.beside import Beside


async def test_what_breaks_off_is_told_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("out of paper")

    beside = Beside()
    await asyncio.wait({beside.start(fail(), "printing")})
    await asyncio.sleep(0)
    assert caplog.messages == ["printing broke off"]
    assert "out of paper" in caplog.text


async def test_stopping_ends_all_and_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    beside = Beside()
    tasks = [beside.start(asyncio.Event().wait(), "waiting") for _ in range(3)]
    await beside.stop()
    assert all(task.cancelled() for task in tasks)
    assert not [each for each in caplog.records if each.name.startswith("openomni")]
