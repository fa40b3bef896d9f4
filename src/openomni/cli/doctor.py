"""`openomni doctor`: what is slow, missing or misconfigured, and the mend."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import util
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer

from .. import folders, installs
from ..errors import OpenOmniError
from ..proxies import httpx_settings
from ..storage.api import address, words
from ..version import __version__
from .output import write_json

app = typer.Typer(add_completion=False)

GIB = 2**30
EXTRAS = ("agent", "api", "evaluation", "local", "listener")


@dataclass(frozen=True, slots=True)
class MachineFinding:
    """One thing that was looked at. `mend` is empty when all is well."""

    what: str
    state: Literal["well", "note", "fault"]
    line: str
    mend: str = ""


@app.command()
def doctor(
    server: Annotated[str | None, typer.Option(envvar="OPENOMNI_SERVER", help="Look at this server too.")] = None,
    token: Annotated[str | None, typer.Option(envvar="OPENOMNI_TOKEN", help="Token for that server.")] = None,
    turns: Annotated[
        Path | None, typer.Option(help="Of this file that `--json` wrote, only say what made it slow.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the findings to this file.")] = None,
) -> None:
    """Say what is slow, missing or misconfigured, and the mend."""
    looks: list[Callable[[], Iterable[MachineFinding]]] = [
        _machine,
        _unsent,
        _installed,
        _bus,
        _sound,
        _models,
        _components,
    ]
    if turns:
        looks = [lambda: _slow_turns(turns)]
    elif server:
        looks.append(lambda: _server(server, token))
    findings = [finding for look in looks for finding in look()]
    for finding in findings:
        sign = {"well": "✓", "note": "·", "fault": "✗"}[finding.state]
        print(f"{sign} {finding.what:<12} {finding.line}{f'; {finding.mend}' if finding.mend else ''}")
    write_json(json, {"findings": [asdict(finding) for finding in findings]})
    raise typer.Exit(1 if any(finding.state == "fault" for finding in findings) else 0)


def _machine() -> Iterator[MachineFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield MachineFinding("openomni", "well", f"{__version__} on Python {version}")
    cores = os.cpu_count() or 1
    if cores < 2:
        yield MachineFinding(
            "processor", "note", "1 core", "the local pipeline wants two; run its agent on another machine"
        )
    else:
        yield MachineFinding("processor", "well", f"{cores} cores")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < 2 * GIB:
        yield MachineFinding("memory", "note", f"{memory / GIB:.1f} GiB", "the local pipeline wants 2 GiB")
    else:
        yield MachineFinding("memory", "well", f"{memory / GIB:.0f} GiB")
    try:
        folder = folders.server_data()
    except folders.Homeless as error:
        line, _, mend = str(error).partition("; ")
        yield MachineFinding("disk", "fault", line, mend)
        return
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < GIB:
        yield MachineFinding(
            "disk", "fault", f"{free / GIB:.2f} GiB free at {existing}", "make room, or use --data-dir"
        )
    else:
        yield MachineFinding("disk", "well", f"{free / GIB:.0f} GiB free at {existing}")


def _unsent() -> Iterator[MachineFinding]:
    """Records that were too large for the bus, or unreadable, lie beside the journals of who wrote them."""
    try:
        data, agents = folders.server_data(), folders.agents_data()
    except folders.Homeless:
        return  # said already
    own = os.environ.get("OPENOMNI_AGENT_DIR")
    journals = [
        data / "spool" / "gateway" / "records", data / "agent" / "journal", *agents.glob("*/journal"),
        *([Path(own) / "journal"] if own else []),
    ]  # fmt: skip
    for journal in dict.fromkeys(journals):
        if refused := sorted(journal.glob("*.refused")):
            size = sum(file.stat().st_size for file in refused)
            line = f"{len(refused)} in {journal} could not be sent whole ({size / 2**20:.1f} MiB)"
            yield MachineFinding(
                "records", "note", line, "their dead letters say why; take what you need and delete them"
            )


def _installed() -> Iterator[MachineFinding]:
    for extra in EXTRAS:
        missing = [module for module in sorted(installs.EXTRAS[extra]) if util.find_spec(module) is None]
        if missing:
            yield MachineFinding(extra, "note", f"not installed ({missing[0]})", installs.line(extra))
        else:
            yield MachineFinding(extra, "well", "installed")


def _bus() -> Iterator[MachineFinding]:
    if util.find_spec("nats") is None:
        return
    from ..bus.server import binary

    try:
        yield MachineFinding("bus", "well", str(binary().name))
    except OpenOmniError as error:
        line, _, mend = str(error).partition("; ")
        yield MachineFinding("bus", "note", line, mend)


def _sound() -> Iterator[MachineFinding]:
    if util.find_spec("sounddevice") is None:
        return
    try:
        import sounddevice

        devices = list(sounddevice.query_devices())
    except OSError:
        yield MachineFinding("sound", "note", "PortAudio is missing", "Debian, Ubuntu: apt install libportaudio2")
        return
    inputs = sum(device["max_input_channels"] > 0 for device in devices)
    outputs = sum(device["max_output_channels"] > 0 for device in devices)
    if inputs and outputs:
        yield MachineFinding("sound", "well", f"{inputs} microphones, {outputs} loudspeakers")
        return
    absent = " and no ".join(name for name, count in (("microphone", inputs), ("loudspeaker", outputs)) if not count)
    yield MachineFinding(
        "sound", "note", f"no {absent}", "plug one in, or use files: --source file:PATH, --sink dir:PATH"
    )


def _models() -> Iterator[MachineFinding]:
    from .. import models

    try:
        folders.models()
    except folders.Homeless as error:
        line, _, mend = str(error).partition("; ")
        yield MachineFinding("model", "fault", line, mend)
        return
    for model in models.load_catalogue():
        if models.is_present(model):
            yield MachineFinding("model", "well", model.name)
        else:
            yield MachineFinding("model", "note", f"{model.name} is not here yet", f"openomni models pull {model.name}")


def _components() -> Iterator[MachineFinding]:
    from ..components import registry

    for problem in registry.problems():
        line, _, mend = problem.partition("; ")
        yield MachineFinding("component", "fault", line, mend)


def _of_token(mine: dict[str, Any]) -> MachineFinding:
    """A device's token without a place lets in, and a responder with another one will play nothing of what it opens."""
    places = [f"{name} {mine[name]}" for name in ("site", "device") if mine.get(name)]
    line = ", ".join([f"project {mine['project']}", *mine["scopes"], *places])
    if places or mine["scopes"] != ["device"]:
        return MachineFinding("token", "well", line)
    mend = "better one with its place: openomni api token create --scope device --site SLUG"
    return MachineFinding("token", "note", f"{line}; without a site it sees only what is made with it", mend)


