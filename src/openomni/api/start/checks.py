"""Is everything well? What the server itself can see within milliseconds, each with one line and its mend.

`openomni doctor` looks at a machine; this looks at a running server, for one project.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from ...pipeline.spec import PipelineError, check
from ..fleet import components
from ..fleet.models import Agent, alive_since
from ..fleet.placing import Placing
from ..ground import bus_line, disk
from ..media.models import DroppedMedia
from ..pipelines import catalogue
from ..records.models import Progress, Recording, Turn

GIB = 2**30
LOW, FULL = 5 * GIB, 1 * GIB
"""Room on the disk below which it is said, and below which it is a fault: an hour of sound takes 0.1 GiB."""
NAMED = 3
"""How many of a kind are named in a line before the rest is a number."""
RECENTLY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mend` is empty when all is well; `command` is what to type, `link` where."""

    what: str
    state: Literal["good", "warn", "bad", "info"]
    line: str
    mend: str = ""
    command: str = ""
    link: str = ""

    @property
    def does(self) -> str:
        """What the command does, for whoever hears the page."""
        return f"mends: {self.what}"

    @property
    def word(self) -> str:
        """The state as a word, for colour alone says nothing."""
        return {"good": "well", "warn": "look", "bad": "mend", "info": "note"}[self.state]


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """All findings, and whether somebody can talk now: `ready` names the pipelines that can run."""

    findings: list[Finding]
    ready: list[str]

    @property
    def state(self) -> str:
        """The worst of them."""
        states = {finding.state for finding in self.findings}
        return next((state for state in ("bad", "warn") if state in states), "good")

    @property
    def line(self) -> str:
        wrong = sum(finding.state in ("bad", "warn") for finding in self.findings)
        return (
            "Everything is well"
            if not wrong
            else "One thing to look at"
            if wrong == 1
            else f"{wrong} things to look at"
        )


def look(project: str, server: str) -> ServerHealth:
    """Looks at everything; some eight queries, however much there is. `server` is this server's address for others."""
    agents = list(
        Agent.objects.filter(project_id=project, last_seen__gt=alive_since()).only(
            "name", "roles", "draining", "health"
        )
    )
    ready, pipelines = _pipelines(project, server)
    findings = [_bus(), _agents(project, agents, server), pipelines, _disk(), _recordings(project)]
    findings += [*_dropped(project), *_turns(project)]
    return ServerHealth(findings, ready if bus_line.connected() else [])


def _bus() -> Finding:
    if bus_line.connected():
        return Finding("Bus", "good", "answers")
    if not settings.BUS_URL:
        return Finding("Bus", "bad", "this server was started without one", "start all parts together", "openomni up")
    return Finding(
        "Bus",
        "bad",
        "does not answer; nobody can talk and no agent is heard",
        "It is tried again each second. If it stays so, stop the server and start it again",
        "openomni up",
    )


def _agents(project: str, alive: list[Agent], server: str) -> Finding:
    link = reverse("agents")
    at_work = [agent for agent in alive if not agent.draining]
    sick = [f"{agent.name}: {agent.health}" for agent in at_work if agent.health]
    if sick:
        return Finding("Agents", "warn", _named(sick), "look at the agent's log", link=link)
    if at_work:
        draining = (
            f"; {len(alive) - len(at_work)} more {_is(len(alive) - len(at_work))} finishing"
            if len(alive) > len(at_work)
            else ""
        )
        return Finding(
            "Agents",
            "good",
            f"{len(at_work)} alive and warm: {_named([agent.name for agent in at_work])}{draining}",
            link=link,
        )
    start = f"OPENOMNI_TOKEN=oo_… openomni agent --server {server}"
    if alive:
        return Finding(
            "Agents",
            "bad",
            f"{_named([agent.name for agent in alive])} {_is(len(alive))} finishing and take no new work",
            "start one",
            start,
            link,
        )
    if Agent.objects.filter(project_id=project).exists():
        return Finding(
            "Agents",
            "bad",
            "none is alive",
            "One that is still loading its models comes by itself. If it does not, start it again",
            start,
            link,
        )
    return Finding(
        "Agents",
        "bad",
        "there is none yet",
        "The one beside the server comes by itself once its models are loaded. If there is none, start one",
        start,
        link,
    )


