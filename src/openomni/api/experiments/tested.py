"""The pipelines that an experiment is asked to test: found by name, by `name@hash`, and called by labels that tell them
apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ...pipeline import spec
from ..fleet import components
from ..ground.caller import Caller
from ..ground.errors import Refusal, not_found
from ..pipelines import catalogue
from ..pipelines.models import PipelineVersion

SHOWN = 8
"""Letters of a hash that tell two pipelines of one name apart."""


class UnderTest(NamedTuple):
    """A pipeline as it was asked for; `pinned` by its hash, rather than as it is now."""

    pipeline: spec.Pipeline
    pinned: bool

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def hash(self) -> str:
        return self.pipeline.hash


def named(caller: Caller, names: Iterable[str]) -> list[UnderTest]:
    """As asked for, each once. Raises Refusal: 404 for what there is not, 422 for what is wrong in one."""
    found: dict[str, UnderTest] = {}
    for each in names:
        tested = _named(caller, each.strip())
        found.setdefault(tested.hash, tested)
    known = components.schemas(caller.project_id)
    for tested in found.values():
        if faults := spec.check(tested.pipeline, known):
            raise Refusal(422, faults[0], errors=faults)
    return list(found.values())


def _named(caller: Caller, text: str) -> UnderTest:
    name, at, digest = text.partition("@")
    now = catalogue.builtin().get(name)
    if not at:
        return UnderTest(catalogue.find(caller.project_id, name).pipeline, pinned=False)
    if len(digest) >= SHOWN:
        if now is not None and now.hash.startswith(digest):
            return UnderTest(now.pipeline, pinned=True)
        rows = PipelineVersion.objects.filter(project_id=caller.project_id, pipeline__name=name)
        if (row := rows.filter(hash__startswith=digest).first()) is not None:
            return UnderTest(spec.parse(row.spec, name), pinned=True)
    return not_found(f"version of {name!r} called", digest)


def labels(tested: Sequence[UnderTest], there: Mapping[str, str]) -> dict[str, str]:
    """By hash, how each of them is called beside those that are `there` (label → hash): by its name, with a part of its
    hash where that is taken."""
    names = Counter(each.name for each in tested if each.hash not in there.values())
    taken = {label.partition("@")[0] for label in there}
    called = {}
    for each in tested:
        alone = names[each.name] < 2 and each.name not in taken
        called[each.hash] = each.name if alone else f"{each.name}@{each.hash[:SHOWN]}"
    return called | {hash: label for label, hash in there.items()}
