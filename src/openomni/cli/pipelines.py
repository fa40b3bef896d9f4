"""`openomni pipelines`: what pipelines there are, what one says, and whether a file is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ..errors import OpenOmniError, WrongUsage
from ..pipeline import spec
from .chosen import find, is_file, local_schemas
from .models import needed_by
from .output import write_json

app = typer.Typer(help="List, show and check pipelines.", add_completion=False, no_args_is_help=True)

Server = Annotated[str | None, typer.Option(envvar="OPENOMNI_SERVER", help="Ask this server instead of this machine.")]
Token = Annotated[str | None, typer.Option(envvar="OPENOMNI_TOKEN", help="Token for that server.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]


@app.command("list")
def list_pipelines(server: Server = None, token: Token = None, json: Json = None) -> None:
    """The built-in pipelines, or those of a server's project."""
    if server:
        found = _get(server, token, "/api/v1/pipelines")["items"]
    else:
        found = [_described(pipeline) for pipeline in spec.builtin().values()]
    for each in found:
        print(f"{each['name']:<24} {each['hash']:<18} {each.get('description', '')}")
    write_json(json, {"pipelines": found})


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name, or a file.")],
    server: Server = None,
    token: Token = None,
    json: Json = None,
) -> None:
    """One pipeline as YAML, with its hash."""
    if server and not is_file(name):
        found = _get(server, token, f"/api/v1/pipelines/{name}")
        content, digest = found["spec"], found["hash"]
    else:
        pipeline = find(name)
        content, digest = pipeline.normalised(), pipeline.hash
    print(f"# hash: {digest}")
    print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")
    write_json(json, {"hash": digest, "spec": content})


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(help="Pipeline files, or names of built-in ones.")],
    # Not from the environment: what is written here is mostly meant for what is installed here.
    server: Annotated[str | None, typer.Option(help="Check it against what this server's agents offer.")] = None,
    token: Token = None,
    json: Json = None,
) -> None:
    """Says what is wrong, a line each, against the components of this machine or those of a server's agents."""
    problems: list[str] = []
    for file in files:
        pipeline = find(file)
        if server:
            content = (
                {"yaml": Path(file).read_text("utf-8")} if Path(file).is_file() else {"spec": pipeline.normalised()}
            )
            answer = _post(server, token, "/api/v1/pipelines/check", content)
            # The server read the text alone; where it came from is known here.
            found = [str(each).replace("pipeline:", f"{file}:", 1) for each in answer["errors"]]
        else:
            found = spec.check(pipeline, local_schemas(pipeline)) or _unknown_models(pipeline)
        for problem in found:
            print(problem)
        if not found:
            print(f"{file}: right ({pipeline.name}, hash {pipeline.hash})")
        problems += found
    write_json(json, {"problems": problems})
    raise typer.Exit(2 if problems else 0)


def _unknown_models(pipeline: spec.Pipeline) -> list[str]:
    """Of what this machine knows; an agent's own catalogue may know more."""
    try:
        needed_by(pipeline)
    except WrongUsage as error:
        return [str(error)]
    return []


def _described(pipeline: spec.Pipeline) -> dict[str, Any]:
    return {"name": pipeline.name, "hash": pipeline.hash, "description": pipeline.description}


def _get(server: str, token: str | None, path: str) -> Any:
    return _ask("GET", server, token, path, None)


def _post(server: str, token: str | None, path: str, body: Any) -> Any:
    return _ask("POST", server, token, path, body)


def _ask(method: str, server: str, token: str | None, path: str, body: Any) -> Any:
    import httpx

    from ..proxies import httpx_settings
    from ..storage.api import address, refusal, unreachable_line

    origin = address(server)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.request(method, origin + path, json=body, headers=headers, timeout=20, **httpx_settings(origin))
    except httpx.HTTPError as error:
        raise OpenOmniError(unreachable_line(origin, error.__cause__ or error)) from None
    if answer.is_error:
        raise refusal(origin, answer.status_code, answer.content)
    try:
        return answer.json()
    except json.JSONDecodeError:
        raise OpenOmniError(f"{server} answered {answer.status_code} and no JSON; is it OpenOmni's address?") from None
