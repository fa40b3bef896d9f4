"""The durable streams: RECORDS for the API's writer, WORK as the agents' queue, DEAD for what failed too often.

Declared by a user of role `server`; declaring again changes only what differs, and nothing that is stored.
"""

from __future__ import annotations

import time

import msgspec
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from . import subjects
from .connection import Bus, BusError
from .envelope import LANES, REPROCESS, Cancelled

ACK_WAIT = 10.0
"""Seconds without a sign of life after which a claim is handed on."""
WRITER_ACK_WAIT = 30.0
"""Seconds after which the writer gets a record again that it did not acknowledge."""
LEASE_S = 5.0
"""Seconds without a sign of life after which a lease on a machine is nobody's."""
DEDUPE_WINDOW = 3600.0
"""Seconds in which the same message id is stored once."""
_ENDLESS = -1


async def declare(bus: Bus, replicas: int = 1, lease_s: float = LEASE_S) -> None:
    """Makes or updates the three streams, and the bucket of leases. Records and work stay until they are acknowledged,
    however long; a lease is gone when its holder is."""
    works = [f"{subjects.earlier_work(subjects.ANY)}.>", subjects.earlier_work(subjects.ANY)]
    for name, named, retention in (
        (subjects.RECORDS, [subjects.record(subjects.ANY)], RetentionPolicy.WORK_QUEUE),
        (subjects.WORK, works, RetentionPolicy.WORK_QUEUE),
        (subjects.DEAD, [subjects.dead(subjects.ANY)], RetentionPolicy.LIMITS),
    ):
        await _stream(
            bus,
            StreamConfig(
                name=name,
                subjects=named,
                retention=retention,
                storage=StorageType.FILE,
                # A full disk must be an error for the writer, never a silent loss of the oldest.
                discard=DiscardPolicy.NEW,
                duplicate_window=DEDUPE_WINDOW,
                num_replicas=replicas,
            ),
        )
    await _leases(bus, lease_s)


async def _leases(bus: Bus, lease_s: float) -> None:
    """As a key-value bucket is made; in memory, for a bus that starts anew is one that nobody measures on."""
    await _stream(
        bus,
        StreamConfig(
            name=subjects.LEASE_STREAM,
            subjects=[f"$KV.{subjects.LEASES}.>"],
            storage=StorageType.MEMORY,
            discard=DiscardPolicy.NEW,
            max_msgs_per_subject=1,
            max_age=lease_s,
            duplicate_window=lease_s,
            allow_direct=True,
            allow_rollup_hdrs=True,
            deny_delete=True,
        ),
    )


async def writer_consumer(bus: Bus, ack_wait: float = WRITER_ACK_WAIT) -> str:
    """The single durable consumer of all records; what it does not acknowledge comes again after `ack_wait`."""
    return await _consumer(
        bus,
        subjects.RECORDS,
        ConsumerConfig(
            durable_name=subjects.WRITER,
            # Also keeps out what a pull of another stream was aimed at ours: that keeps the subject it came from.
            filter_subject=subjects.record(subjects.ANY),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ack_wait,
            max_deliver=_ENDLESS,
            max_ack_pending=10_000,
        ),
    )


async def work_consumer(bus: Bus, project: str, ack_wait: float = ACK_WAIT) -> None:
    """The durable consumers that a project's agents claim from, one a lane; needed before the first claim.

    JetStream redelivers without bound here: `work.WorkQueue` counts the attempts, because a message that JetStream
    itself gives up on is seen by nobody.
    """
    for lane in LANES:
        # What version 0.1 left in the queue comes too: who claims it puts it where it is seen.
        earlier = [subjects.earlier_work(project)] if lane == REPROCESS else []
        await _consumer(
            bus,
            subjects.WORK,
            ConsumerConfig(
                durable_name=subjects.work_consumer(project, lane),
                filter_subjects=[subjects.work_lane(project, lane), *earlier],
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ack_wait,
                max_deliver=_ENDLESS,
                max_ack_pending=10_000,
                max_waiting=4096,
            ),
        )


async def cancel(bus: Bus, project: str, group: str) -> None:
    """Takes the work of a group out of the queue, in every lane, and has agents stop what they have claimed of it."""
    try:
        all_of_it = subjects.work(project, subjects.ANY, group, subjects.ANY)
        await bus.jetstream.purge_stream(subjects.WORK, subject=all_of_it)
    except (NatsError, TimeoutError) as error:
        raise BusError(f"the work of {group} could not be cancelled: {error}") from None
    told = Cancelled(group=group, at=time.time())
    await bus.publish(subjects.cancelled(project, group), msgspec.json.encode(told))


async def _stream(bus: Bus, config: StreamConfig) -> None:
    jetstream = bus.jetstream
    try:
        try:
            await jetstream.stream_info(str(config.name))
        except NotFoundError:
            await jetstream.add_stream(config)
        else:
            await jetstream.update_stream(config)
    except (NatsError, TimeoutError) as error:
        raise BusError(f"stream {config.name} could not be declared: {error}") from None


async def _consumer(bus: Bus, stream: str, config: ConsumerConfig) -> str:
    try:
        await bus.jetstream.add_consumer(stream, config)
    except (NatsError, TimeoutError) as error:
        raise BusError(f"consumer {config.durable_name} of {stream} could not be made: {error}") from None
    return str(config.durable_name)
