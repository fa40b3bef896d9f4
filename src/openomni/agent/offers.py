"""What an agent offers: the terms of `--offer`, held against what is installed on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..components import registry
from ..components.kinds import KINDS
from ..components.registry import ComponentInfo, Key
from ..errors import OpenOmniError, WrongUsage, nearest
from ..pipeline.spec import Pipeline

HOST = "host"
CALLER = "caller"
ALL = "all"
SIMULATED = "simulated"


@dataclass(frozen=True)
class AgentOffer:
    """`host`: it hosts live sessions and does queued turns; `components`: the stages it runs, for itself and others;
    `caller`: it plays people in the real-time cells of experiments.

    A host has the voice activity detectors too, which run beside its sessions and are not called from elsewhere.
    """

    host: bool
    components: Mapping[Key, ComponentInfo]
    caller: bool = False

    @property
    def roles(self) -> list[str]:
        return [HOST] * self.host + [CALLER] * self.caller

    @property
    def options(self) -> dict[str, list[str]]:
        """What may be asked of one call, by component (`kind:name`)."""
        return {f"{kind}:{name}": [*info.options] for (kind, name), info in self.components.items() if info.options}

    def covers(self, pipeline: Pipeline) -> bool:
        """Whether every stage of the pipeline, and its turn-taking, can be had from this offer alone."""
        return {*pipeline.needs, *pipeline.turn_taking.needs} <= self.components.keys()


def resolve(terms: str) -> AgentOffer:
    """Reads a list such as `host,stt:faster-whisper,llm`; `all` is `host`, `caller` and whatever is usable.

    A kind alone means every usable component of it. `simulated` ones are offered only by name. Raises `WrongUsage`
    for an unknown term and `OpenOmniError` for one that can't be met here, each with the mend.
    """
    wanted = [term.strip() for term in terms.split(",") if term.strip()]
    if not wanted:
        raise WrongUsage(f"--offer names nothing; give `{ALL}`, or a list such as host,stt:faster-whisper,llm")
    host = HOST in wanted or ALL in wanted
    found: dict[Key, ComponentInfo] = {}
    for term in wanted:
        found |= _components(term)
    if host:
        found |= _usable("vad") | _usable("turn")
    return AgentOffer(host, dict(sorted(found.items())), CALLER in wanted or ALL in wanted)


def unusable(info: ComponentInfo) -> str:
    """Why a component can't run here, with the mend; empty when it can."""
    if not info.missing:
        return ""
    module = f"the Python module {info.missing[0]!r}"
    return f"{info.kind}:{info.name} needs {module}, which is not installed; {info.mend}"


def _components(term: str) -> dict[Key, ComponentInfo]:
    if term in (HOST, CALLER):
        return {}
    if term == ALL:
        return {key: info for kind in KINDS for key, info in _usable(kind).items()}
    kind, _, name = term.partition(":")
    if kind not in KINDS:
        raise WrongUsage(f"--offer: unknown {kind!r}; {nearest(kind, [HOST, CALLER, ALL, *KINDS])}")
    if name:
        info = registry.find(kind, name)
        if info.missing:
            raise OpenOmniError(f"--offer: {unusable(info)}")
        return {(kind, name): info}
    usable = _usable(kind)
    if not usable:
        raise OpenOmniError(f"--offer: no {kind} component is usable here; {_mends(kind)}")
    return usable


def _usable(kind: str) -> dict[Key, ComponentInfo]:
    return {
        key: info for key, info in registry.registered(kind).items() if info.name != SIMULATED and not unusable(info)
    }


def _mends(kind: str) -> str:
    reasons = [unusable(info) for info in _named(registry.registered(kind).values())]
    return "; ".join(reasons) or f"install a package that has one, or write one (method {KINDS[kind].signature})"


def _named(infos: Iterable[ComponentInfo]) -> list[ComponentInfo]:
    return [info for info in infos if info.name != SIMULATED]
