"""What a report may be asked for, over HTTP and on its page."""

from __future__ import annotations

from typing import Annotated, Literal

from ninja import Field, Schema

from ... import bounds
from ..ground.fields import Moment, Name, OneOf
from .selection import Selection

Include = Literal["bench", "warm-up", "interrupted", "failed", "superseded"]
By = Literal[
    "agent", "component", "day", "device", "language", "model", "origin", "participant", "session", "site",
]  # fmt: skip


class ScopeQuery(Schema):
    """Which turns a report is about."""

    pipeline: Name = Field("", description="name or hash")
    experiment: Name = Field("", description="turns of its cells, of the runs that count")
    since: Moment | None = Field(None, description="recorded from then on")
    session: Name = ""
    participant: Name = ""
    origin: Annotated[str, OneOf("origin", "", "person", "text", "replay", "reprocess", "experiment", "bench")] = ""
    include: list[Include] = Field([], max_length=5, description="what is left out otherwise")

    def selection(self) -> Selection:
        return Selection(**self.dict(exclude={"include"}), include=frozenset(self.include))


class SelectionQuery(ScopeQuery):
    """And how its rows are made."""

    by: list[By] = Field([], max_length=10, description="what rows are told apart by, too")
    late_after: float = Field(3.0, ge=0, le=bounds.MAX_SECONDS, description="seconds; above it a turn was late")

    def selection(self) -> Selection:
        given = self.dict(exclude={"include", "by", "late_after"})
        return Selection(**given, include=frozenset(self.include), by=tuple(self.by), late_after_s=self.late_after)