def _pipelines(project: str, server: str) -> tuple[list[str], Finding]:
    """The names of those that can run, and the finding."""
    link = reverse("pipelines")
    placing, known = Placing.now(project), components.schemas(project)
    ready, lacking, faulty = [], dict[str, str](), dict[str, str]()
    for found in catalogue.everything(project):
        try:
            missing, faults = placing.missing(found.pipeline), check(found.pipeline, known)
        except PipelineError:
            faulty[found.name] = f"what is stored of {found.name} can't be read: save it again"
            continue
        if missing:
            lacking[found.name] = ",".join(f"{kind}:{name}" for kind, name in missing)
        elif faults:
            faulty[found.name] = faults[0]
        elif placing.hosts:
            ready.append(found.name)
        else:
            lacking[found.name] = "host"
    if not lacking and not faulty:
        return ready, Finding(
            "Pipelines",
            "good",
            f"all {len(ready)} can run: {_named(ready)}" if len(ready) > 1 else f"{ready[0]} can run",
            link=link,
        )
    line = f"{_named([*faulty, *lacking])} can't run now" + (f"; {_named(ready)} can" if ready else "")
    if faulty:  # which no agent that comes would mend
        return ready, Finding("Pipelines", "warn", line, next(iter(faulty.values())), link=link)
    name, missing_there = next(iter(lacking.items()))
    return ready, Finding(
        "Pipelines",
        "warn" if ready else "bad",
        line,
        f"no live agent offers what {name} needs: start one that does",
        f"OPENOMNI_TOKEN=oo_… openomni agent --server {server} --offer {missing_there}",
        link,
    )


def _disk() -> Finding:
    free = disk.free()
    line = f"{size(free)} free for recordings"
    if free < FULL:
        return Finding("Disk", "bad", line, "make room, or move the data folder to a larger disk")
    return Finding("Disk", "warn" if free < LOW else "good", line, "make room soon" if free < LOW else "")


def _recordings(project: str) -> Finding:
    """Those that are still on their way from a device. What is being captured now is no reason to worry."""
    link = reverse("admin:records_recording_changelist")
    waiting = Recording.objects.filter(
        project_id=project, status__in=(Recording.Status.AWAITED, Recording.Status.RECEIVING)
    )
    count = waiting.count()
    if not count:
        return Finding("Recordings", "good", "all have arrived", link=link)
    oldest = waiting.order_by("created_at").values_list("created_at", flat=True)[0]
    line = f"{count} on the way from a device, the oldest since {oldest:%Y-%m-%d %H:%M}"
    if timezone.now() - oldest < timedelta(hours=1):
        return Finding("Recordings", "info", line, link=link)
    return Finding(
        "Recordings",
        "warn",
        line,
        "nothing is lost: they lie on the device. There, send what is left",
        "openomni listen --resume-uploads",
        link,
    )


def _dropped(project: str) -> Iterator[Finding]:
    """Only when something that was deleted could not be taken out of the store."""
    stuck = DroppedMedia.objects.filter(project=project, tries__gt=0)
    if count := stuck.count():
        fault = stuck.values_list("fault", flat=True)[0]
        line = f"{count} deleted {'file still lies' if count == 1 else 'files still lie'} in the store: {fault}"
        yield Finding("Deleted media", "warn", line, "it is tried again by itself; see that the store can be written")


def _turns(project: str) -> Iterator[Finding]:
    """Only when something failed."""
    recent = Turn.objects.filter(project_id=project, created_at__gt=timezone.now() - RECENTLY)
    failed = recent.filter(status=Progress.FAILED).count()
    if failed:
        link = f"{reverse('admin:records_turn_changelist')}?status__exact=failed"
        yield Finding("Turns", "warn", f"{failed} failed within a day", "each says why", link=link)


def size(count: float) -> str:
    """Bytes in a unit that people read."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB" if count < 100 else f"{count:.0f} GiB"


def _named(names: list[str]) -> str:
    """`a, b, c and 4 more`."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
