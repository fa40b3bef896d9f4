"""`openomni experiment compare`: which pipeline is better, by how much, and how sure that is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from ..errors import OpenOmniError, WrongUsage, nearest
from ..storage.api import Api
from ..timeline import hours_and_minutes
from .asking import HERE, Json, Server, Token, ask
from .output import check_json, write_json
from .turns import _console

if TYPE_CHECKING:
    from rich.table import Table

VERDICTS = ("better", "worse", "tied", "too_few")
STYLES = {"better": "green", "worse": "red", "too_few": "yellow"}
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `openomni experiment list` shows it.")]
Baseline = Annotated[str, typer.Option(metavar="A", help="Compare with this pipeline rather than with its own.")]


def compare(
    name: Name,
    baseline: Baseline = "",
    metrics: Annotated[str, typer.Option(metavar="M,…", help="Only these; else all that were scored.")] = "",
    fail_on: Annotated[
        str, typer.Option("--fail-on", metavar="VERDICT", help="Exit 1 where a pipeline is that: worse, say.")
    ] = "",
    samples: Annotated[
        str, typer.Option("--samples", metavar="METRIC", help="List each sample's wins and losses under this metric.")
    ] = "",
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Which pipeline is better: figures, paired differences with their intervals, and a word each.

    Example: openomni experiment compare questions --fail-on worse
    """
    check_json(json)
    if fail_on and fail_on not in VERDICTS:
        raise WrongUsage(f"--fail-on {fail_on!r} is no verdict; {nearest(fail_on, VERDICTS)}")
    where = f"/experiments/{quote(name, safe='')}/comparison"
    found = ask(server, token, lambda api: api.get(where, **_given(baseline=baseline, metrics=metrics)))
    if line := ask(server, token, lambda api: _preliminary(api, name)):
        print(line, file=sys.stderr)
    console = _console()
    for entry in _shown(found):
        console.print(_table(entry))
    for line in _beside(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if samples:
        query = _given(baseline=baseline, metric=samples)
        listed = ask(server, token, lambda api: api.get(f"{where}/samples", **query))
        console.print(_by_sample(listed))
        found = {**found, "samples": listed}
    write_json(json, found)
    held = list(_holding(found, fail_on)) if fail_on else []
    if held:
        raise OpenOmniError(f"{fail_on.replace('_', ' ')}: {'; '.join(held)}")


async def _preliminary(api: Api, name: str) -> str:
    """That there is more to come, or was to; empty of one that is done."""
    found = await api.get(f"/experiments/{quote(name, safe='')}")
    cells = found["cells"]
    if found["status"] == "done":
        return ""
    goes_on = "it is still running" if found["status"] == "running" else "it was cancelled"
    if not cells["run"]:
        return f"{goes_on}, and none of its {cells['planned']:,} cells has run: there is nothing to compare"
    return f"{goes_on}: {cells['run']:,} of {cells['planned']:,} cells have run, and these alone are compared"


async def foreseen(api: Api, name: str) -> str:
    """A line on the smallest difference that the experiment detects; empty where the server can't tell."""
    try:
        found = await api.get(f"/experiments/{quote(name, safe='')}/detectable")
    except OpenOmniError:
        return ""  # its server has no libraries for it, or is an older one
    if found["in_sd"] is None:
        return "it has too few samples to compare pipelines by"
    said = [f"{each['metric']} {number(each['difference'])} {each['unit']}".rstrip() for each in found["metrics"][:6]]
    by = f"; after {found['measured_in']}: {', '.join(said)}" if said else ""
    return (f"with {found['power']:.0%} probability it tells a difference of {found['in_sd']:.2f} or more times the "
            f"scatter of a sample's paired differences{by}")  # fmt: skip


async def forecast(api: Api, name: str) -> str:
    """A line on what it will take and cost; empty where the server is an earlier one."""
    try:
        found = await api.get(f"/experiments/{quote(name, safe='')}/forecast")
    except OpenOmniError:
        return ""
    if not found["turns"]:
        return ""
    least = f"; what is said lasts {hours_and_minutes(found['at_least_s'])}" if found["at_least_s"] else ""
    if found["takes_s"] is None:
        never = f"{_and(found['untimed'])} never ran like this here"
        line = f"how long its {found['turns']:,} turns take is not known: {never}{least}"
    else:
        line = f"its {found['turns']:,} turns take about {hours_and_minutes(found['takes_s'])}, as earlier ones did"
    costs = [f"{number(each['cost'])} {each['currency']}".rstrip() for each in found["costs"]]
    if costs:
        unpriced = f", and of {_and(found['unpriced'])} nothing is known" if found["unpriced"] else ""
        return f"{line}; they cost about {' and '.join(costs)}, as earlier ones did{unpriced}"
    return f"{line}; nothing is known of what they cost" if found["unpriced"] else line


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _given(**query: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


def _holding(found: Mapping[str, Any], verdict: str) -> Iterable[str]:
    for entry in found["metrics"]:
        for row in entry["pipelines"]:
            if row["verdict"] == verdict:
                yield f"{row['pipeline']} by {entry['metric']} ({entry['statistic']})"


def _shown(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What has a value, the metrics of the picture's axes first."""
    axes = [name for name in found["axes"].values() if name]
    told = [entry for entry in found["metrics"] if any(row["value"] is not None for row in entry["pipelines"])]
    return sorted(told, key=lambda entry: axes.index(entry["metric"]) if entry["metric"] in axes else len(axes))


def _table(entry: Mapping[str, Any]) -> Table:
    """At most 80 columns wide, with names of pipelines of up to 20."""
    from rich.table import Table
    from rich.text import Text

    counts = [f"{row['scored']} of {row['planned']}" for row in entry["pipelines"]]
    unit = f" in {entry['unit']}" if entry["unit"] else ""
    of = f"; {counts[0]} samples" if len(set(counts)) == 1 else ""
    title = f"{entry['metric']}{unit}, {entry['statistic']} ({entry['better']} is better{of})"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("pipeline", overflow="fold", min_width=12)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("difference", "95 % interval", "p", "w/l/t"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, count in zip(entry["pipelines"], counts, strict=True):
        own = row["verdict"] is None
        table.add_row(
            row["pipeline"] if of else f"{row['pipeline']} ({count})",
            number(row["value"]),
            Text("baseline" if own else _said(row), style="dim" if own else STYLES.get(row["verdict"], "")),
            "" if own else number(row["difference"], signed=True),
            "" if own else interval(row["difference_interval"]),
            "" if own or row["p_adjusted"] is None else f"{row['p_adjusted']:.4f}",
            "" if own else f"{row['wins']}/{row['losses']}/{row['ties']}",
        )
    return table


def _said(row: Mapping[str, Any]) -> str:
    said = str(row["verdict"]).replace("_", " ")
    if row["non_inferior"]:
        said += ", not inferior"
    return said


def _beside(found: Mapping[str, Any]) -> Iterable[str]:
    """What a table has no room for."""
    yield f"baseline: {found['baseline']}; intervals are {found['confidence']:.0%}; counts are of samples"
    chances = [
        f"{each['pipeline']} {each['probability']:.0%}" for each in found["front"] if each["probability"] is not None
    ]
    if chances:
        axes = " × ".join(name for name in found["axes"].values() if name)
        yield f"on the Pareto front of {axes}: {', '.join(chances)}"
    players = found.get("players", ())  # an earlier server knows recordings alone
    if players:
        yield f"the user was played by {found['player']}"
    if len(players) > 1:
        several = ", ".join(f"{each['player']} in {each['cells']} cells" for each in players)
        yield f"the user was not the same in all cells, which is in these figures, too: {several}"
    yield from _untold(found)
    for entry in found["metrics"]:
        for row in entry["pipelines"]:
            more = (row["settled_by"] or {}).get("more_samples")
            if more:
                yield (f"{row['pipeline']}, {entry['metric']}: a difference as large as this one would take about "
                       f"{more} more samples to tell")  # fmt: skip
    for each in found["varies"]:
        if each["differ"]:
            yield (f"{each['pipeline']} answered differently from repeat to repeat on {each['differ']} of "
                   f"{each['samples']} samples")  # fmt: skip
    for each in found["left_out"]:
        yield f"left out: {each['metric']}, for {each['reason']}"


def _untold(found: Mapping[str, Any]) -> Iterable[str]:
    """Why a figure or a verdict is not there: once for all that lack it for the same reason."""
    lacking: dict[str, dict[str, list[str]]] = {}
    for entry in found["metrics"]:
        for row in entry["pipelines"]:
            if why := row["reason"] or row.get("undecided_because"):
                whose = lacking.setdefault(why, {}).setdefault(f"{entry['metric']} ({entry['statistic']})", [])
                whose.append(row["pipeline"])
    every = {row["pipeline"] for entry in found["metrics"] for row in entry["pipelines"]}
    for why, figures in lacking.items():
        told = [name if set(whose) == every else f"{name} of {', '.join(whose)}" for name, whose in figures.items()]
        yield f"not told, for {why}: {', '.join(told)}"


def _by_sample(listed: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"\n{listed['metric']}, sample by sample", title_justify="left", title_style="bold", box=None,
                  pad_edge=False)  # fmt: skip
    table.add_column("sample", overflow="fold")
    for each in listed["samples"][0]["pipelines"] if listed["samples"] else ():
        table.add_column(each["pipeline"], justify="right")
    styles = {"won": "green", "lost": "red"}
    for sample in listed["samples"]:
        cells = [
            Text(
                f"{'unanswered' if each['unanswered'] else number(each['value'])} {each['outcome'] or ''}".strip(),
                style=styles.get(each["outcome"] or "", ""),
            )
            for each in sample["pipelines"]
        ]
        table.add_row(sample["sample"], *cells)
    return table


def number(value: float | None, *, signed: bool = False) -> str:
    """– where there is none."""
    if value is None:
        return "–"
    from ..evaluation.sentences import number as shown

    return shown(value, signed=signed)


def interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else f"{number(ends[0])} … {number(ends[1])}"


def register(app: typer.Typer) -> None:
    """Adds the commands of this file to `openomni experiment`."""
    app.command("compare")(compare)
