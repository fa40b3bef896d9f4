"""`openomni metrics`: what is found on this machine and what people are asked, whether one of your own keeps its
promises, and stating one on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from ..errors import OpenOmniError
from .asking import HERE, Server, Token, ask
from .components import parameters_of
from .output import check_json, write_json

app = typer.Typer(
    help="List metrics, check your own, and state what people are asked.", add_completion=False, no_args_is_help=True
)

YAML = (".yaml", ".yml")
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]


@app.command("list")
def list_metrics(json: Json = None) -> None:
    """What programs measure, with what is missing to do so, and what people can be asked: as it comes along."""
    from ..metrics import rated, registry

    check_json(json)
    found = list(registry.registered().values())
    asked = list(rated.builtin().values())
    width = max(len(name) for name in [*(each.name for each in found), *(each.name for each in asked)])
    for each in found:
        missing = f"  [missing: {each.mend}]" if each.mend else ""
        unit = each.unit or "–"
        print(f"{each.name:<{width}}  {each.takes:<7}  {unit:<5}  {each.better or '–':<6}  {_line(each)}{missing}")
    print()
    for question in asked:
        kind = str(question.content["scale"]["kind"])
        print(f"{question.name:<{width}}  {question.about:<9}  {kind:<10}  {question.question}")
    problems = registry.problems()
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
    write_json(
        json,
        {"metrics": msgspec.to_builtins(found), "asked": [each.content for each in asked], "problems": problems},
    )


@app.command()
def check(
    metric: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="my_metrics.py, my_metrics.py:NAME, package.module:NAME, a name; or questions: my_metrics.yaml.",
        ),
    ],
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one call may take.")] = 60.0,
    json: Json = None,
) -> None:
    """Tries a metric on made-up runs, in a process of its own; exit status 1 when it fails on one. Of a YAML file it
    says what people would be asked."""
    from ..metrics.conformance import Check, checks

    check_json(json)
    if Path(metric).suffix in YAML:
        _check_asked(Path(metric), json)
        return

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


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Questions as YAML, each a document.")],
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """State what people and judges are asked: from now on in these versions. The same again changes nothing.

    Example: openomni metrics add my_metrics.yaml
    """
    from ..metrics import rated

    check_json(json)
    asked = rated.load(file)

    async def put(api: Any) -> list[dict[str, Any]]:
        return [
            await api.put(f"/metrics/{quote(each.name, safe='')}", {"yaml": msgspec.json.encode(each.content).decode()})
            for each in asked
        ]

    found = ask(server, token, put)
    for each in found:
        print(f"{each['metric']} {each['version']}: {each['question']}")
    write_json(json, {"metrics": found})


def _check_asked(file: Path, json: Path | None) -> None:
    from ..metrics import rated

    asked = rated.load(file)
    for each in asked:
        print(f"{each.name} {each.version}: about a {each.about}, {each.content['scale']['kind']}: {each.question}")
    write_json(json, {"metrics": [{**each.content, "version": each.version} for each in asked]})


def _line(info: Any) -> str:
    return str(info.description).partition("\n")[0]
