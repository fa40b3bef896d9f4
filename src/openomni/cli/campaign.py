"""`openomni campaign`: who annotates what, begun and followed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ..errors import WrongUsage
from ..storage.api import Api
from .asking import HERE, Json, Server, Token, ask
from .output import check_json, write_json

app = typer.Typer(
    help="Have people annotate: begin campaigns, and follow them.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
Named = Annotated[str, typer.Argument(metavar="NAME", help="As `openomni campaign list` shows it.")]
MAX_FILE = 512 << 10
PAGE = 100


@app.command()
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A campaign as YAML.")],
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Begin a campaign. The same file again gives the one that there is.

    Example: openomni campaign create first.yaml
    """
    check_json(json)
    text = _text(file)
    found = ask(server, token, lambda api: api.post("/campaigns", {"yaml": text}))
    _tell(found)
    print(f"annotate    {server}/annotate/{quote(found['campaign'], safe='')}/")
    write_json(json, found)


@app.command("list")
def list_campaigns(
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Campaigns, newest first."""
    check_json(json)
    rows = ask(server, token, lambda api: _listing(api, limit))
    for row in rows:
        places = row["places"]
        metrics = ", ".join(each["metric"] for each in row["metrics"])
        print(f"{row['campaign']:<30} {row['status']:<7} {places['done']:>7,} of {places['planned']:<9,} {metrics}")
    if not rows:
        print("there are no campaigns yet; begin with: openomni campaign create FILE")
    write_json(json, {"campaigns": rows})


@app.command()
def show(named: Named, server: Server = HERE, token: Token = "", json: Json = None) -> None:
    """One campaign: how far it is, and each annotator."""
    check_json(json)
    found = ask(server, token, lambda api: api.get(f"/campaigns/{quote(named, safe='')}"))
    _tell(found)
    write_json(json, found)


def _text(file: Path) -> str:
    """Raises WrongUsage for what is no text of a sensible size."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise WrongUsage(f"{file}: {error.strerror or error}; check the path") from None
    if len(raw) > MAX_FILE:
        raise WrongUsage(f"{file}: a campaign has at most {MAX_FILE >> 10} KiB")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise WrongUsage(f"{file}: not UTF-8 text; a campaign is a YAML file") from None


async def _listing(api: Api, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    further: dict[str, str] = {}
    while True:
        page = await api.get("/campaigns", limit=min(limit - len(rows), PAGE), **further)
        rows += page["items"]
        if not page["next"] or len(rows) >= limit:
            return rows
        further = {"cursor": page["next"]}


def _tell(found: Mapping[str, Any]) -> None:
    places = found["places"]
    print(f"campaign    {found['campaign']}, {found['status']}{'' if found['asks'] else ', asking nobody now'}")
    print(f"asks        {', '.join(each['metric'] for each in found['metrics'])}")
    print(f"items       {found['items']:,}, each by {found['per_item']}")
    print(f"done        {places['done']:,} of {places['planned']:,}")
    for each in found["annotators"]:
        pace = "" if each["seconds_an_item"] is None else f", {each['seconds_an_item']:.0f} s an item"
        gone = ", removed" if each["removed"] else ""
        print(f"            {each['annotator']}: {each['done']:,} done, {each['skipped']:,} skipped{pace}{gone}")
