"""`openomni report`: tables of what was recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import WrongUsage
from .access import NO_TOKEN, TOKEN_HELP
from .asking import HERE, Server
from .output import check_json, write_json

app = typer.Typer(
    help="Tables of what was recorded: latency, cost.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip

Token = Annotated[str, typer.Option(envvar="OPENOMNI_TOKEN", help=TOKEN_HELP.format("viewer"))]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report to this file.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write its rows to this file.")]
Parquet = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write its rows to this file.")]
OfPipeline = Annotated[str, typer.Option("--pipeline", help="Of this pipeline, by its name or hash.")]
OfExperiment = Annotated[str, typer.Option("--experiment", help="Of the turns of this experiment's cells.")]
Since = Annotated[
    str, typer.Option(help="Recorded since: 2026-01-31, 2026-01-31T10:00:00Z, or so long ago: 90m, 24h, 7d.")
]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.callback()
def main() -> None:
    """Tables of what was recorded."""


@app.command()
def latency(
    pipeline: OfPipeline = "",
    experiment: OfExperiment = "",
    since: Since = "",
    session: Annotated[str, typer.Option(help="Of this session.")] = "",
    participant: Annotated[str, typer.Option(help="Of what this participant said.")] = "",
    origin: Annotated[str, typer.Option(help="person, text, replay, reprocess, experiment or bench.")] = "",
    by: Annotated[
        str, typer.Option(metavar="A,B", help="Tell rows apart by day, device, language, origin, participant, …, too.")
    ] = "",
    include: Annotated[
        str, typer.Option(metavar="A,B", help="Count these in: bench, warm-up, interrupted, failed, superseded.")
    ] = "",
    late_after: Annotated[float, typer.Option(metavar="S", help="Later than so many seconds is late.")] = 3.0,
    csv: Csv = None,
    parquet: Parquet = None,
    json: Json = None,
    server: Server = HERE,
    token: Token = "",
) -> None:
    """How long turns and their stages took, and what became of the turns.

    Example: openomni report latency --pipeline local --since 7d --by day --csv latency.csv
    """
    wanted = {
        "pipeline": pipeline, "experiment": experiment, "since": moment(since), "session": session,
        "participant": participant, "origin": origin, "by": listed(by), "include": listed(include),
        "late_after": late_after,
    }  # fmt: skip
    report = ask(server, token, "/reports/latency", wanted, (json, csv, parquet))
    from .report_tables import show_latency, write_rows

    show_latency(report, listed(by), late_after)
    write_json(json, report)
    write_rows(report["rows"], csv, parquet)


@app.command()
def cost(
    pipeline: OfPipeline = "",
    experiment: OfExperiment = "",
    since: Since = "",
    include: Annotated[str, typer.Option(metavar="A,B", help="Count these in: bench, warm-up, superseded.")] = "",
    csv: Csv = None,
    parquet: Parquet = None,
    json: Json = None,
    server: Server = HERE,
    token: Token = "",
) -> None:
    """What turns cost, as far as their components say."""
    wanted = {
        "pipeline": pipeline, "experiment": experiment, "since": moment(since), "include": listed(include),
    }  # fmt: skip
    report = ask(server, token, "/reports/cost", wanted, (json, csv, parquet))
    from .report_tables import show_cost, write_rows

    show_cost(report)
    write_json(json, report)
    write_rows(report["rows"], csv, parquet)


def ask(
    server: str, token: str, path: str, wanted: Mapping[str, Any], files: Sequence[Path | None]
) -> dict[str, Any]:  # fmt: skip
    """The report as the server computes it, once it is known that it can be written where it is to go."""
    for file in files:
        check_json(file)
    if not token:
        raise WrongUsage(NO_TOKEN.format("viewer"))
    from ..results import connect

    with connect(server, token) as results:
        report: dict[str, Any] = results.get(path, **{name: value for name, value in wanted.items() if value != ""})
    return report


def listed(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def moment(text: str, now: datetime | None = None) -> str:
    """As the server takes it, in RFC 3339; a moment without an offset is in this machine's time. Empty for none."""
    if not text:
        return ""
    if ago := re.fullmatch(r"(\d{1,5})([mhd])", text.strip()):
        past = (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return f"{past:%Y-%m-%dT%H:%M:%SZ}"
    try:
        return f"{datetime.fromisoformat(text.strip()).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError):
        raise WrongUsage(f"--since {text!r}: write a day such as 2026-01-31, or how long ago, such as 7d") from None
