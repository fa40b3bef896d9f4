"""Tables of an experiment: Parquet and CSV of its rows, and the comparison as LaTeX."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import library
from ..sentences import number

ENDS = ("interval", "difference_interval")
NESTED = ("variance", "settled_by")


def flat(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each metric, statistic and pipeline; intervals as `…_low` and `…_high`, parts as `variance_sample`."""
    rows = []
    for entry in comparison["metrics"]:
        about = {name: value for name, value in entry.items() if name != "pipelines"}
        for row in entry["pipelines"]:
            made = about | {name: value for name, value in row.items() if name not in (*ENDS, *NESTED)}
            for name in ENDS:
                low, high = row[name] or (None, None)
                made |= {f"{name}_low": low, f"{name}_high": high}
            for name, parts in (("variance", ("sample", "repeat", "rest")), ("settled_by", ("more_samples",))):
                made |= {f"{name}_{part}": (row[name] or {}).get(part) for part in parts}
            rows.append(made)
    return rows


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`path.csv` and `path.parquet`; what is nested is JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    plain = [{name: _plain(row.get(name)) for name in names} for row in rows]
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(plain)
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    columns = {name: [row[name] for row in plain] for name in names}
    parquet.write_table(
        arrow.table({name: _column(arrow, each) for name, each in columns.items()}), str(path) + ".parquet"
    )


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else value


def _column(arrow: Any, values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return arrow.array(values, type=arrow.float64())
    return arrow.array(values) if len(kinds) < 2 else arrow.array([None if v is None else str(v) for v in values])


SPECIAL = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
           "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$",
           "<": "$<$", ">": "$>$"}  # fmt: skip


def latex(comparison: Mapping[str, Any]) -> str:
    """One table of all metrics, for the package booktabs."""
    lines = [r"% \usepackage{booktabs}", r"\begin{tabular}{llrrrrl}", r"\toprule",
             r"Metric & Pipeline & Value & Difference & 95\,\% interval & $p$ & Verdict \\"]  # fmt: skip
    for entry in comparison["metrics"]:
        lines.append(r"\midrule")
        unit = f", {entry['unit']}" if entry["unit"] else ""
        title = f"{entry['metric']} ({entry['statistic']}{unit})"
        for at, row in enumerate(entry["pipelines"]):
            ends = row["difference_interval"]
            cells = [
                title if at == 0 else "",
                row["pipeline"],
                _number(row["value"]),
                _number(row["difference"], signed=True),
                f"{number(ends[0])} to {number(ends[1])}" if ends else "",
                "" if row["p_adjusted"] is None else _p(row["p_adjusted"]),
                "baseline" if row["verdict"] is None else row["verdict"].replace("_", " "),
            ]
            lines.append(" & ".join(map(_escaped, cells)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _number(value: float | None, *, signed: bool = False) -> str:
    return "" if value is None else number(value, signed=signed)


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}"[1:] if p < 1 else "1"


def _escaped(text: Iterable[str]) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)
