"""Statements of SQL that are built once, for who says the same few over and over: the ORM builds each one anew, which
costs a writer of records several times what its database does. Tables, columns and conversions are the ORM's own; no
signal is sent.

Values go by a field's `attname` (`session_id` for `session`), and are not validated. Names are those of fields, never
what somebody else said. Which rows are meant is said by what they have: None, a value, or one of a set of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.utils import timezone

Row = TypeVar("Row", bound=models.Model)
Values = Mapping[str, object]
_Where = tuple[tuple[str, int | None], ...]

_AS_THEY_ARE = (models.CharField, models.TextField, models.FloatField, models.IntegerField, models.BooleanField)
"""Fields whose values databases take as Python has them."""


class Statements(Generic[Row]):
    """Those about one model's table."""

    def __init__(self, model: type[Row]) -> None:
        self._model = model
        self._table = model._meta.db_table
        self._key = model._meta.pk.attname
        self._fields = {field.attname: field for field in model._meta.concrete_fields}
        self._columns_of = {name: str(field.column) for name, field in self._fields.items()}
        self._plain = {name for name, field in self._fields.items() if isinstance(_own(field), _AS_THEY_ARE)}
        self._converters: dict[str, list[tuple[int, Callable[..., Any], Any]]] = {}

    def find(self, *, lock: bool = False, **having: object) -> list[Row]:
        """Those rows, in no order; with `lock`, ours alone until the transaction ends."""
        names, found = list(self._fields), []
        for row in self._select(names, having, lock):
            values = list(row)
            for place, convert, column in self._readers():
                values[place] = convert(values[place], column, connection)
            found.append(self._model.from_db(DEFAULT_DB_ALIAS, names, values))
        return found

    def first(self, *, lock: bool = False, **having: object) -> Row | None:
        """One of them, if there is any."""
        return next(iter(self.find(lock=lock, **having)), None)

    def locked(self, key: object, **made: object) -> Row:
        """The row with this key, ours alone until the transaction ends; made so when it is not there yet."""
        name = self._key
        while (row := self.first(lock=True, **{name: key})) is None:
            self.insert([{name: key, **made}], unique=(name,))  # nothing, if another was first
        return row

    def values(self, *names: str, **having: object) -> list[tuple[Any, ...]]:
        """Texts and numbers of those rows."""
        return self._select(names, having)

    def insert(self, rows: Iterable[Values], *, unique: Sequence[str] = (), update: Sequence[str] = ()) -> None:
        """New rows, all with the same names; what is not named is as the model has it. Where there is one with these
        `unique` values, its columns `update` become the new ones; without any, it stays as it is."""
        given = list(rows)
        if not given:
            return
        names = tuple(given[0])
        unnamed = tuple(name for name, field in self._fields.items() if name not in given[0] and not field.primary_key)
        rest = [self._ready(name, self._default(name)) for name in unnamed]
        statement = _insert(
            connection.vendor, self._table, self._columns((*names, *unnamed)), self._columns(unique),
            self._columns(update),
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.executemany(
                statement, [[*(self._ready(name, each[name]) for name in names), *rest] for each in given]
            )

    def save(self, row: Row) -> None:
        """The whole row: as a new one, or over what it was."""
        values = {name: getattr(row, name) for name in self._fields}
        if row._state.adding:
            self.insert([{name: value for name, value in values.items() if value is not None}])
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
        else:
            key = values.pop(self._key)
            self.update(values, **{self._key: key})

    def update(self, values: Values, **having: object) -> int:
        """Gives how many rows there were."""
        where, given = self._where(having)
        statement = _update(connection.vendor, self._table, self._columns(values), where)
        with connection.cursor() as cursor:
            cursor.execute(statement, [*(self._ready(name, each) for name, each in values.items()), *given])
            return int(cursor.rowcount)

    def delete(self, **having: object) -> None:
        """Nothing that points at them goes with them."""
        where, given = self._where(having)
        with connection.cursor() as cursor:
            cursor.execute(_delete(connection.vendor, self._table, where), given)

    def _select(self, names: Sequence[str], having: Values, lock: bool = False) -> list[tuple[Any, ...]]:
        where, given = self._where(having)
        with connection.cursor() as cursor:
            cursor.execute(_select(connection.vendor, self._table, self._columns(names), where, lock), given)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def _where(self, having: Values) -> tuple[_Where, list[Any]]:
        """What is asked of which column: of how many values it has one, None where it is null; and these values."""
        where: list[tuple[str, int | None]] = []
        given: list[Any] = []
        for name, value in having.items():
            values = [] if value is None else list(value) if isinstance(value, set | frozenset) else [value]
            where.append((self._columns_of[name], None if value is None else len(values)))
            given += [self._ready(name, each) for each in values]
        return tuple(where), given

    def _columns(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self._columns_of.__getitem__, names))

    def _ready(self, name: str, value: object) -> Any:
        """As the database takes it."""
        if value is None or name in self._plain:
            return value
        return self._fields[name].get_db_prep_save(value, connection)

    def _default(self, name: str) -> object:
        field = self._fields[name]
        return timezone.now() if getattr(field, "auto_now_add", False) else field.get_default()

    def _readers(self) -> list[tuple[int, Callable[..., Any], Any]]:
        """What makes Python's values of the database's, by their place."""
        known = self._converters.get(connection.vendor)
        if known is None:
            known = self._converters[connection.vendor] = []
            for place, field in enumerate(self._fields.values()):
                column = field.get_col(self._table)
                for convert in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection)):
                    known.append((place, convert, column))
        return known


def _own(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """The field whose values it has: another table's, where it points there."""
    return _own(field.target_field) if isinstance(field, models.ForeignKey) else field


@lru_cache(512)
def _select(vendor: str, table: str, columns: tuple[str, ...], where: _Where, lock: bool) -> str:
    locked = " FOR UPDATE" if lock and connection.features.has_select_for_update else ""
    return f"SELECT {_listed(columns)} FROM {_quoted(table)} WHERE {_asked(where)}{locked}"  # noqa: S608


@lru_cache(512)
def _insert(vendor: str, table: str, columns: tuple[str, ...], unique: tuple[str, ...], update: tuple[str, ...]) -> str:
    statement = f"INSERT INTO {_quoted(table)} ({_listed(columns)}) VALUES ({_places(len(columns))})"  # noqa: S608
    if not unique:
        return statement
    new = ", ".join(f"{_quoted(each)} = EXCLUDED.{_quoted(each)}" for each in update)
    return f"{statement} ON CONFLICT ({_listed(unique)}) DO {f'UPDATE SET {new}' if new else 'NOTHING'}"


@lru_cache(512)
def _update(vendor: str, table: str, columns: tuple[str, ...], where: _Where) -> str:
    new = ", ".join(f"{_quoted(each)} = %s" for each in columns)
    return f"UPDATE {_quoted(table)} SET {new} WHERE {_asked(where)}"  # noqa: S608


@lru_cache(512)
def _delete(vendor: str, table: str, where: _Where) -> str:
    return f"DELETE FROM {_quoted(table)} WHERE {_asked(where)}"  # noqa: S608


def _asked(where: _Where) -> str:
    return " AND ".join(
        f"{_quoted(column)} IS NULL"
        if values is None
        else f"{_quoted(column)} IN ({_places(values)})"
        if values
        else "FALSE"
        for column, values in where
    )


def _places(values: int) -> str:
    return ", ".join(["%s"] * values)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(_quoted, columns))


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