def _server(server: str, token: str | None) -> Iterator[MachineFinding]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        origin = address(server)
        with httpx.Client(base_url=origin, headers=headers, timeout=10, **httpx_settings(origin)) as client:
            health = client.get("/healthz")
            parts = health.json() if health.headers.get("content-type", "").startswith("application/json") else {}
            for part, state in parts.items():
                good = state in (True, "ok", "well")
                yield MachineFinding(
                    part, "well" if good else "fault", str(state), "" if good else "see the server's log"
                )
            me = client.get("/api/v1/me")
            if me.is_error:
                said = words(me.content) or f"refused with {me.status_code}"
                yield MachineFinding("token", "fault", said, "set OPENOMNI_TOKEN to one of this server")
                return
            mine = me.json()
            yield _of_token(mine)
            agents = client.get("/api/v1/agents")
            if agents.status_code == 403:
                return  # who may only speak need not see who answers
            alive = [agent for agent in agents.json()["items"] if agent.get("alive")]
            if alive:
                yield MachineFinding(
                    "agents", "well", f"{len(alive)} alive: {', '.join(agent['name'] for agent in alive)}"
                )
            else:
                yield MachineFinding(
                    "agents", "fault", "none is alive", f"OPENOMNI_TOKEN=… openomni agent --server {server}"
                )
    except OpenOmniError as error:
        line, _, mend = str(error).rpartition("; ")
        yield MachineFinding("server", "fault", line, mend)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        yield MachineFinding(
            "server", "fault", f"{server} does not answer ({error or type(error).__name__})", "is it up?"
        )


def _slow_turns(path: Path) -> Iterator[MachineFinding]:
    from .slow_turns import verdicts

    for verdict in verdicts(path):
        yield MachineFinding("turn", "note", *verdict)
