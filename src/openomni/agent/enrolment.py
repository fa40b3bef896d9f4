"""The agent at the API's door: it registers, renews its bus credentials, and asks for pipelines, all over HTTP."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ..bus.credentials import Credentials
from ..errors import OpenOmniError
from ..pipeline import spec
from ..pipeline.spec import Pipeline
from ..storage.api import Api, Refused, Unreachable

T = TypeVar("T")


class UnknownAgent(OpenOmniError):
    """The server does not know this agent any more; it must register again."""


class BusAccess(Credentials, frozen=True):
    """What opens the bus, and where it is, best address first."""

    urls: list[str]


class Enrolment(msgspec.Struct, frozen=True):
    """What registration gives: who this agent is, in which project, and its way to the bus."""

    agent_id: str
    project: str
    bus: BusAccess


async def register(api: Api, description: dict[str, Any]) -> Enrolment:
    """`description`: name, machine, accelerators, components, roles, slots, version and public_key.

    Raises `Unreachable`, or `Refused` for a token that is not valid or lacks the scope.
    """
    try:
        return _read(api, await api.post("/agents", description), Enrolment)
    except Refused as refused:
        if refused.status == 403:
            line = f"the token may not register agents on {api.server}; use one with the scope `agent`"
            raise Refused(line, 403) from None
        raise


async def renew(api: Api, agent_id: str, public_key: str) -> Credentials:
    """Raises `UnknownAgent` when the agent must register again."""
    try:
        answer = await api.post(f"/agents/{agent_id}/credentials", {"public_key": public_key})
    except Refused as refused:
        if refused.status == 404:
            raise UnknownAgent(str(refused)) from None
        raise
    return _read(api, answer, Credentials)


async def fetch_pipeline(api: Api, name: str) -> Pipeline:
    """A pipeline that the server knows by name."""
    answer = await api.get(f"/pipelines/{name}")
    if not isinstance(answer, dict) or not isinstance(answer.get("spec"), dict):
        raise Unreachable(f"{api.server} gives no spec for the pipeline {name}; is it an OpenOmni server?")
    return spec.parse(answer["spec"], name)


def _read(api: Api, answer: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        line = f"{api.server} answers as no OpenOmni server of this version does ({error}); check --server"
        raise Unreachable(line) from None
