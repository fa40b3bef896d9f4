"""How each agent does: its state in one word and one line, its load, its tasks of late, its newest failure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from ...bus.connection import Bus
from ...errors import OpenOmniError
from ...latency import median
from ...version import __version__
from ..ground import bus_line
from ..ground.handshake import MIN_CLIENT, too_old
from ..records.models import Attempt, Progress, Task
from .models import Agent

LATELY = timedelta(hours=1)
"""What «lately» is, for counts of tasks."""
FAILURES = timedelta(days=1)
WARMING = timedelta(minutes=10)
"""How long an agent that registered and was not heard since is taken to load its models."""
BUS_PATIENCE = 0.5
"""Seconds that the bus has to answer before the page says that it is away."""


@dataclass(slots=True)
class Card:
    """An agent as a page shows it. `state`: alive, starting, draining or gone, with `tone` as the badge's colour."""

    agent: Agent
    state: str
    tone: str
    since: datetime | None
    tasks: int = 0
    running: int = 0
    failed: int = 0
    last_task: datetime | None = None
    failure: Attempt | None = None
    offers: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)

    @property
    def offered(self) -> int:
        """Components."""
        return sum(len(names) for _, names in self.offers)

    @property
    def share(self) -> int:
        """Busy slots, in per cent."""
        return min(100, round(100 * self.agent.busy / self.agent.slots)) if self.agent.slots else 0

    @property
    def in_trouble(self) -> bool:
        """Somebody should look at it."""
        return self.failure is not None or bool(self.agent.health or self.version_fault)

    @property
    def version_fault(self) -> str:
        """What to do about its version; empty when that is well."""
        version = self.agent.version
        if not version:
            return "it did not say its version"
        if too_old(version):
            return f"too old for this server, which needs {MIN_CLIENT} or newer; upgrade it"
        return ""

    @property
    def version_note(self) -> str:
        """That it differs from the server's, which is allowed."""
        return f"the server has {__version__}" if self.agent.version not in ("", __version__) else ""


def bus_fault() -> str:
    """Why nothing is known of agents just now: the bus is away; empty when it is there. Waits `BUS_PATIENCE` s."""
    try:
        bus_line.run(_heard, timeout=BUS_PATIENCE)
    except OpenOmniError as error:
        return str(error)
    return ""


async def _heard(bus: Bus) -> None:
    """There and back: a bus that hangs keeps its connections for a while."""
    if not bus.connected.is_set():
        raise bus_line.BusAway("the bus does not answer just now")
    await bus.flush()


def cards(project_id: str, agents: Iterable[Agent]) -> list[Card]:
    """Who is in trouble first, then who is alive, starts, drains, is gone; three queries, however many they are."""
    now = timezone.now()
    found = [_card(agent) for agent in agents]
    by_name = {card.agent.name: card for card in found}
    recent = Task.objects.filter(project_id=project_id, turn__created_at__gt=now - LATELY, agent__in=by_name)
    counts = (
        recent.order_by()
        .values("agent")
        .annotate(
            tasks=Count("pk"),
            running=Count("pk", filter=Q(status=Progress.STARTED)),
            failed=Count("pk", filter=Q(status=Progress.FAILED)),
            last=Max("turn__created_at"),
        )
    )
    for row in counts:
        card = by_name[row["agent"]]
        card.tasks, card.running, card.failed, card.last_task = (
            row[each] for each in ("tasks", "running", "failed", "last")
        )
    for failure in failures(project_id, list(by_name))[:200]:
        card = by_name[failure.agent]
        card.failure = card.failure or failure
    order = ("alive", "starting", "draining", "gone")
    return sorted(found, key=lambda card: (not card.in_trouble, order.index(card.state), numbered(card.agent.name)))


def numbered(name: str) -> list[tuple[bool, int, str]]:
    """Sorts box-2 before box-10."""
    pieces = re.split(r"(\d+)", name)
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces]


def failures(project_id: str, names: list[str]) -> QuerySet[Attempt]:
    """Attempts of these agents that failed within `FAILURES`, the newest first, with their task and turn."""
    since = timezone.now() - FAILURES
    rows = Attempt.objects.filter(
        project_id=project_id, agent__in=names, status=Progress.FAILED, task__turn__created_at__gt=since
    )
    return rows.select_related("task", "task__turn").order_by("-task__turn__created_at", "-pk")


def _card(agent: Agent) -> Card:
    heard = agent.last_seen is not None and agent.last_seen > agent.registered_at
    if not heard and timezone.now() - agent.registered_at < WARMING and not agent.draining:
        card = Card(agent, "starting", "info", agent.registered_at)
    elif not agent.alive:
        card = Card(agent, "gone", "bad", agent.last_seen)
    elif agent.draining:
        card = Card(agent, "draining", "warn", None)
    else:
        card = Card(agent, "alive", "good", agent.registered_at)
    kinds: dict[str, list[tuple[str, str]]] = {}
    for offer in agent.offers.all():
        kinds.setdefault(offer.kind, []).append((offer.name, offer.version))
    card.offers = list(kinds.items())
    return card


@dataclass(frozen=True, slots=True)
class Times:
    """Of one component on an agent, over its newest completed tasks: medians in seconds, None where none was timed."""

    name: str
    tasks: int
    queue_s: float | None
    transfer_s: float | None
    load_s: float | None
    model_s: float | None
    ttfb_s: float | None

    @property
    def milliseconds(self) -> list[str]:
        """Queue, transfer, load, model and TTFB, for a table; – where none was timed."""
        return [milliseconds(each) for each in (self.queue_s, self.transfer_s, self.load_s, self.model_s, self.ttfb_s)]


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task in a table; `address` is that of its conversation."""

    task: Task
    when: datetime
    address: str
    tone: str
    queue: str
    model: str


TONES = {"completed": "good", "failed": "bad", "started": "info", "pending": "info"}


def line(task: Task) -> TaskLine:
    """Its turn is to be loaded with it, and it has one."""
    assert task.turn is not None
    address = reverse("conversation", args=[task.turn.session_id])
    times = milliseconds(task.queue_s), milliseconds(task.model_s)
    return TaskLine(task, task.turn.created_at, address, TONES.get(task.status, "warn"), *times)


def milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.1f}"


def times(tasks: Iterable[Task]) -> list[Times]:
    """By component, those with the most tasks first."""
    by_component: dict[str, list[Task]] = {}
    for task in tasks:
        if task.status == Progress.COMPLETED:
            by_component.setdefault(str(task), []).append(task)
    rows = [
        Times(
            name, len(done), *(_median(done, what) for what in ("queue_s", "transfer_s", "load_s", "model_s", "ttfb_s"))
        )
        for name, done in by_component.items()
    ]
    return sorted(rows, key=lambda row: -row.tasks)


def _median(tasks: list[Task], what: str) -> float | None:
    return median(getattr(task, what) for task in tasks)
