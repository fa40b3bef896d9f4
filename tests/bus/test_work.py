"""The work queue: every turn is run, by one agent at a time, and none is lost, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from openomni.bus import dead, subjects
from openomni.bus.connection import Bus, BusError
from openomni.bus.credentials import Keys
from openomni.bus.envelope import REPROCESS, Lane
from openomni.bus.lanes import Lanes
from openomni.bus.streams import cancel, declare, work_consumer
from openomni.bus.work import Claim, TurnWork, Work, WorkQueue, enqueue

from .conftest import Deployment, eventually, restart

ACK_WAIT = 0.6


def turn(turn_id: str, project: str = "default", **fields: Any) -> Work:
    return TurnWork(turn_id=turn_id, session_id="s", pipeline="p", recording="r").work(project, "h", **fields)


@pytest.fixture
async def api(gateway: Bus) -> Bus:
    await work_consumer(gateway, "default", ack_wait=ACK_WAIT)
    return gateway


@pytest.fixture
async def agent(deployment: Deployment, api: Bus) -> Bus:
    return await deployment.agent("a1")


def queue_of(bus: Bus, lane: Lane = REPROCESS, **settings: int) -> WorkQueue:
    return WorkQueue(bus, "default", lane, ack_wait=ACK_WAIT, **settings)


async def claim(queue: WorkQueue) -> Claim:
    async with asyncio.timeout(15):
        return await queue.claim()


async def left(api: Bus) -> int:
    return (await api.jetstream.stream_info(subjects.WORK)).state.messages


async def test_a_turn_is_claimed_once_and_gone_when_done(agent: Bus, api: Bus) -> None:
    async with queue_of(agent) as queue:
        await enqueue(api, turn("t1"))
        claimed = await claim(queue)
        assert (claimed.work.work_id, claimed.attempt, claimed.last) == ("t1", 1, False)
        assert claimed.work.ready_at > 0
        await claimed.done()
    assert await left(api) == 0


async def test_the_same_turn_twice_is_queued_once(agent: Bus, api: Bus) -> None:
    await enqueue(api, turn("t1"))
    assert (await enqueue(api, turn("t1"))).duplicate
    assert not (await enqueue(api, turn("t1").again(0.0))).duplicate
    assert await left(api) == 2


async def test_two_agents_share_the_turns_and_none_gets_another_s(deployment: Deployment, agent: Bus, api: Bus) -> None:
    other = await deployment.agent("a2")
    for i in range(10):
        await enqueue(api, turn(f"t{i}"))
    seen: list[str] = []

    async def work(queue: WorkQueue) -> None:
        async for claimed in queue.claims():
            seen.append(claimed.work.work_id)
            await claimed.done()

    async with queue_of(agent) as mine, queue_of(other) as theirs:
        workers = [asyncio.create_task(work(queue)) for queue in (mine, theirs)]
        await eventually(lambda: len(seen) == 10)
        for worker in workers:
            worker.cancel()
    assert sorted(seen) == sorted(f"t{i}" for i in range(10))


async def test_signs_of_life_keep_a_claim_for_as_long_as_it_takes(agent: Bus, api: Bus) -> None:
    async with queue_of(agent) as queue:
        await enqueue(api, turn("t1"))
        claimed = await claim(queue)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(ACK_WAIT * 3):
                await queue.claim()
        await claimed.done()
    assert await left(api) == 0


async def test_a_failure_is_tried_again_and_then_put_aside_with_its_reason(agent: Bus, api: Bus) -> None:
    async with queue_of(agent, max_attempts=2) as queue:
        await enqueue(api, turn("t1"))
        assert await (await claim(queue)).fail("llm:x raised ValueError", delay=0.01)
        second = await claim(queue)
        assert (second.attempt, second.last) == (2, True)
        assert not await second.fail("llm:x raised ValueError again")
    (letter,) = await dead.dead(api, "default")
    assert (letter.key, letter.reason, letter.attempts) == ("t1", "llm:x raised ValueError again", 2)
    assert msgspec.json.decode(letter.content, type=Work).work_id == "t1"
    assert await left(api) == 0


async def test_a_hopeless_failure_is_not_tried_again(agent: Bus, api: Bus) -> None:
    async with queue_of(agent) as queue:
        await enqueue(api, turn("t1"))
        await (await claim(queue)).fail("the recording is empty", retry=False)
    assert [(letter.key, letter.attempts) for letter in await dead.dead(api, "default")] == [("t1", 1)]


async def test_a_dead_turn_can_be_tried_again_or_discarded(agent: Bus, api: Bus) -> None:
    async with queue_of(agent, max_attempts=1) as queue:
        for turn_id in ("t1", "t2"):
            await enqueue(api, turn(turn_id))
            await (await claim(queue)).fail("broken")
        first, second = await dead.dead(api, "default")
        await dead.retry(api, "default", first.sequence)
        again = await claim(queue)
        assert (again.work.work_id, again.work.attempt, again.attempt) == ("t1", 2, 1)
        await again.done()
        await dead.discard(api, "default", second.sequence)
    assert await dead.dead(api, "default") == []


async def test_another_project_s_dead_can_t_be_retried(agent: Bus, api: Bus) -> None:
    async with queue_of(agent, max_attempts=1) as queue:
        await enqueue(api, turn("t1"))
        await (await claim(queue)).fail("broken")
    (letter,) = await dead.dead(api, "default")
    assert await dead.dead(api, "other") == []
    with pytest.raises(BusError, match="project other has no dead letter 1"):
        await dead.retry(api, "other", letter.sequence)


async def test_a_claim_that_is_left_open_goes_to_the_next(agent: Bus, api: Bus) -> None:
    async with queue_of(agent) as queue:
        await enqueue(api, turn("t1"))
        async with await claim(queue):
            pass
        assert (await claim(queue)).attempt == 2


async def test_a_cancelled_claim_loses_nothing(agent: Bus, api: Bus) -> None:
    async with queue_of(agent) as queue:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await queue.claim()
        await enqueue(api, turn("t1"))
        assert (await claim(queue)).attempt == 1


async def test_what_is_no_turn_is_put_aside(agent: Bus, api: Bus) -> None:
    async with queue_of(agent) as queue:
        await api.store(subjects.work("default"), b'{"from": "the future"}')
        await enqueue(api, turn("t1"))
        assert (await claim(queue)).work.work_id == "t1"
    (letter,) = await dead.dead(api, "default")
    assert letter.reason.startswith("not a turn of this version")
    with pytest.raises(BusError, match="is no turn of this version"):
        await dead.retry(api, "default", letter.sequence)


async def test_each_lane_has_its_own_queue(agent: Bus, api: Bus) -> None:
    await enqueue(api, turn("slow"))
    await enqueue(api, turn("fast", lane="latency", group="e1"))
    async with queue_of(agent, "latency") as queue:
        claimed = await claim(queue)
        assert (claimed.work.work_id, claimed.work.lane, claimed.work.group) == ("fast", "latency", "e1")
        await claimed.fail("broken", retry=False)
    (letter,) = await dead.dead(api, "default")
    assert letter.subject == "oo.default.work.latency.e1.turn"
    await dead.write_back(api, "default", letter.sequence)
    async with queue_of(agent, "latency") as queue:
        assert (await claim(queue)).work.attempt == 2
    async with queue_of(agent) as queue:
        assert (await claim(queue)).work.work_id == "slow"


async def test_a_group_is_cancelled_whatever_its_lane(agent: Bus, api: Bus) -> None:
    for lane in ("reprocess", "throughput", "latency"):
        await enqueue(api, turn(f"{lane}1", lane=lane, group="e1"))
        await enqueue(api, turn(f"{lane}2", lane=lane, group="e2"))
    await cancel(api, "default", "e1")
    assert await left(api) == 3
    async with queue_of(agent, "throughput") as queue:
        assert (await claim(queue)).work.work_id == "throughput2"


async def test_what_a_newer_version_put_into_work_goes_back_with_it(agent: Bus, api: Bus) -> None:
    plain = {**msgspec.to_builtins(turn("t1")), "of_tomorrow": [1], "project": "other"}
    await api.store(subjects.work("default"), msgspec.json.encode(plain))
    async with queue_of(agent, max_attempts=1) as queue:
        claimed = await claim(queue)
        assert claimed.work.project == "default", "whose it is says the subject"
        await claimed.fail("broken")
        (letter,) = await dead.dead(api, "default")
        await dead.write_back(api, "default", letter.sequence)
        await (await claim(queue)).fail("broken")
    (letter,) = await dead.dead(api, "default")
    again = msgspec.json.decode(letter.content)
    assert (again["of_tomorrow"], again["attempt"]) == ([1], 2)


async def test_what_version_0_1_left_in_the_queue_is_put_where_it_is_seen(agent: Bus, api: Bus) -> None:
    await api.store(subjects.earlier_work("default"), b'{"turn_id": "t1", "spec": {}}')
    await enqueue(api, turn("t2"))
    async with queue_of(agent) as queue:
        assert (await claim(queue)).work.work_id == "t2"
    (letter,) = await dead.dead(api, "default")
    assert (letter.kind, letter.cause, letter.subject) == ("turn", "unreadable", "oo.default.work")


WORKER = """
import asyncio, sys
from openomni.bus.connection import connect
from openomni.bus.credentials import Credentials, Keys
from openomni.bus.work import WorkQueue
async def main():
    async def renew(): return Credentials(sys.argv[3], 1e12, sys.argv[4])
    bus = await connect(sys.argv[1], renew, Keys(sys.argv[2]), "worker")
    async with WorkQueue(bus, "default", ack_wait=float(sys.argv[5])) as queue:
        claim = await queue.claim()
        print(claim.work.work_id, claim.attempt, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def killed_while_working(deployment: Deployment, agent_id: str) -> str:
    """What a worker process claimed before it was killed."""
    keys = Keys.create()
    issued = deployment.authority.issue("agent", keys.public, 600, project="default", agent_id=agent_id)
    arguments = [deployment.server.url, keys.seed, issued.jwt, issued.inbox_prefix, str(ACK_WAIT)]
    with subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        claimed = await asyncio.to_thread(process.stdout.readline)
        os.kill(process.pid, signal.SIGKILL)
    return claimed.strip()


async def test_a_killed_agent_s_turn_is_handed_on(deployment: Deployment, agent: Bus, api: Bus) -> None:
    await enqueue(api, turn("t1"))
    assert await killed_while_working(deployment, "victim") == "t1 1"
    async with queue_of(agent) as queue:
        claimed = await claim(queue)
        assert (claimed.work.work_id, claimed.attempt) == ("t1", 2)
        await claimed.done()
    assert await left(api) == 0


async def test_a_turn_that_kills_every_agent_ends_among_the_dead(deployment: Deployment, agent: Bus, api: Bus) -> None:
    """Also when the last allowed attempt is killed: whoever gets it next only moves it."""
    await enqueue(api, turn("t1"))
    assert await killed_while_working(deployment, "v1") == "t1 1"
    assert await killed_while_working(deployment, "v2") == "t1 2"
    async with queue_of(agent, max_attempts=2) as queue:
        claiming = asyncio.create_task(queue.claim())
        async with asyncio.timeout(15):
            while not (letters := await dead.dead(api, "default")):
                await asyncio.sleep(0.05)
        claiming.cancel()
    assert letters[0].reason == "2 attempts ended without an answer: the agents that ran it were lost"
    assert letters[0].attempts == 2
    assert await left(api) == 0


async def test_a_killed_server_in_mid_run_loses_no_turn_and_repeats_none(
    deployment: Deployment, agent: Bus, api: Bus
) -> None:
    other = await deployment.agent("a2")
    finished: list[str] = []

    async def work(queue: WorkQueue) -> None:
        async for claimed in queue.claims():
            await asyncio.sleep(0.05)
            await claimed.done()
            finished.append(claimed.work.work_id)

    async with queue_of(agent) as mine, queue_of(other) as theirs:
        workers = [asyncio.create_task(work(queue)) for queue in (mine, theirs)]
        for i in range(20):
            await enqueue(api, turn(f"t{i}"))
        await eventually(lambda: len(finished) >= 5)
        await restart(deployment.server)
        await eventually(lambda: len(finished) >= 20, timeout=20)
        for worker in workers:
            worker.cancel()
    assert sorted(finished) == sorted(f"t{i}" for i in range(20))
    assert await left(api) == 0


async def test_the_queue_waits_for_a_consumer_that_comes_later(deployment: Deployment) -> None:
    api, agent = await deployment.gateway(), await deployment.agent("a1")
    async with queue_of(agent) as queue:
        claiming = asyncio.create_task(claim(queue))
        await declare(api)
        await work_consumer(api, "default", ack_wait=ACK_WAIT)
        await enqueue(api, turn("t1"))
        assert (await claiming).work.work_id == "t1"


async def test_a_turn_that_is_handed_out_again_stays_with_its_holder_while_it_lives(
    deployment: Deployment, agent: Bus, api: Bus
) -> None:
    """As after an outage of the bus that was longer than its patience."""
    other = await deployment.agent("a2")
    # This holder is too slow with its signs of life: the bus thinks that it is gone.
    async with WorkQueue(agent, "default", ack_wait=3600) as mine, queue_of(other) as theirs:
        await enqueue(api, turn("t1"))
        claimed = await claim(mine)
        claiming = asyncio.create_task(theirs.claim())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(claiming), ACK_WAIT * 3)
        await claimed.done()
        assert await left(api) == 0
        await enqueue(api, turn("t2"))
        async with asyncio.timeout(10):
            assert (await claiming).work.work_id == "t2"


