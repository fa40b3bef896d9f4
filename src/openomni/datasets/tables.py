"""Rows of manifests, one after another: lines, JSON lines, CSV and Parquet. What can't be read is listed, and read
past."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any, TypeAlias, cast

import msgspec

from ..errors import MediaError
from .place import MAX_MANIFEST, Place
from .problems import Problems

MAX_LINE_BYTES = 1 << 20
MAX_ROWS = 1_000_000
"""Of one manifest; a Lhotse one has rows for recordings, too."""
LISTED = 20
"""Lines of one file with a bad encoding that are listed."""
PYARROW = "Parquet is read with pyarrow, which is not here: pip install pyarrow, or write the table as metadata.csv"

Row: TypeAlias = tuple[str, dict[str, Any]]
"""Where it stands (`file:row`, from 1), and its values by name."""


def rows(place: Place, name: str, problems: Problems) -> Iterator[Row]:
    """Of a table, by its ending: `.csv`, `.tsv`, `.parquet`, else JSON lines (`.gz` or not)."""
    lower = name.lower()
    if lower.endswith((".csv", ".tsv")):
        return csv_rows(place, name, problems)
    return parquet_rows(place, name, problems) if lower.endswith(".parquet") else json_rows(place, name, problems)


def lines(place: Place, name: str, problems: Problems) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its end. Text is UTF-8, with or without a mark at the beginning;
    a file that is gzip is unpacked, whatever its name."""
    try:
        with place.open(name) as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
            yield from _decoded(file, name, problems)
    except MediaError as error:
        problems.error("format", name, str(error))
    except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
        problems.error("broken", name, f"it cannot be read to its end ({error}); write or copy it again")


def _decoded(file: IO[bytes], name: str, problems: Problems) -> Iterator[tuple[int, str]]:
    taken = bad = 0
    for number in range(1, MAX_ROWS + 2):
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            break
        taken += len(line)
        if number > MAX_ROWS or taken > MAX_MANIFEST or len(line) > MAX_LINE_BYTES:
            problems.error(
                "bounds",
                f"{name}:{number}",
                f"a manifest has at most {MAX_ROWS:,} lines of at most "
                f"{MAX_LINE_BYTES >> 20} MiB, {MAX_MANIFEST >> 30} GiB in all; split it",
            )
            return
        if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
            problems.error("encoding", name, "it is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
            return
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            bad += 1
            if bad <= LISTED:
                problems.error(
                    "encoding",
                    f"{name}:{number}",
                    f"byte 0x{line[error.start]:02x} is no UTF-8; find out "
                    "what it is and convert the file, as in iconv -f WINDOWS-1252 -t UTF-8",
                )
            text = line.decode("utf-8", "replace")
        yield number, text.rstrip("\r\n")
    if bad > LISTED:
        problems.error("encoding", name, f"{bad - LISTED} more lines are no UTF-8; convert the file")


def json_rows(place: Place, name: str, problems: Problems) -> Iterator[Row]:
    """Each line one JSON object; empty lines are passed over."""
    for number, text in lines(place, name, problems):
        if not text.strip():
            continue
        where = f"{name}:{number}"
        try:
            value = msgspec.json.decode(text.encode())
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError, ValueError) as error:
            problems.error("row", where, f"it is no JSON ({error}); write one object a line, without NaN")
            continue
        if isinstance(value, dict):
            yield where, value
        else:
            problems.error("row", where, "it is JSON, but no object; write {…}, one a line")


def csv_rows(place: Place, name: str, problems: Problems) -> Iterator[Row]:
    """Values are text; those left empty are left out. `where` counts lines, for a quoted value may have several."""
    texts = (text + "\n" for _, text in lines(place, name, problems))
    reader = csv.reader(texts, delimiter="\t" if name.lower().endswith(".tsv") else ",")
    try:
        header = [each.strip() for each in next(reader, [])]
        if not any(header):
            problems.error("format", f"{name}:1", "it has no header; write the columns' names into the first line")
            return
        if len(set(header)) < len(header):
            problems.error("format", f"{name}:1", "two columns have the same name; rename one")
            return
        for values in reader:
            where = f"{name}:{reader.line_num}"
            if not values:
                continue
            if len(values) != len(header):
                problems.error(
                    "row",
                    where,
                    f"it has {len(values)} values, where the header has {len(header)}; quote those that hold commas",
                )
                continue
            yield where, {key: value for key, value in zip(header, values, strict=True) if key and value != ""}
    except csv.Error as error:
        problems.error("row", f"{name}:{reader.line_num}", f"it is no CSV ({error}); check its quotes")


def parquet_rows(place: Place, name: str, problems: Problems) -> Iterator[Row]:
    """Read in batches; what is null is left out."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        problems.error("format", name, PYARROW)
        return
    number = 0
    try:
        with place.open(name) as file, parquet.ParquetFile(file) as table:
            size = sum(table.metadata.row_group(each).total_byte_size for each in range(table.num_row_groups))
            if size > MAX_MANIFEST:
                problems.error("bounds", name, f"a manifest has at most {MAX_MANIFEST >> 30} GiB, unpacked; split it")
                return
            for batch in table.iter_batches(batch_size=1_000):
                for values in batch.to_pylist():
                    number += 1
                    if number > MAX_ROWS:
                        problems.error("bounds", name, f"a manifest has at most {MAX_ROWS:,} rows; split it")
                        return
                    yield (
                        f"{name}:{number}",
                        {str(key): _plain(value) for key, value in values.items() if value is not None},
                    )
    except MediaError as error:
        problems.error("format", name, str(error))
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError, NotImplementedError) as error:
        problems.error("broken", f"{name}:{number + 1}", f"it is no Parquet that can be read ({error}); write it again")


def _plain(value: Any) -> Any:
    """As JSON has it: times and decimals as text, bytes not at all."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)


def first(place: Place, name: str) -> dict[str, Any]:
    """The first row of JSON lines or CSV, for recognising a format; empty where there is none. Lists nothing."""
    if name.lower().endswith(".parquet"):
        return {}
    found = next(islice(rows(place, name, Problems()), 1), None)
    return found[1] if found else {}


def header(place: Place, name: str) -> set[str]:
    """The names of a CSV's columns. Lists nothing."""
    line = next(lines(place, name, Problems()), (1, ""))[1]
    try:
        return {each.strip() for each in next(csv.reader([line]), [])}
    except csv.Error:
        return set()
