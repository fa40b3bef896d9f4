"""How reports look in a terminal, and as files of rows."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import installs
from ..errors import OpenOmniError

Row = Mapping[str, Any]
OUTCOMES = ("on_time", "late", "early", "interrupted", "unanswered", "failed", "cancelled", "missing")


def show_latency(report: Mapping[str, Any], by: Sequence[str], late_after: float) -> None:
    """What became of the turns; then, for each pipeline and stage, its figures in seconds."""
    console = Console(highlight=False)
    turns = report["turns"]
    shown = [f"{turns[name]:,} {name.replace('_', ' ')}" for name in OUTCOMES if turns[name]]
    console.print(f"{turns['total']:,} turns" + (f": {', '.join(shown)}" if shown else ""), style="bold")
    if turns["late"]:
        console.print(f"late: above {late_after:g} s", style="dim")
    left = [f"{number:,} {name.replace('_', '-')}" for name, number in report["left_out"].items() if number]
    if left:
        console.print(f"left out: {', '.join(left)}; --include counts them in", style="dim")
    if not report["rows"]:
        console.print("no figures: none of these turns was completed, undisturbed and warm")
        return
    told = [row for row in report["rows"] if row["min"] or row["max"]]  # what is 0 throughout is in the files
    for pipeline, of_pipeline in groupby(told, lambda row: _pipeline(row, by)):
        console.print(f"\n{pipeline}", style="bold", markup=False, soft_wrap=True)
        console.print(_figures([], heads=True))
        for stage, of_stage in groupby(of_pipeline, _stage):
            console.print(stage, markup=False, soft_wrap=True)
            console.print(_figures(list(of_stage)))
    console.print("\nIn seconds. In brackets the 95 % interval of p95, given from 200 values on.", style="dim")


def _pipeline(row: Row, by: Sequence[str]) -> str:
    way = "live" if row["live"] else "queued"
    further = [
        f"{name} {row[name] or '–'}" for name in by if name in row and name not in ("agent", "component", "model")
    ]
    return ", ".join([f"{row['pipeline'] or 'no pipeline'} {row['pipeline_hash'][:12]}".rstrip(), way, *further])


def _stage(row: Row) -> str:
    if row["component"] is None:
        return "whole turns"
    model = f" {row['model']}" if row["model"] else ""
    return f"{row['kind']}: {row['component']}{model}" + (f" on {row['agent']}" if row["agent"] else "")


def _figures(rows: Sequence[Row], heads: bool = False) -> Table:
    """Columns of one width, so that the tables of all stages stand below each other; 79 characters together."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=heads, pad_edge=False)
    table.add_column("", width=18, no_wrap=True)
    for name, width in (("turns", 7), ("mean", 8), ("p50", 8), ("p90", 8), ("p95", 8)):
        table.add_column(name, width=width, justify="right", no_wrap=True)
    table.add_column("", width=16, no_wrap=True)
    for row in rows:
        interval = row["p95_interval"]
        around = f"[{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        numbers = [f"{row[name]:.3f}" for name in ("mean", "p50", "p90", "p95")]
        table.add_row(f"  {row['figure'].removesuffix('_s')}", f"{row['count']:,}", *numbers, escape(around))
    return table


def show_cost(report: Mapping[str, Any]) -> None:
    """A line for each pipeline and currency."""
    console = Console(highlight=False)
    if not report["rows"]:
        console.print("0 turns", style="bold")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("pipeline", overflow="fold")
    for name in ("turns", "cost", "per turn", "unknown"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report["rows"]:
        money = [
            "–" if row[name] is None else f"{row[name]:.4f} {row['currency']}".rstrip() for name in ("cost", "per_turn")
        ]
        called = f"{row['pipeline'] or 'no pipeline'} {row['pipeline_hash'][:12]}".rstrip()
        table.add_row(escape(called), f"{row['turns']:,}", *money, f"{row['unknown']:,}")
    console.print(table)
    if any(row["unknown"] for row in report["rows"]):
        console.print("unknown: turns of which a stage does not say what it cost", style="dim")


# ---- files of rows -------------------------------------------------------------------------------------------


def write_rows(rows: Sequence[Row], as_csv: Path | None, as_parquet: Path | None) -> None:
    """A line, or a row, each; intervals have a column for each end."""
    flat = [dict(_flat(row)) for row in rows]
    if as_csv is not None:
        _whole(as_csv, "--csv", lambda path: _write_csv(flat, path))
    if as_parquet is not None:
        _whole(as_parquet, "--parquet", lambda path: _write_parquet(flat, path))


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if name == "interval" or name.endswith("_interval"):
            stem = name.removesuffix("interval")
            yield from zip((f"{stem}low", f"{stem}high"), value or (None, None), strict=True)
        else:
            yield name, value


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise OpenOmniError(f"--parquet needs pyarrow, which is not installed; {installs.line('evaluation')}") from None
    parquet.write_table(arrow.Table.from_pylist(list(rows)), path)


def _whole(path: Path, option: str, write: Any) -> None:
    """The file is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OpenOmniError(f"can't write {path} ({error.strerror}); choose another file with {option}") from None