async def test_what_is_done_is_not_done_again_where_the_bus_forgot_that_it_was_told(
    deployment: Deployment, agent: Bus, api: Bus
) -> None:
    """A server that is killed within a tenth of a second after it was told hands it out again, to anybody."""
    other = await deployment.agent("a2")
    async with queue_of(agent) as mine, queue_of(other) as theirs:
        await enqueue(api, turn("t1"))
        claimed = await claim(mine)
        delivery = Msg(other._client, subject=claimed.subject, reply=claimed._verdict_on, data=claimed._content)
        await claimed.done()
        await theirs._received(delivery)
        assert not theirs._ready
    async with queue_of(other) as theirs:  # nobody is left who knows
        await theirs._received(delivery)
        assert theirs._ready


async def test_nothing_lies_in_one_lane_with_who_is_busy_with_another(
    agent: Bus, api: Bus, deployment: Deployment
) -> None:
    await enqueue(api, turn("cell-1", lane="throughput"))
    async with asyncio.timeout(20):
        async with Lanes(agent, "default", "reprocess", "throughput") as lanes:
            busy = await lanes.claim()
            assert busy.work.work_id == "cell-1"
            other = await deployment.agent("a2")
            async with Lanes(other, "default", "reprocess", "throughput") as others:
                for work in (turn("person"), turn("cell-2", lane="throughput")):
                    await enqueue(api, work)
                    claimed = await others.claim()
                    assert (claimed.work.work_id, claimed.attempt) == (work.work_id, 1)
                    await claimed.done()
            await busy.done()
    assert await left(api) == 0
