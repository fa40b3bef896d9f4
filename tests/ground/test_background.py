"""Background work is never over unseen."""

from __future__ import annotations

import asyncio
import logging

import pytest

import virtual_time
from openomni import clock
from openomni.background import Background, to_the_end, troubles
from openomni.errors import OpenOmniError


def test_what_raises_is_run_again_after_ever_longer_pauses() -> None:
    at: list[float] = []

    async def work() -> None:
        at.append(clock.now())
        if len(at) < 5:
            raise OpenOmniError("the API is away")

    async def main() -> Background:
        background = Background(work, "asking", first=1.0, longest=3.0)
        await asyncio.sleep(30)
        return background

    background = virtual_time.run(main())
    assert at == [0.0, 1.0, 3.0, 6.0, 9.0]
    assert background.done
    assert background.failures == 4
    assert background.trouble == ""


def test_health_says_what_does_not_run_and_no_longer_when_it_does() -> None:
    count = 0

    async def work() -> None:
        nonlocal count
        count += 1
        if count == 1:
            raise OpenOmniError("the disk is full")
        await asyncio.sleep(1000)

    async def main() -> None:
        async with Background(work, "writing", first=2.0):
            await asyncio.sleep(1)
            assert troubles() == {"writing": "the disk is full"}
            await asyncio.sleep(10)
            assert troubles() == {}

    virtual_time.run(main())


def test_the_pause_is_short_again_after_it_went_well() -> None:
    at: list[float] = []

    async def work() -> None:
        at.append(clock.now())
        if len(at) == 4:
            await asyncio.sleep(60)
        raise OpenOmniError("away")

    async def main() -> None:
        async with Background(work, "asking", first=1.0, longest=10.0):
            await asyncio.sleep(69)

    virtual_time.run(main())
    assert at == [0.0, 1.0, 3.0, 7.0, 68.0]


def test_an_unforeseen_error_is_logged_with_its_place_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError("no turns")

    async def main() -> None:
        async with Background(work, "counting"):
            await asyncio.sleep(1)

    with caplog.at_level(logging.WARNING):
        virtual_time.run(main())
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]
    assert "counting failed: no turns; again in 0.5 s" in caplog.text


def test_stopping_ends_the_work_too() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(1000)
        finally:
            ended = True

    async def main() -> None:
        background = Background(work, "waiting")
        await asyncio.sleep(1)
        await background.stop()
        assert ended
        assert background.done

    virtual_time.run(main())


def test_work_that_loses_a_cancellation_is_told_again() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    async def main() -> None:
        background = Background(work, "waiting")
        await asyncio.sleep(1)
        async with asyncio.timeout(5):
            await background.stop()
        assert background.done

    virtual_time.run(main())
    assert lost == 2


async def test_what_is_waited_for_to_its_end_is_done_though_its_waiter_is_cancelled() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await go_on.wait()
        done.append("work")

    async def waiter() -> None:
        try:
            await to_the_end(work())
        finally:
            done.append("waiter")

    waiting = asyncio.create_task(waiter())
    await begun.wait()
    waiting.cancel()
    await asyncio.sleep(0)
    assert done == []
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done == ["work", "waiter"]
