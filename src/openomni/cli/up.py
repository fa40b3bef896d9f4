"""`openomni up`: gateway, API, bus and one agent on this machine, on one address."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from .. import folders
from ..errors import OpenOmniError
from ..version import __version__
from . import processes
from .all_in_one import AllInOne, serving, write_private
from .certificate import Certificate, addresses, qr_code

EVERYWHERE = "0.0.0.0"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where everything is kept; by default ~/.local/share/openomni.", envvar="OPENOMNI_DATA_DIR"),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to serve on; 0.0.0.0 for the whole network. By default this machine alone, "
            "and with --tls the whole network."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.", min=0, max=65535)] = 8000,
    agent: Annotated[bool, typer.Option("--agent/--no-agent", help="Run an agent on this machine too.")] = True,
    offer: Annotated[str | None, typer.Option(help="What that agent offers; all that runs here by default.")] = None,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="HTTPS, with a certificate made here: browsers elsewhere give the microphone then."),
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help='Written as {"url", "token"} once it serves and its agent is warm.')
    ] = None,
) -> None:
    """All in one: gateway, API with its pages, bus and one agent."""
    folder = data_dir.absolute() if data_dir else folders.server_data()
    if ready_file is not None:
        _writable(ready_file)
    try:
        processes.run(_serve(folder, host or (EVERYWHERE if tls else "127.0.0.1"), port, agent, offer, tls, ready_file))
    except (processes.Terminated, KeyboardInterrupt):
        return


async def _serve(
    folder: Path, host: str, port: int, agent: bool, offer: str | None, tls: bool, ready_file: Path | None
) -> None:
    if not (folder / "up.json").exists():
        print("First start: making secrets and the database …", flush=True)
    try:
        options = (["--offer", offer] if offer else []) if agent else None
        async with serving(folder, host, port, agent=options, tls=tls) as server:
            _greet(server, folder)
            if server.certificate is not None:
                _show_to_phones(server, server.certificate, host)
            await server.warm(lambda line: print(f"  {line}", flush=True))
            if agent:
                print("  the agent is ready", flush=True)
            if ready_file is not None:
                write_private(ready_file, {"url": server.url, "token": server.tokens.token})
            try:
                await server.watch()
            finally:
                print("Stopping …", flush=True)
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _greet(server: AllInOne, folder: Path) -> None:
    print(f"OpenOmni {__version__} serves at {server.url}")
    if server.sign_in_path:
        print(f"  sign in (once):  {server.url}{server.sign_in_path}")
        print(f"  token:           {server.tokens.token}")
    if server.agent_ready is None:
        start = f"OPENOMNI_TOKEN={server.tokens.agent_token} openomni agent --server {server.url}"
        print(f"  no agent here; start one:  {start}")
    print(f"  data and logs:   {folder}")
    print("  Ctrl-C stops it.", flush=True)


def _show_to_phones(server: AllInOne, made: Certificate, host: str) -> None:
    """The address as other machines reach it, as a QR code, and what a browser will ask."""
    if _is(host, "is_loopback"):
        print(f"  only this machine reaches {host}; for a phone, leave --host out")
    else:
        reached = addresses() if _is(host, "is_unspecified") else [host]
        port = server.url.rpartition(":")[2]
        links = [f"https://{f'[{each}]' if ':' in each else each}:{port}/" for each in reached] or [f"{server.url}/"]
        print(f"  from a phone, or another machine:  {'   '.join(links[:3])}")
        print("  this code signs the owner in there, once:")
        print(qr_code(links[0] + server.phone_path.lstrip("/")))
    print("  Nobody vouches for a certificate that was made here: a browser asks once. It is this one if it shows")
    print(f"  SHA-256 {made.fingerprint}")
    print(f"  listeners and agents trust it with  SSL_CERT_FILE={made.trusted}", flush=True)


def _is(host: str, what: str) -> bool:
    """Whether it is an address of that kind, as `ipaddress` names them; a name is of none, `localhost` but for one."""
    try:
        return bool(getattr(ip_address("127.0.0.1" if host == "localhost" else host), what))
    except ValueError:
        return False


def _writable(ready_file: Path) -> None:
    """Whoever waits for the file must not take an earlier one for ours, nor wait for one that can't come."""
    try:
        ready_file.parent.mkdir(parents=True, exist_ok=True)
        # Not the file itself, not even for a moment: whoever waits would find it empty.
        trial = ready_file.with_name(f"{ready_file.name}.part")
        trial.touch(mode=0o600)
        trial.unlink()
        ready_file.unlink(missing_ok=True)
    except OSError as error:
        raise OpenOmniError(f"can't write {ready_file} ({error.strerror}); choose another --ready-file") from None
