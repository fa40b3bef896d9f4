"""`openomni metrics`: what is found on this machine, and whether one of your own keeps its promises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ..errors import OpenOmniError
from .components import parameters_of
from .output import check_json, write_json

app = typer.Typer(help="List metrics, and check your own.", add_completion=False, no_args_is_help=True)

Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]


@app.command("list")
def list_metrics(json: Json = None) -> None:
    """The metrics that come along and those of installed packages, and what is missing to run them."""
    from ..metrics import registry

    check_json(json)
    found = list(registry.registered().values())
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        missing = f"  [missing: {each.mend}]" if each.mend else ""
        unit = each.unit or "–"
        print(f"{each.name:<{width}}  {each.takes:<7}  {unit:<5}  {each.better or '–':<6}  {_line(each)}{missing}")
    problems = registry.problems()
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
    write_json(json, {"metrics": msgspec.to_builtins(found), "problems": problems})


@app.command()
def check(
    metric: Annotated[
        str, typer.Argument(metavar="FILE", help="my_metrics.py, my_metrics.py:NAME, package.module:NAME, or a name.")
    ],
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one call may take.")] = 60.0,
    json: Json = None,
) -> None:
    """Tries a metric on made-up runs, in a process of its own; exit status 1 when it fails on one."""
    from ..metrics.conformance import Check, checks

    check_json(json)

    def report(each: Check) -> None:
        told = f"fault  {each.promise}: {each.fault}" if each.fault else f"ok     {each.promise}"
        print(f"{told}: {each.result}" if each.result else told, flush=True)

    info, done = checks(metric, parameters_of(param or ()), timeout, report)
    write_json(
        json,
        {
            "metric": msgspec.to_builtins(info),
            "checks": [{"promise": each.promise, "fault": each.fault, "result": each.result} for each in done],
        },
    )
    faults = sum(bool(each.fault) for each in done)
    if faults:
        raise OpenOmniError(f"{info.name} fails {faults} of the {len(done)} checks above; mend it and check again")
    print(f"{info.name} {info.version} keeps all {len(done)} promises")


def _line(info: Any) -> str:
    return str(info.description).partition("\n")[0]
