"""The page of an exported experiment: one file, without a script and without a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from ..sentences import number

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a24; --soft: #55556a; --ground: #fff; --line: #d9d9e3; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf2; --soft: #b0b0c2; --ground: #121218; --line: #34343f; } }
body { background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 76rem; padding: 1.5rem 1rem 4rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; }
td.n, th.n { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
p.soft, caption { color: var(--soft); text-align: left; }
figure { background: #fff; border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: .5rem; }
figure svg { height: auto; max-width: 100%; }
pre { overflow-x: auto; }
"""
HEADINGS = (
    "Pipeline",
    "Value",
    "95 % interval",
    "Difference",
    "95 % interval",
    "p",
    "Won · lost · tied",
    "Scored",
    "Verdict",
)


def html(bundle: Mapping[str, Any], figures: Mapping[str, str], methods: str) -> str:
    """All of it: tables, figures within, sentences, methods."""
    experiment, comparison = bundle["experiment"], bundle["comparison"]
    name = escape(experiment["name"])
    parts = [
        f"<h1>{name}</h1>",
        f'<p class="soft">Exported from OpenOmni. Compared with {escape(comparison["baseline"])}; samples are paired, '
        "repeats averaged first, intervals 95 %.</p>",
        _figure("front", figures, "Latency and accuracy of each pipeline, with its probability of being on the front"),
    ]
    for entry in comparison["metrics"]:
        parts.append(_table(entry))
        parts.append(_figure(f"{entry['metric']}-{entry['statistic']}", figures, f"Differences of {entry['metric']}"))
    said = [row["sentence"] for entry in comparison["metrics"] for row in entry["pipelines"] if row["verdict"]]
    parts += [
        "<h2>To quote</h2><ul>", *(f"<li>{escape(each)}</li>" for each in said), "</ul>",
        f"<h2>Methods</h2><p>{escape(methods)}</p>",
        "<h2>Beside this page</h2><p>cells, scores and comparison as .csv and .parquet; figures/ as SVG and PDF; "
        "tables/comparison.tex; methods.txt; manifest.json; experiment.json, which "
        "<code>openomni experiment import</code> takes.</p>",
    ]  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="'
        f'width=device-width, initial-scale=1"><title>{name}</title><style>{STYLE}</style></head><body><main>\n'
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def _figure(name: str, figures: Mapping[str, str], alt: str) -> str:
    if name not in figures:
        return ""
    # Within a page there is no XML declaration and no document type; ids are told apart by the figure's name.
    svg = figures[name][figures[name].index("<svg") :]
    prefix = re.sub(r"\W", "-", name)
    svg = re.sub(r'(\bid="|"#|url\(#)', lambda found: f"{found.group(1)}{prefix}-", svg)
    return f'<figure role="img" aria-label="{escape(alt)}">{svg}</figure>'


def _table(entry: Mapping[str, Any]) -> str:
    unit = f", {entry['unit']}" if entry["unit"] else ""
    heads = "".join(
        f'<th scope="col"{"" if at in (0, 8) else " class=n"}>{each}</th>' for at, each in enumerate(HEADINGS)
    )
    rows = "".join(_row(row) for row in entry["pipelines"])
    return (
        f"<h2>{escape(entry['metric'])} ({entry['statistic']}{escape(unit)})</h2>"
        f'<div class="scroll"><table><caption>version {escape(entry["version"])}; {entry["better"]} is better</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(row: Mapping[str, Any]) -> str:
    own = row["verdict"] is None
    cells = [
        "–" if row["value"] is None else number(row["value"]),
        _ends(row["interval"]),
        "" if row["difference"] is None else number(row["difference"], signed=True),
        _ends(row["difference_interval"]),
        "" if row["p_adjusted"] is None else f"{row['p_adjusted']:.4f}",
        "" if own else f"{row['wins']} · {row['losses']} · {row['ties']}",
        f"{row['scored']} of {row['planned']}",
    ]
    numbers = "".join(f'<td class="n">{each}</td>' for each in cells)
    verdict = "baseline" if own else row["verdict"].replace("_", " ")
    why = row["reason"] or row.get("undecided_because") or ""
    said = f"{verdict}: {escape(why)}" if why else verdict
    return f'<tr><th scope="row">{escape(row["pipeline"])}</th>{numbers}<td>{said}</td></tr>'


def _ends(ends: Any) -> str:
    return f"{number(ends[0])} to {number(ends[1])}" if ends else ""
