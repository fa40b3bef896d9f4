"""What bodies and queries of the REST interface are made of: how strictly they are read, and types whose bounds the
document shows as they are checked.

No value is read as another type: "5" is no number. What people write has a field with a value or leaves it out; parts
of OpenOmni may say null for what isn't known.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Self

from ninja import Field, Schema
from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from ... import bounds
from ...errors import nearest


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of what is there with a value or left out, and never null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    plain = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    if len(kinds) != 1:
        return plain
    del plain["anyOf"]
    return {**plain, **kinds[0]}


class Body(Schema, strict=True, extra="forbid"):
    """A body that a person or their script writes: a name that it does not have is refused, for one that is misspelt
    would be taken for nothing; and so is null, which may mean that nothing is known, or that something is to go."""

    @model_validator(mode="after")
    def _no_null(self) -> Self:
        if nulls := sorted(name for name in self.model_fields_set if getattr(self, name) is None):
            raise ValueError(f"{', '.join(nulls)}: null is no value; leave out what isn't known or is to stay")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        whole = handler.resolve_ref_schema(schema)
        whole["properties"] = {name: without_null(each) for name, each in whole.get("properties", {}).items()}
        return schema


class PartMessage(Schema, strict=True, extra="ignore", json_schema_extra={"additionalProperties": True}):
    """A body that a part of OpenOmni sends, which may be of another version: a name that this one does not have is left
    out, and null is not known."""


class OneOf:
    """In an `Annotated[str, …]`: only these. `what` they are is for the refusal, which has the nearest of them."""

    def __init__(self, what: str, *names: str) -> None:
        self._what, self._names = what, names

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self._names)}

    def _checked(self, name: str) -> str:
        if name not in self._names:
            raise ValueError(f"unknown {self._what} {name!r}; {nearest(name, filter(None, self._names))}")
        return name


MAX_SLUG = 40
_SLUG = "[a-z0-9][a-z0-9-]*"


def _slug(text: str) -> str:
    if not re.fullmatch(_SLUG, text):
        raise ValueError(f"{text!r} is no slug; use small letters, digits and '-', and start with no '-'")
    return text


_RFC_3339 = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) and re.match(_RFC_3339, text, re.ASCII) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError(f"{text!r:.60} is no moment; write 2026-01-31T10:00:00Z, or with an offset such as +01:00")
    if not bounds.MIN_MOMENT < moment.timestamp() < bounds.MAX_MOMENT:
        raise ValueError(f"{text} is not between 1970 and 2100")
    return moment


Moment = Annotated[
    datetime,
    BeforeValidator(_moment, json_schema_input_type=Annotated[str, Field(pattern=_RFC_3339)]),
    Field(json_schema_extra={"format": "date-time"}),
]
"""As RFC 3339 has it, with an offset, between 1970 and 2100."""

NewId = Annotated[str, Field(pattern=rf"^[0-9A-Za-z_-]{{1,{bounds.MAX_ID}}}$")]
"""Of a row that is to come; its maker makes it."""
NewSlug = Annotated[
    str,
    AfterValidator(_slug),
    Field(min_length=1, max_length=MAX_SLUG, json_schema_extra={"pattern": rf"^{_SLUG}$"}),
]
SlugOrNone = Annotated[str, Field(max_length=MAX_SLUG)]
"""Of a row that is there; empty for none."""
NewName = Annotated[str, Field(min_length=1, max_length=bounds.MAX_NAME)]
Name = Annotated[str, Field(max_length=bounds.MAX_NAME)]
Line = Annotated[str, Field(max_length=bounds.MAX_LINE)]
Text = Annotated[str, Field(max_length=bounds.MAX_TEXT)]
Position = Annotated[int, Field(ge=0, le=bounds.MAX_POSITION)]
Count = Annotated[int, Field(ge=0, le=bounds.MAX_INT)]
Rate = Annotated[int, Field(ge=1, le=bounds.MAX_RATE)]
UnixTime = Annotated[float, Field(ge=bounds.MIN_MOMENT, le=bounds.MAX_MOMENT)]
