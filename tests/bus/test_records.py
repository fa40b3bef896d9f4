"""Records: written at once, kept through any outage, given to the writer until it has committed them."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path

import msgspec
import pytest

from openomni.bus import dead, subjects
from openomni.bus.connection import Bus, BusError, TooLarge
from openomni.bus.journal import Journal, Pending, refused
from openomni.bus.records import TRIES, RecordsAway, RecordWriter, Unwritable, consume
from openomni.records import AnyRecord, StageRecord, TurnRecord, encode

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
    await eventually(lambda: len(list(journal.glob("*.record"))) == 3)
    # As when the process is killed: nothing is said to the writer.
    assert writer._task
    assert writer._keeping
    writer._task.cancel()
    writer._keeping.cancel()
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


class Reluctant:
    """A bus that takes no record with `BIG` in it, as one whose messages are smaller would."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.connected.set()
        self.taken: list[tuple[str, bytes, dict[str, str]]] = []
        self.error: type[BusError] = BusError

    async def store(self, subject: str, data: bytes, key: str, headers: dict[str, str] | None = None) -> None:
        if b"BIG" in data and not headers:
            raise self.error("could not publish: maximum payload exceeded")
        self.taken.append((subject, data, headers or {}))


@pytest.mark.parametrize("error", [BusError, TooLarge])
async def test_a_record_that_the_bus_never_takes_holds_nobody_up(error: type[BusError]) -> None:
    bus = Reluctant()
    bus.error = error
    async with RecordWriter(bus, retry_every=0.001) as writer:  # type: ignore[arg-type]
        for turn_id in ("BIG", "t1", "t2"):
            writer.write(record(turn_id))
        await eventually(lambda: sum(subject.endswith(".record") for subject, _, _ in bus.taken) == 2)
        if error is TooLarge:
            await writer.flush(5)
            assert [subject for subject, _, _ in bus.taken] == [
                "oo.default.record", "oo.default.record", "oo.default.dead",
            ]  # fmt: skip
        bus.error = TooLarge


async def test_a_turn_that_is_too_large_goes_without_its_largest_output(
    agent: Bus, gateway: Bus, tmp_path: Path
) -> None:
    small = StageRecord(task_id="k1", kind="stt", component="x", output={"text": "hello"})
    large = StageRecord(task_id="k2", kind="llm", component="x", output={"text": "x" * (2 << 20)})
    turn = msgspec.structs.replace(record("t1"), stages=[small, large])
    async with RecordWriter(agent, tmp_path) as writer:
        writer.write(turn)
        writer.write(msgspec.structs.replace(record("t2"), transcript="y" * (2 << 20)))
        writer.write(record("t3"))
        await writer.flush(10)
    kept: list[AnyRecord] = []

    async def write(records: list[AnyRecord]) -> None:
        kept.extend(records)

    consuming = asyncio.create_task(consume(gateway, write))
    await eventually(lambda: len(kept) == 2)
    consuming.cancel()
    first, last = kept
    assert isinstance(first, TurnRecord)
    assert isinstance(last, TurnRecord)
    assert last.turn_id == "t3"
    assert [stage.output for stage in first.stages] == [
        {"text": "hello"},
        {"left_out": f"{(2 << 20) + 11} bytes, too large for a record"},
    ]
    letters = await dead.dead(gateway, "default")
    assert [letter.cause for letter in letters] == ["too_large", "too_large"]
    assert letters[0].content == encode(turn)[: dead.EXCERPT]
    assert letters[0].sha256 == hashlib.sha256(encode(turn)).hexdigest()
    assert refused(tmp_path)[0].read_bytes() == encode(turn)
    with pytest.raises(BusError, match=r"its whole is kept .* as a \.refused file"):
        await dead.write_back(gateway, "default", letters[0].sequence)


async def test_an_unreadable_dead_letter_is_one_itself_and_hides_none_of_the_others(agent: Bus, gateway: Bus) -> None:
    await agent.store(subjects.dead("default"), b"garbage \xff")
    await agent.store(subjects.dead("default"), b"?", headers={dead.HEADER: '{"kind": 7}'})
    # As version 0.1 wrote them.
    earlier = {"kind": "record", "key": "record 4", "reason": "not a record of this version: x", "attempts": 1, "at": 5}
    await agent.store(subjects.dead("default"), msgspec.json.encode({**earlier, "content": '{"type":"turn"}'}))
    letters = await dead.dead(gateway, "*")
    assert [(letter.kind, letter.cause, letter.content) for letter in letters] == [
        ("unknown", "unreadable", b"garbage \xff"),
        ("unknown", "unreadable", b"?"),
        ("record", "unreadable", b'{"type":"turn"}'),
    ]
    assert letters[2].subject == "oo.default.record"
    for letter in letters:
        await dead.discard(gateway, "default", letter.sequence)


async def test_a_record_that_always_fails_is_tried_some_times_and_then_put_aside(agent: Bus, gateway: Bus) -> None:
    tried: list[str] = []

    async def write(records: list[AnyRecord]) -> None:
        turns = [record.turn_id for record in records if isinstance(record, TurnRecord)]
        tried.extend(turns)
        if "poison" in turns:
            raise OverflowError("Python int too large\nto convert")

    async with RecordWriter(agent) as writer:
        writer.write(record("poison"))
        await writer.flush(10)
    consuming = asyncio.create_task(consume(gateway, write, retry_every=0.001))
    await empty(gateway)
    consuming.cancel()
    assert tried == ["poison"] * TRIES
    (letter,) = await dead.dead(gateway, "default")
    assert (letter.reason, letter.attempts) == ("OverflowError: Python int too large to convert", TRIES)
    assert letter.content == encode(record("poison"))


