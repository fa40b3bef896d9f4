"""Records: written at once, kept through any outage, given to the writer until it has committed them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from openomni.bus import dead, subjects
from openomni.bus.connection import Bus, BusError
from openomni.bus.records import RecordWriter, Unwritable, consume
from openomni.records import AnyRecord, TurnRecord, encode

from .conftest import Deployment, eventually, restart


def record(turn_id: str, project: str = "default", version: int = 1) -> TurnRecord:
    return TurnRecord(
        project=project, version=version, turn_id=turn_id, session_id="s", index=0, pipeline="p", pipeline_hash="h"
    )  # fmt: skip


class Database:
    """What the handler committed; `broken` makes it refuse."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.batches: list[int] = []
        self.broken = False

    async def write(self, records: list[AnyRecord]) -> None:
        if self.broken:
            raise ConnectionError("the database is away")
        turns = [record.turn_id for record in records if isinstance(record, TurnRecord)]
        if "unwritable" in turns:
            raise Unwritable("its session was erased")
        self.batches.append(len(turns))
        self.rows += turns


@pytest.fixture
async def agent(deployment: Deployment, gateway: Bus) -> Bus:
    return await deployment.agent("a1")


async def left(bus: Bus) -> int:
    return (await bus.jetstream.stream_info(subjects.RECORDS)).state.messages


async def empty(bus: Bus) -> None:
    async with asyncio.timeout(10):
        while await left(bus):
            await asyncio.sleep(0.02)


async def test_records_reach_the_writer_in_batches_and_are_acknowledged(agent: Bus, gateway: Bus) -> None:
    database = Database()
    async with RecordWriter(agent) as writer:
        for i in range(50):
            writer.write(record(f"t{i}"))
        await writer.flush(10)
    consuming = asyncio.create_task(consume(gateway, database.write, batch=20))
    await eventually(lambda: len(database.rows) == 50)
    assert database.rows == [f"t{i}" for i in range(50)]
    assert max(database.batches) <= 20
    await empty(gateway)
    consuming.cancel()


async def test_an_outage_of_the_bus_loses_nothing(deployment: Deployment, agent: Bus, gateway: Bus) -> None:
    database = Database()
    consuming = asyncio.create_task(consume(gateway, database.write))
    async with RecordWriter(agent, retry_every=0.05) as writer:
        writer.write(record("before"))
        await writer.flush(10)
        await deployment.server.stop()
        writer.write(record("during"))
        with pytest.raises(BusError, match="1 records were not taken by the bus within 0"):
            await writer.flush(0.1)
        await deployment.server.start()
        await writer.flush(10)
        await restart(deployment.server)
        writer.write(record("after"))
        await eventually(lambda: set(database.rows) == {"before", "during", "after"})
    consuming.cancel()


async def test_the_journal_survives_the_process(
    deployment: Deployment, agent: Bus, gateway: Bus, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    await deployment.server.stop()
    writer = RecordWriter(agent, journal, retry_every=0.05)
    await writer.__aenter__()
    for i in range(3):
        writer.write(record(f"t{i}"))
    # As when the process is killed: nothing is said to the writer.
    assert writer._task
    writer._task.cancel()
    await deployment.server.start()
    database = Database()
    async with RecordWriter(await deployment.agent("a2"), journal) as heir:
        await heir.flush(10)
    assert list(journal.iterdir()) == []
    consuming = asyncio.create_task(consume(gateway, database.write))
    await eventually(lambda: database.rows == ["t0", "t1", "t2"])
    consuming.cancel()


async def test_a_database_that_is_away_gets_everything_later(agent: Bus, gateway: Bus) -> None:
    database = Database()
    database.broken = True
    consuming = asyncio.create_task(consume(gateway, database.write, retry_every=0.05))
    async with RecordWriter(agent) as writer:
        for i in range(5):
            writer.write(record(f"t{i}"))
        await writer.flush(10)
    assert await left(gateway) == 5
    database.broken = False
    await eventually(lambda: sorted(database.rows) == [f"t{i}" for i in range(5)])
    await empty(gateway)
    consuming.cancel()


async def test_a_writer_that_was_killed_before_it_acknowledged_gets_the_batch_again(agent: Bus, gateway: Bus) -> None:
    begun = asyncio.Event()

    async def killed(records: list[AnyRecord]) -> None:
        begun.set()
        await asyncio.Event().wait()

    from openomni.bus.streams import writer_consumer

    await writer_consumer(gateway, ack_wait=0.3)
    async with RecordWriter(agent) as writer:
        writer.write(record("t1"))
    dying = asyncio.create_task(consume(gateway, killed, ack_wait=0.3))
    await begun.wait()
    dying.cancel()
    database = Database()
    consuming = asyncio.create_task(consume(gateway, database.write, ack_wait=0.3))
    await eventually(lambda: database.rows == ["t1"])
    consuming.cancel()


async def test_what_can_never_be_written_goes_to_the_dead_and_stops_nobody(agent: Bus, gateway: Bus) -> None:
    database = Database()
    await agent.store(subjects.record("default"), b"no record at all")
    await agent.store(subjects.record("default"), encode(record("forged", project="other")))
    async with RecordWriter(agent) as writer:
        for turn_id in ("t1", "unwritable", "t2"):
            writer.write(record(turn_id))
    consuming = asyncio.create_task(consume(gateway, database.write))
    await eventually(lambda: sorted(database.rows) == ["t1", "t2"])
    await empty(gateway)
    consuming.cancel()
    reasons = [letter.reason for letter in await dead.dead(gateway, "default")]
    assert len(reasons) == 3
    assert reasons[0].startswith("not a record of this version")
    assert reasons[1] == "a record of project other was sent on oo.default.record"
    assert reasons[2] == "its session was erased"
    with pytest.raises(BusError, match="is a record; only turns can be queued again"):
        await dead.retry(gateway, "default", 1)
