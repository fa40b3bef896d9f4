"""The names on the bus: subjects, streams, consumers. A project is part of each, and a wildcard is never let in."""

from __future__ import annotations

import re
from typing import Literal

from ..errors import WrongUsage

CLOCK = "oo.clock"
WHO = "oo.who"
"""«Everybody of every project, say here»: only the gateway and the API may ask."""
RECORDS, WORK, DEAD = "RECORDS", "WORK", "DEAD"
WRITER = "writer"
LEASES = "leases"
"""The key-value bucket of the machines that are measured on."""
LEASE_STREAM = f"KV_{LEASES}"
"""As the bus calls the stream behind it."""


class _Any(str):
    """Of a type of its own, so that no text from outside is one."""


ANY = _Any("*")
"""«Each of them», where a subject is listened to or allowed."""
NO_SITE = "-"
"""The site in the subjects of a session that has none; no slug of a site begins with it."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROJECT = re.compile(r"[a-z0-9-]{1,40}")


def _project(slug: str) -> str:
    # `*` is for streams and for who sees all projects; a project comes from a token, never from what is asked.
    if slug != ANY and not _PROJECT.fullmatch(slug):
        raise WrongUsage(f"{slug!r} is no project key; it takes 1 to 40 of a-z, 0-9 and -")
    return slug


def _token(value: str, what: str) -> str:
    if not isinstance(value, _Any) and not _TOKEN.fullmatch(value):
        raise WrongUsage(f"{value!r} is no {what}; it takes 1 to 64 letters, digits, _ and -")
    return value


def fleet(project: str) -> str:
    return f"oo.{_project(project)}.fleet.>"


def here(project: str, agent_id: str) -> str:
    return f"oo.{_project(project)}.fleet.here.{_token(agent_id, 'agent id')}"


def who(project: str) -> str:
    return f"oo.{_project(project)}.fleet.who"


def agent(project: str, agent_id: str) -> str:
    """All that one agent serves."""
    return f"oo.{_project(project)}.agent.{_token(agent_id, 'agent id')}.*"


def cancelled(project: str, group: str = ANY) -> str:
    """Where it is said that the work of a group is not wanted any more."""
    return f"oo.{_project(project)}.fleet.cancelled.{_token(group, 'group')}"


def lease(project: str, machine: str) -> str:
    """The key of a machine's lease, in its bucket."""
    return f"{_project(project)}.{_token(machine, 'machine')}"


def lease_subject(project: str, machine: str) -> str:
    """Where that key lies on the bus."""
    return f"$KV.{LEASES}.{lease(project, machine)}"


def call(project: str, agent_id: str) -> str:
    return f"oo.{_project(project)}.agent.{_token(agent_id, 'agent id')}.call"


def session(project: str, agent_id: str) -> str:
    return f"oo.{_project(project)}.agent.{_token(agent_id, 'agent id')}.session"


def drain(project: str, agent_id: str) -> str:
    return f"oo.{_project(project)}.agent.{_token(agent_id, 'agent id')}.drain"


def call_input(project: str, call_id: str) -> str:
    return f"oo.{_project(project)}.call.{_token(call_id, 'call id')}.in"


def siteless(token_id: str) -> str:
    """In place of a site: the sessions that were opened with this token and have none."""
    return f"{NO_SITE}{token_id}"


def live(project: str, site: str, session_id: str, way: Literal["in", "out"]) -> str:
    """What flows to (`in`) and from (`out`) the host of a session; `*` as the session: all of a site."""
    return f"oo.{_project(project)}.live.{_token(site or NO_SITE, 'site')}.{_token(session_id, 'session id')}.{way}"


def record(project: str) -> str:
    return f"oo.{_project(project)}.record"


def work(project: str, lane: str = "reprocess", group: str = "-", kind: str = "turn") -> str:
    """Where one work is put; `ANY` as lane or group: what is purged together."""
    return f"oo.{_project(project)}.work.{_token(lane, 'lane')}.{_token(group, 'group')}.{_token(kind, 'kind')}"


def work_lane(project: str, lane: str) -> str:
    """All work of a lane."""
    return f"oo.{_project(project)}.work.{_token(lane, 'lane')}.>"


def earlier_work(project: str) -> str:
    """Where version 0.1 put turns."""
    return f"oo.{_project(project)}.work"


def claim(project: str, sequence: int | str) -> str:
    """Where the holder of a claimed turn answers that it is alive; `sequence` is the turn's place in the queue."""
    return (
        f"oo.{_project(project)}.claim.{_token(sequence if isinstance(sequence, str) else str(sequence), 'sequence')}"
    )


def dead(project: str) -> str:
    return f"oo.{_project(project)}.dead"


def work_consumer(project: str, lane: str = "reprocess") -> str:
    name = f"work-{_project(project)}"
    return name if lane == "reprocess" else f"{name}_{_token(lane, 'lane')}"


def inbox_prefix(project: str, agent_id: str) -> str:
    return f"_INBOX.{_project(project)}.{_token(agent_id, 'agent id')}"


def server_inbox_prefix(user: str) -> str:
    """Of the gateway and the API. No project is called `_server`: an underscore is not in a project key."""
    return f"_INBOX._server.{_token(user, 'user')}"


def answers(project: str) -> tuple[str, str]:
    """Where an agent may answer: inboxes of its own project, and those of the gateway and the API."""
    return f"_INBOX.{_project(project)}.>", "_INBOX._server.>"