@pytest.mark.parametrize("error", [RecordsAway("the database is away"), ConnectionError("the database is away")])
async def test_a_database_that_is_away_counts_against_no_record(
    agent: Bus, gateway: Bus, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def write(records: list[AnyRecord]) -> None:
        nonlocal tries
        tries += 1
        if tries <= 3 * TRIES:
            raise error

    async with RecordWriter(agent) as writer:
        writer.write(record("t1"))
        await writer.flush(10)
    consuming = asyncio.create_task(consume(gateway, write, retry_every=0.001))
    await empty(gateway)
    consuming.cancel()
    assert await dead.dead(gateway, "default") == []
    assert caplog.text.count("the database is away") == 1


async def test_what_a_newer_agent_wrote_is_kept_as_it_was_and_written_back_by_who_reads_it(
    agent: Bus, gateway: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_yesterday(data: bytes) -> AnyRecord:
        raise msgspec.ValidationError("Invalid value 'turn' - at `$.type`")

    database, sent = Database(), encode(record("t1"))
    with monkeypatch.context() as yesterday:
        yesterday.setattr("openomni.bus.records.decode", of_yesterday)
        await agent.store(subjects.record("default"), sent)
        consuming = asyncio.create_task(consume(gateway, database.write))
        await empty(gateway)
        consuming.cancel()
    (letter,) = await dead.dead(gateway, "default")
    assert (letter.cause, letter.content) == ("unreadable", sent)
    assert await dead.write_back_readable(gateway, letter)
    assert await dead.dead(gateway, "default") == []
    consuming = asyncio.create_task(consume(gateway, database.write))
    await eventually(lambda: database.rows == ["t1"])
    consuming.cancel()


async def test_what_nobody_reads_yet_stays_and_a_person_may_write_it_back(agent: Bus, gateway: Bus) -> None:
    newer = b'{"type":"score","project":"default","score_id":"s1"}'
    await agent.store(subjects.record("default"), newer)
    database = Database()
    consuming = asyncio.create_task(consume(gateway, database.write))
    await empty(gateway)
    consuming.cancel()
    (letter,) = await dead.dead(gateway, "default")
    assert letter.content == newer
    assert not await dead.write_back_readable(gateway, letter)
    await dead.write_back(gateway, "default", letter.sequence)
    assert await left(gateway) == 1
    assert await dead.dead(gateway, "default") == []


async def test_a_letter_as_large_as_a_message_is_kept_whole(agent: Bus, gateway: Bus) -> None:
    content = b"x" * ((1 << 20) - 100)
    letter = dead.DeadLetter(kind="record", key="k", reason="ü" * 5000, content=content)
    await dead.bury(gateway, "default", letter, "k")
    (kept,) = await dead.dead(gateway, "default")
    assert kept.content == content
    assert len(kept.reason) == 2000


async def test_the_journal_is_written_beside_the_loop_in_order_and_empty_when_all_is_sent(
    agent: Bus, gateway: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    keep = Journal.keep

    def noted(self: Journal, batch: list[Pending]) -> None:
        threads.add(threading.current_thread().name)
        keep(self, batch)

    monkeypatch.setattr(Journal, "keep", noted)
    database, folder = Database(), tmp_path / "journal"
    async with RecordWriter(agent, folder) as writer:
        for i in range(200):
            writer.write(record(f"t{i}"))
        await writer.flush(10)
    assert threads == {"journal_0"}
    assert list(folder.iterdir()) == []
    consuming = asyncio.create_task(consume(gateway, database.write))
    await eventually(lambda: database.rows == [f"t{i}" for i in range(200)])
    consuming.cancel()


async def test_what_waits_is_bounded_and_what_is_lost_is_said(
    deployment: Deployment, agent: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await deployment.server.stop()
    size = len(encode(record("t0")))
    monkeypatch.setattr("openomni.bus.records.IN_MEMORY", 2 * size)
    async with RecordWriter(agent) as writer:
        for i in range(5):
            writer.write(record(f"t{i}"))
        assert (writer.pending, writer.lost) == (2, 3)
    assert "1 records are lost" in caplog.text


async def test_beyond_what_memory_holds_records_come_from_the_journal(
    deployment: Deployment, agent: Bus, gateway: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openomni.bus.records.IN_MEMORY", 1)
    await deployment.server.stop()
    database = Database()
    async with RecordWriter(agent, tmp_path, retry_every=0.01) as writer:
        for i in range(5):
            writer.write(record(f"t{i}"))
        await eventually(lambda: all(pending.data is None for pending in writer._pending))
        await deployment.server.start()
        await writer.flush(10)
    consuming = asyncio.create_task(consume(gateway, database.write))
    await eventually(lambda: sorted(database.rows) == [f"t{i}" for i in range(5)])
    consuming.cancel()


def test_a_torn_file_of_the_journal_is_kept_aside_and_a_headed_one_read(tmp_path: Path) -> None:
    (tmp_path / "1.record").write_bytes(b"oo.default.rec")
    (tmp_path / "2.record").write_bytes(b"oo.default.record\n{}")
    (tmp_path / "3.record").write_bytes(b'oo.default.dead\t{"Oo-Letter": "x"}\n\xff\n')
    (tmp_path / "4.partial").write_bytes(b"oo.")
    journal = Journal(tmp_path)
    found = journal.waiting()
    assert [(each.key, each.subject, journal.load(each), each.headers) for each in found] == [
        ("2", "oo.default.record", b"{}", {}),
        ("3", "oo.default.dead", b"\xff\n", {"Oo-Letter": "x"}),
    ]
    assert [file.name for file in refused(tmp_path)] == ["1.refused"]
    assert not (tmp_path / "4.partial").exists()
