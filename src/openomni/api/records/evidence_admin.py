"""Admin over what was recorded: everyone of the project reads it, takes it along, and nobody edits it."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, ClassVar

import msgspec
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from ..accounts.project_admin import ProjectAdmin, TabularInline, display
from ..ground.file_response import ByteStretch

__all__ = ["EvidenceAdmin", "EvidenceInline", "values_filter"]


class _ReadOnly:
    """Looked at by those who may look at its project, and never changed by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission


class EvidenceInline(_ReadOnly, TabularInline):  # type: ignore[misc]
    """Rows of the evidence on a page; whoever may see the page may see them."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


class EvidenceAdmin(_ReadOnly, ProjectAdmin):
    """Set `records_name` and `record` for the export."""

    actions: ClassVar[Sequence[str]] = ("export_json", "export_csv")
    date_hierarchy: str | None = "created_at"
    records_name: ClassVar[str] = "items"
    prefetch_export: ClassVar[Sequence[str]] = ()

    @display(description="id", ordering="pk")
    def short_id(self, row: Any) -> str:
        """Enough to tell rows apart; the whole id takes half of a narrow screen."""
        return str(row.pk)[:8]

    def record(self, row: Any) -> dict[str, Any]:
        """What is exported of a row, as in REST."""
        raise NotImplementedError

    @admin.action(description="Export as JSON")
    def export_json(self, request: HttpRequest, queryset: QuerySet[Any]) -> StreamingHttpResponse:
        return _download(_json(self.records_name, self._records(queryset)), f"{self.records_name}.json")

    @admin.action(description="Export as CSV")
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Any]) -> StreamingHttpResponse:
        return _download(_csv(self._records(queryset)), f"{self.records_name}.csv")

    def _records(self, queryset: QuerySet[Any]) -> Iterator[dict[str, Any]]:
        rows: Iterable[Model] = queryset.prefetch_related(*self.prefetch_export).iterator(chunk_size=500)
        return map(self.record, rows)


def values_filter(name: str, path: str) -> type[admin.SimpleListFilter]:
    """A filter by the values that `path` has among the rows one may see; Django's own shows those of all projects
    when the path leads to another table."""

    class ValuesFilter(admin.SimpleListFilter):
        title = name
        parameter_name = path

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            rows = model_admin.get_queryset(request).exclude(**{path: ""})
            return [(value, value) for value in rows.order_by(path).values_list(path, flat=True).distinct()[:200]]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{path: self.value()}) if self.value() else queryset

    return ValuesFilter


def _download(pieces: Iterable[bytes], name: str) -> StreamingHttpResponse:
    # Through a file: an export of a year's turns must not be held in memory, nor the connection open while it is made.
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the response)
    file.writelines(pieces)
    response = StreamingHttpResponse(ByteStretch(file, 0, file.tell()))
    response["Content-Type"] = "application/json" if name.endswith("json") else "text/csv; charset=utf-8"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _json(name: str, records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield msgspec.json.encode({name: []})[:-2]
    for number, record in enumerate(records):
        yield (b",\n" if number else b"\n") + msgspec.json.encode(record)
    yield b"\n]}\n"


def _csv(records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    line = io.StringIO()
    writer = csv.writer(line)
    for number, record in enumerate(records):
        if number == 0:
            writer.writerow(record)
        writer.writerow(map(_cell, record.values()))
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    # What a stranger said must not become a formula in a spreadsheet.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
