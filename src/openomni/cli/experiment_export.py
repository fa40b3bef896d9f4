"""`openomni experiment export` and `import`: an experiment as a folder that opens offline and that others take in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ..storage.api import Api
from .asking import HERE, Json, Server, Token, ask
from .output import check_json, write_json
from .turns import _console

PART_BYTES = 2 << 20
"""Of one body, about: the server takes 4 MiB of JSON."""
PART_ROWS = 2_000


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `openomni experiment list` shows it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that is new or empty.")],
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Write a folder that opens offline: page, tables (CSV, Parquet, LaTeX), figures (SVG, PDF), methods, manifest.

    Media, turns and single raters' scores are not in it. Example: openomni experiment export questions --out paper
    """
    from ..evaluation import publishing

    check_json(json)
    bundle = ask(server, token, lambda api: api.get(f"/experiments/{quote(name, safe='')}/export"))
    files = publishing.write(bundle, out)
    _console().print(f"{len(files)} files in {out}; open {out / 'index.html'}", markup=False, highlight=False)
    write_json(json, {"experiment": name, "out": str(out), "files": files})


def bring_in(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="As `openomni experiment export` made it.")],
    name: Annotated[str, typer.Option(metavar="NEW", help="Default: the name that it had.")] = "",
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Take in an experiment that another server exported: compared here, it has the same figures.

    Its media, turns and single raters' scores stayed there, so nothing of it can be heard or run here.
    """
    from ..evaluation import publishing

    check_json(json)
    bundle = publishing.read(folder)
    called = name or str(bundle["experiment"]["name"])
    found = ask(server, token, lambda api: _send(api, called, bundle))
    counts = ", ".join(f"{count} {what}" for what, count in found.items())
    console = _console()
    console.print(f"{called}: {counts}; without media, turns and single raters' scores", markup=False, highlight=False)
    write_json(json, {"experiment": called, **found})


async def _send(api: Api, name: str, bundle: Mapping[str, Any]) -> dict[str, Any]:
    where = f"/experiments/{quote(name, safe='')}/import"
    dataset = {**bundle["dataset"], "samples": len(bundle["dataset"]["samples"])}
    about = {key: bundle[key] for key in ("experiment", "pipelines", "metrics")}
    about |= {"dataset": dataset, "varies": bundle["comparison"]["varies"],
              "players": bundle["comparison"].get("players", [])}  # fmt: skip
    found: dict[str, Any] = await api.post(where, about)
    for part in parts(bundle):
        found = await api.post(f"{where}/rows", part)
    return found


def parts(bundle: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """Its rows, as many at a time as a body takes: samples, then cells, then scores."""
    import msgspec

    versions = {each["name"]: each["version"] for each in bundle["metrics"]}
    scores = [each | {"version": versions[each["metric"]]} for each in bundle["scores"]]
    for kind, rows in (("samples", bundle["dataset"]["samples"]), ("cells", bundle["cells"]), ("scores", scores)):
        part: list[Any] = []
        size = 0
        for row in rows:
            length = len(msgspec.json.encode(row)) + 1
            if part and (size + length > PART_BYTES or len(part) >= PART_ROWS):
                yield {kind: part}
                part, size = [], 0
            part.append(row)
            size += length
        if part:
            yield {kind: part}


def register(app: typer.Typer) -> None:
    """Adds the commands of this file to `openomni experiment`."""
    app.command("export")(export)
    app.command("import")(bring_in)
