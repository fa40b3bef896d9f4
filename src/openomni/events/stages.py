"""A live call to a stage on another agent: what the host asks, and what the agent answers."""

from __future__ import annotations

from typing import Any

from .event import Event
from .values import Value


class StageCall(Event, frozen=True, tag="stage.call", omit_defaults=True):
    """Asks an agent to run one stage. Inputs follow on the call's input subject; answers on the reply subject."""

    call_id: str
    task_id: str
    attempt: int
    kind: str
    component: str
    parameters: dict[str, Any]
    inputs: str
    """The subject that inputs come on."""
    timeout: float | None = None
    """Seconds without any output after which the component counts as hung; None: as the agent sees fit."""
    first: Value | None = None
    """Input 0, when it was there before the call and is small: it need not wait for the agent to accept."""
    count: int | None = None
    """How many inputs there are, when that is known by then."""
    asked: dict[str, str] = {}
    """What the session asks of this call, of what the component takes: a `voice`, a `language`."""


class StageAccepted(Event, frozen=True, tag="stage.accepted"):
    """The agent has a slot and listens; `at` on its own clock. `offset`: what to add to that to get the gateway's, give
    or take `uncertainty` seconds, where it knows."""

    agent: str
    at: float
    offset: float | None = None
    uncertainty: float = 0.0


class StageRefused(Event, frozen=True, tag="stage.refused"):
    """No slot free, or nothing by that name: the host asks another agent."""

    agent: str
    reason: str


class StageInput(Event, frozen=True, tag="stage.input"):
    """Input `sequence` (from 0) of a call."""

    sequence: int
    value: Value


class StageInputEnd(Event, frozen=True, tag="stage.input_end"):
    """No more input; `count` values were sent."""

    count: int


class StageCancel(Event, frozen=True, tag="stage.cancel"):
    """Stop at once; nothing more is wanted."""


class StageAlive(Event, frozen=True, tag="stage.alive"):
    """Heartbeat while a call lasts; silence of several means the agent is gone. `taken` inputs were used so far:
    the caller sends only so many ahead."""

    taken: int = 0


class StageOutput(Event, frozen=True, tag="stage.output"):
    """Output `sequence` (from 0) of a call, sent at `at` on the agent's clock, of the first `consumed` inputs."""

    sequence: int
    at: float
    value: Value
    consumed: int = 0


class StageDone(Event, frozen=True, tag="stage.done", omit_defaults=True):
    """The call is over; stamps on the agent's clock, `None` where the moment never came.

    `received`: the first input was there; `started`: a slot was; until `loaded` the component was built and warmed.
    `waited`: seconds in which it had to wait for more input. `declined`: why the component did not do as it was asked,
    by what was asked. `build`: the id of the record of what it ran on; `seed`: what that draws by.
    """

    count: int
    received: float
    started: float
    loaded: float
    first_output: float | None
    ended: float
    model_started: float | None = None
    waited: float = 0.0
    declined: dict[str, str] = {}
    build: str = ""
    seed: int | None = None


class StageFailed(Event, frozen=True, tag="stage.failed"):
    """The component raised, hung or gave the wrong type; `reason` is one line for a person."""

    reason: str


StageRequest = StageCall | StageInput | StageInputEnd | StageCancel
StageAnswer = StageAccepted | StageRefused | StageAlive | StageOutput | StageDone | StageFailed
