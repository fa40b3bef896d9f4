"""Figures of a comparison as SVG and PDF: differences with their intervals, and latency × accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ..checks import library

COLOURS = {"better": "#0b6b43", "worse": "#a81e2c", "tied": "#55556a", "too_few": "#7a4a00"}
ACCENT = "#5b3fd6"
# Text stays text, so that it can be searched and set in the paper's own type; no file says when it was made.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "openomni", "pdf.fonttype": 42, "font.size": 9}


def draw(comparison: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Writes each figure twice, `NAME.svg` and `NAME.pdf`, and gives the SVG texts by name.

    Raises OpenOmniError where matplotlib is missing.
    """
    matplotlib = library("matplotlib")
    figure = library("matplotlib.figure").Figure
    made: dict[str, str] = {}
    with matplotlib.rc_context(STYLE):
        for entry in comparison["metrics"]:
            if (drawn := _forest(figure, entry)) is not None:
                name = f"{entry['metric']}-{entry['statistic']}".replace("/", "-").lstrip(".")
                made[name] = _save(drawn, folder, name)
        if (drawn := _front(figure, comparison)) is not None:
            made["front"] = _save(drawn, folder, "front")
    return made


def _save(figure: Any, folder: Path, name: str) -> str:
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    (folder / f"{name}.svg").write_text(text.getvalue(), encoding="utf-8")
    return text.getvalue()


def _forest(make: Any, entry: Mapping[str, Any]) -> Any:
    rows = [row for row in entry["pipelines"] if row["difference"] is not None]
    if not rows:
        return None
    figure = make(figsize=(6, 0.9 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="#84849a", linewidth=1)
    if entry["margin"]:
        for side in (-entry["margin"], entry["margin"]):
            axes.axvline(side, color="#84849a", linewidth=1, linestyle=":")
    for at, row in enumerate(rows):
        colour = COLOURS[row["verdict"]]
        if row["difference_interval"]:
            axes.plot(row["difference_interval"], [at, at], color=colour, linewidth=1.5)
        axes.plot([row["difference"]], [at], "o", color=colour, markersize=5)
    axes.set_yticks(
        range(len(rows)), [_plain(f"{row['pipeline']}: {row['verdict'].replace('_', ' ')}") for row in rows]
    )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    unit = f" [{entry['unit']}]" if entry["unit"] else ""
    axes.set_xlabel(_plain(f"difference of {entry['metric']} ({entry['statistic']}){unit}, 95 % interval"))
    _bare(axes)
    return figure


def _front(make: Any, comparison: Mapping[str, Any]) -> Any:
    points = [each for each in comparison["front"] if None not in (each["latency"], each["accuracy"])]
    if not points:
        return None
    figure = make(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for point in points:
        filled = (point["probability"] or 0) >= 0.5
        if point["latency_interval"]:
            axes.plot(point["latency_interval"], [point["accuracy"]] * 2, color=ACCENT, linewidth=1)
        if point["accuracy_interval"]:
            axes.plot([point["latency"]] * 2, point["accuracy_interval"], color=ACCENT, linewidth=1)
        axes.plot([point["latency"]], [point["accuracy"]], "o", color=ACCENT, markerfacecolor=ACCENT if filled else "w")
        chance = "" if point["probability"] is None else f" ({point['probability']:.0%})"
        axes.annotate(_plain(f"{point['pipeline']}{chance}"), (point["latency"], point["accuracy"]), xytext=(6, 5),
                      textcoords="offset points")  # fmt: skip
    by = comparison["axis_statistics"]
    axes.set_xlabel(_plain(f"{comparison['axes']['latency']} ({by['latency']})"))
    axes.set_ylabel(_plain(f"{comparison['axes']['accuracy']} ({by['accuracy']})"))
    _bare(axes)
    return figure


def _bare(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """A dollar begins no formula."""
    return text.replace("$", r"\$")
