"""`openomni components`: what is found on this machine, what one takes, and whether one keeps its kind's promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ..components import registry
from ..components.registry import ComponentInfo
from ..errors import OpenOmniError, WrongUsage
from .output import write_json

app = typer.Typer(help="List components, and check your own.", add_completion=False, no_args_is_help=True)

Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]
Name = Annotated[str, typer.Argument(metavar="KIND:NAME", help="Such as stt:my-asr, or stt:package.module:Class.")]


@app.command("list")
def list_components(
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as stt.")] = None, json: Json = None
) -> None:
    """The components of installed packages, and what is missing to run them."""
    found = list(registry.registered(kind).values())
    width = max((len(_name(info)) for info in found), default=0)
    for info in found:
        missing = f"  [missing: {info.mend}]" if info.missing else ""
        print(f"{_name(info):<{width}}  {_first_line(info)}{missing}")
    problems = registry.problems()
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
    write_json(json, {"components": [_described(info) for info in found], "problems": problems})


@app.command()
def show(name: Name, json: Json = None) -> None:
    """What a component is, where it comes from, and its parameters."""
    info = _find(name)
    print(f"{_name(info)}   {info.package} {info.version}".rstrip())
    print(f"\n{info.description}\n" if info.description else "")
    if info.missing:
        print(f"Missing here: {', '.join(info.missing)}; {info.mend}\n")
    properties: dict[str, Any] = info.schema["properties"]
    required = info.schema.get("required", ())
    print("Parameters:" if properties else "It has no parameters.")
    for parameter, rule in properties.items():
        default = "required" if parameter in required else f"default {rule.get('default')!r}"
        print(f"  {parameter} ({_type(rule)}, {default})  {rule.get('description', '')}".rstrip())
    if info.options:
        print(f"A session may ask for: {', '.join(info.options)}")
    write_json(json, _described(info))


@app.command()
def check(
    name: Name,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds without output that count as hung.")] = 60.0,
    json: Json = None,
) -> None:
    """Runs a component through the checks of its kind; exit status 1 when it fails one."""
    from ..components.conformance import Check, checks

    def report(each: Check) -> None:
        print(f"fault  {each.promise}: {each.fault}" if each.fault else f"ok     {each.promise}", flush=True)

    kind, short = _split(name)
    done = checks(kind, short, parameters_of(param or ()), timeout, report)
    write_json(json, {"component": name, "checks": [{"promise": c.promise, "fault": c.fault} for c in done]})
    faults = sum(bool(each.fault) for each in done)
    if faults:
        raise OpenOmniError(f"{name} breaks {faults} of the {len(done)} promises above; mend it and check again")
    print(f"{name} keeps all {len(done)} promises")


def _split(name: str) -> tuple[str, str]:
    """`stt:faster-whisper` and `stt:package.module:Class`; an import path alone says its kind itself."""
    kind, colon, short = name.partition(":")
    if not colon or not short:
        raise WrongUsage(f"{name!r} is no component; write KIND:NAME, such as stt:faster-whisper")
    if "." in kind:
        return registry.locate(name).kind, name
    return kind, short


def _find(name: str) -> ComponentInfo:
    return registry.find(*_split(name))


def parameters_of(given: Sequence[str]) -> dict[str, Any]:
    """`key=value` words; a value is read as YAML reads it, so that 5 is a number and `true` a truth."""
    parameters: dict[str, Any] = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise WrongUsage(f"--param {word!r} is no parameter; write --param key=value")
        try:
            parameters[key] = yaml.safe_load(value) if value else ""
        except yaml.YAMLError:
            parameters[key] = value
    return parameters


def _name(info: ComponentInfo) -> str:
    return f"{info.kind}:{info.name}"


def _first_line(info: ComponentInfo) -> str:
    return info.description.partition("\n")[0]


def _type(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return "one of " + ", ".join(repr(choice) for choice in rule["enum"])
    if "anyOf" in rule:
        return " or ".join(_type(option) for option in rule["anyOf"])
    return str(rule.get("format") or rule.get("type", "anything"))


def _described(info: ComponentInfo) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "name": info.name,
        "description": info.description,
        "package": info.package,
        "version": info.version,
        "streaming": info.streaming,
        "slots": info.slots,
        "options": list(info.options),
        "missing": list(info.missing),
        "mend": info.mend,
        "schema": info.schema,
    }
