"""`openomni gateway`: the live door alone, in front of an API and a bus that run elsewhere."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import folders
from ..errors import WrongUsage
from . import logs

if TYPE_CHECKING:
    from ..gateway.server import Tls

app = typer.Typer(add_completion=False)


@app.command()
def gateway(
    api: Annotated[str, typer.Option(help="Address of the API.", envvar="OPENOMNI_API")] = "http://127.0.0.1:8001",
    bus: Annotated[
        str, typer.Option(help="The bus: nats://host:port, several with commas.", envvar="OPENOMNI_BUS_URL")
    ] = "nats://127.0.0.1:4222",
    host: Annotated[str, typer.Option(help="Address to serve on.", envvar="OPENOMNI_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.", envvar="OPENOMNI_PORT")] = 8000,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where secrets.json is, and the spool goes.", envvar="OPENOMNI_DATA_DIR")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(help="What the API knows this gateway by; from secrets.json by default.",
                     envvar="OPENOMNI_SERVER_SECRET"),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Serve HTTPS with this certificate (PEM).", envvar="OPENOMNI_TLS_CERT")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The key of --tls-cert.", envvar="OPENOMNI_TLS_KEY")] = None,
) -> None:  # fmt: skip
    """The live door alone: WebSockets in front of the bus, everything else passed on to the API."""
    from ..gateway import server
    from ..gateway.services import Gateway

    if not api.startswith(("http://", "https://")):
        raise WrongUsage(f"--api {api!r} is no address; give http://HOST:PORT")
    urls = [url.strip() for url in bus.split(",") if url.strip()]
    for url in urls:
        if "://" not in url:
            raise WrongUsage(f"--bus {url!r} is no address; give nats://HOST:PORT")
    tls = _tls(tls_cert, tls_key)
    logs.set_up()
    folder = data_dir.absolute() if data_dir else folders.server_data()
    secrets = server.read_secrets(folder, secret)
    listener = server.listen(host, port)

    def make() -> Gateway:
        connect = server.bus_connection(urls, secrets.bus)
        return Gateway(api, secrets.server, urls, connect, folder / "spool" / "gateway")

    def ready() -> None:
        print(f"the gateway serves at {server.address(listener, tls)}", flush=True)

    server.serve(listener, make, ready, tls)


def _tls(cert: Path | None, key: Path | None) -> Tls | None:
    from ..gateway.server import Tls

    if (cert is None) != (key is None):
        raise WrongUsage("--tls-cert and --tls-key go together; name both")
    if cert is None or key is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise WrongUsage(f"{cert} and {key} are no certificate and its key in PEM ({reason})") from None
    return Tls(cert, key)
