"""Paging by cursor: `{items, next}`. Stable while rows are added, and cheap on any page, for it never counts."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.utils.dateparse import parse_datetime
from ninja import Field, Schema
from pydantic import ValidationError as PydanticError

from ... import bounds
from .errors import bad_request

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


class Paging(Schema):
    """The query of a list: where to go on, and how many at most."""

    cursor: str = Field(
        "",
        max_length=2000,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="`next` of the page before; empty for the first page",
    )
    limit: int = Field(50, ge=1, le=500)


def of_query(cursor: str, limit: int) -> Paging:
    """For a page rather than an endpoint: nobody has looked at its query yet. Raises Refusal for what is no cursor."""
    try:
        return Paging(cursor=cursor, limit=limit)
    except PydanticError:
        bad_request(_BAD_CURSOR)


class Page(Schema, Generic[Item]):
    """A page of a list; `next` is null on the last one."""

    items: list[Item]
    next: str | None


def page(rows: QuerySet[Row], paging: Paging, order: str = "-created_at") -> dict[str, Any]:
    """One page of `rows` by `order`: a field that is never null, with '-' in front for the newest first."""
    field, descending = order.lstrip("-"), order.startswith("-")
    if paging.cursor:
        value, key = _read(paging.cursor)
        if field != "pk" and isinstance(rows.model._meta.get_field(field), DateTimeField):
            value = _moment(value)
        beyond = "lt" if descending else "gt"
        try:
            rows = rows.filter(Q(**{f"{field}__{beyond}": value}) | Q(**{field: value, f"pk__{beyond}": key}))
        except (ValueError, TypeError, OverflowError, ValidationError):
            bad_request(_BAD_CURSOR)
    found = list(rows.order_by(order, "-pk" if descending else "pk")[: paging.limit + 1])
    items = found[: paging.limit]
    return {"items": items, "next": _write(items[-1], field) if len(found) > len(items) else None}


_BAD_CURSOR = "this cursor is none of ours; leave it out to start from the first page"


def _write(row: Model, field: str) -> str:
    value = getattr(row, field)
    content = [value.isoformat() if hasattr(value, "isoformat") else value, row.pk]
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).decode().rstrip("=")


def _read(cursor: str) -> tuple[Any, Any]:
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        value, key = msgspec.json.decode(content, type=tuple[str | int | float, str | int])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        bad_request(_BAD_CURSOR)
    if not bounds.storable_json([value, key]):
        bad_request(_BAD_CURSOR)
    return value, key


def _moment(value: object) -> datetime:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
        if moment and moment.tzinfo:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return bad_request(_BAD_CURSOR)
