"""`openomni api`: the API alone, and what an operator does with it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from .. import folders
from ..errors import OpenOmniError, WrongUsage, nearest

if TYPE_CHECKING:
    from django.db.models import Model

app = typer.Typer(help="The API: records, orchestrates, REST and admin.", add_completion=False)
tokens = typer.Typer(help="Tokens let devices, agents and scripts in.", add_completion=False)
projects = typer.Typer(help="Projects: whose data it is.", add_completion=False)
users = typer.Typer(help="People who sign in.", add_completion=False)
sites = typer.Typer(help="Places where devices stand.", add_completion=False)
devices = typer.Typer(help="Machines that listen, see or speak.", add_completion=False)
app.add_typer(tokens, name="token")
app.add_typer(projects, name="project")
app.add_typer(users, name="user")
app.add_typer(sites, name="site")
app.add_typer(devices, name="device")


def _settle_in(folder: Path | None) -> None:
    """Before or behind the subcommand's name: whichever comes last says where."""
    if folder is not None:
        os.environ["OPENOMNI_DATA_DIR"] = str(folder)


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="OPENOMNI_DATA_DIR", help="Where the server keeps its data.", callback=_settle_in
    ),
]
Server = Annotated[
    str | None,
    typer.Option(envvar="OPENOMNI_SERVER", help="Its address, for the link; that of `openomni up` by default."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]
ProjectOption = Annotated[str, typer.Option("--project", envvar="OPENOMNI_PROJECT", help="Slug of the project.")]


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    data_dir: DataDir = None,
    host: Annotated[str, typer.Option(envvar="OPENOMNI_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="OPENOMNI_API_PORT", help="0: a free one.")] = 8001,
    bus_url: Annotated[str | None, typer.Option(envvar="OPENOMNI_BUS_URL", help="The bus: nats://host:port")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write the address to this file once it serves.")] = None,
    made: Annotated[str, typer.Option("--first-tokens", envvar="OPENOMNI_FIRST_TOKENS", hidden=True)] = "",
    phone: Annotated[bool, typer.Option("--phone-link", envvar="OPENOMNI_PHONE_LINK", hidden=True)] = False,
) -> None:
    """Serves the API. Tables are brought up to date first; the first time, a sign-in link and a token are shown."""
    if context.invoked_subcommand:
        return
    if bus_url is not None:
        os.environ["OPENOMNI_BUS_URL"] = bus_url
    from ..api import bootstrap, server

    listener = server.listen(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    first = _first_start(made)
    phone_path = bootstrap.owners_link() if phone else ""

    def ready() -> None:
        print(f"OpenOmni's API serves at {url}", flush=True)
        # Who made the tokens tells the owner too; our output may be a log.
        if first and not made:
            print(f"Sign in, once: {url}{first.sign_in_path}\nToken, shown this once: {first.token}", flush=True)
        if ready_file:
            told = {"token": first.token, "sign_in_path": first.sign_in_path} if first else {}
            _write(ready_file, {"url": url, "phone_path": phone_path, **told})

    server.serve(listener, ready)


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Makes the secrets and brings the tables up to date."""
    _setup()
    from ..api import tables

    tables.up_to_date()
    print("the tables are up to date")


@app.command("bootstrap")
def bootstrap_command(data_dir: DataDir = None, server: Server = None, json: Json = None) -> None:
    """Makes the owner, the first project and the first token, if nobody has an account yet."""
    first = _first_start()
    if json:
        _write(json, msgspec.to_builtins(first))
    if first is None:
        print("this server is set up already; get in again with: openomni api sign-in NAME")
    elif not json:
        print(f"Sign in, once, at: {_address(server)}{first.sign_in_path}\nToken, shown this once: {first.token}")


@app.command("sign-in")
def sign_in(
    name: Annotated[str, typer.Argument(help="Name of the user.")] = "owner",
    data_dir: DataDir = None,
    server: Server = None,
) -> None:
    """Prints a one-time sign-in link for somebody who has no password, or lost it."""
    _open()
    from ..api.accounts.models import SignInLink, User

    user = _find(User, "username", name)
    user.set_unusable_password()
    user.save(update_fields=["password"])
    print(_address(server) + SignInLink.path_for(user))


@app.command()
def check(data_dir: DataDir = None) -> None:
    """Says what is wrong with this server's setup."""
    _open()
    from django.conf import settings
    from django.core.checks import run_checks
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    problems = [str(message.msg) for message in run_checks()]
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        problems.append("the tables are not up to date; run: openomni api migrate")
    # `openomni up` brings its own bus.
    if not settings.BUS_URL and not (settings.DATA_DIR / "up.json").is_file():
        problems.append("no bus is configured; give OPENOMNI_BUS_URL, or use `openomni up`")
    for problem in problems:
        print(problem)
    print(f"{connection.vendor}, {settings.DATA_DIR}: {'all well' if not problems else f'{len(problems)} to mend'}")
    raise typer.Exit(1 if problems else 0)


@app.command("bus-config")
def bus_config(data_dir: DataDir = None) -> None:
    """Prints what an external NATS server's configuration needs to let this deployment's users in."""
    _setup()
    from ..api.ground.bus_access import authority
    from ..bus.server import trust

    print(trust(authority()))


@tokens.command("create")
def create_token(
    scope: Annotated[list[str], typer.Option(help="device, agent, viewer, annotator, researcher or admin.")],
    project: ProjectOption = "default",
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    site: Annotated[str, typer.Option(help="Slug of the only site that it is for; `openomni api site create`.")] = "",
    device: Annotated[
        str, typer.Option(help="Slug of the only device that it is for; `openomni api device create`.")
    ] = "",
    expires: Annotated[str, typer.Option(help="How long it lasts: 12h, 30d. For ever by default.")] = "",
    data_dir: DataDir = None,
    json: Json = None,
) -> None:
    """Makes a token and prints it, this once.

    Give a device's its place: a token of the scope `device` sees what is of its site or device, and without either only
    what was made with that very token.

    Example: openomni api token create --scope device --site ward-3 > token && chmod 600 token
    """
    lifetime = _duration(expires)
    _open()
    from django.utils import timezone

    from ..api.accounts.models import Project, Scope, Token
    from ..api.places.models import Device, Site

    scopes = [part for each in scope for part in each.split(",") if part]
    for each in scopes:
        if each not in Scope.values:
            raise WrongUsage(f"unknown scope {each!r}; {nearest(each, Scope.values)}")
    owner = _find(Project, "slug", project)
    for model, slug in ((Site, site), (Device, device)):
        if slug:
            _find(model, "slug", slug, project_id=project)
    token, text = Token.issue(
        owner, scopes, name=name, site=site, device=device, expires_at=timezone.now() + lifetime if lifetime else None
    )
    if json:
        _write(json, {"token": text, "id": token.pk, "project": project, "scopes": token.scopes})
    if scopes == [Scope.DEVICE] and not (site or device):
        print("it is of no site and no device: it sees only what is made with it (--site, --device)", file=sys.stderr)
    print(text)


@sites.command("create")
def create_site(
    slug: Annotated[str, typer.Argument(help="Its key: small letters, digits and '-'.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    project: ProjectOption = "default",
    data_dir: DataDir = None,
) -> None:
    """Makes a place: a home, a ward, a lab."""
    _open()
    from ..api.accounts.models import Project
    from ..api.places.models import Site

    _make(Site(project=_find(Project, "slug", project), slug=slug, name=name or slug))
    print(f"made the site {slug}; a token for what is there: openomni api token create --scope device --site {slug}")


@devices.command("create")
def create_device(
    slug: Annotated[str, typer.Argument(help="Its key: small letters, digits and '-'.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    site: Annotated[str, typer.Option(help="Slug of the site where it stands.")] = "",
    project: ProjectOption = "default",
    data_dir: DataDir = None,
) -> None:
    """Makes a device."""
    _open()
    from ..api.accounts.models import Project
    from ..api.places.models import Device, Site

    owner = _find(Project, "slug", project)
    place = _find(Site, "slug", site, project_id=project) if site else None
    _make(Device(project=owner, slug=slug, name=name or slug, site=place))
    print(f"made the device {slug}; its token: openomni api token create --scope device --device {slug}")


def _make(row: Model) -> None:
    from django.core.exceptions import ValidationError

    try:
        row.full_clean()
    except ValidationError as error:
        raise WrongUsage(" ".join(error.messages)) from None
    row.save(force_insert=True)


@projects.command("create")
def create_project(
    slug: Annotated[str, typer.Argument(help="Its key: small letters, digits and '-'.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    owner: Annotated[str, typer.Option(help="Name of a user who owns it.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Makes a project."""
    _open()
    from ..api.accounts.models import Membership, Project, Role, User

    user = _find(User, "username", owner) if owner else None
    project = Project(slug=slug, name=name or slug)
    _make(project)
    if user:
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
    print(f"made the project {slug}; a token for it: openomni api token create --project {slug} --scope …")


@users.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="What they sign in with.")],
    project: ProjectOption = "default",
    role: Annotated[str, typer.Option(help="owner, researcher, annotator or viewer.")] = "researcher",
    superuser: Annotated[bool, typer.Option("--superuser", help="May everything in every project.")] = False,
    data_dir: DataDir = None,
    server: Server = None,
) -> None:
    """Makes an account and prints its one-time sign-in link."""
    _open()
    from django.core.exceptions import ValidationError
    from django.db import transaction

    from ..api.accounts.models import Membership, Project, Role, SignInLink, User

    if role not in Role.values:
        raise WrongUsage(f"unknown role {role!r}; {nearest(role, Role.values)}")
    owner = _find(Project, "slug", project)
    user = User(username=name, is_staff=True, is_superuser=superuser)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as error:
        raise WrongUsage(f"user {name!r}: {' '.join(error.messages)}") from None
    with transaction.atomic():
        user.save()
        Membership.objects.create(project=owner, user=user, role=role)
        print(_address(server) + SignInLink.path_for(user))


# ---- what the commands share ---------------------------------------------------------------------------------

Row = TypeVar("Row", bound="Model")


def _setup() -> None:
    from ..api import bootstrap

    bootstrap.setup()


def _open() -> None:
    """For a server that there is: elsewhere nothing is made. Raises `OpenOmniError`."""
    folder = folders.server_data()
    tables = os.environ.get("DATABASE_URL") or _holds_something(folder / "openomni.sqlite3")
    if not tables or not (folder / "secrets.json").is_file():
        raise WrongUsage(f"no server keeps its data in {folder}; name its folder with --data-dir")
    _setup()
    from django.db import connection
    from django.db.utils import OperationalError

    from ..api.accounts.models import Project

    try:
        known = connection.introspection.table_names()
    except OperationalError as error:
        raise _away(error) from None
    if Project._meta.db_table not in known:
        raise OpenOmniError("the database has no tables yet; make them with: openomni api migrate") from None


def _holds_something(database: Path) -> bool:
    """What a program that only looked in left behind is empty."""
    return database.is_file() and database.stat().st_size > 0


def _away(error: Exception) -> OpenOmniError:
    line = str(error).strip().splitlines()[0]
    return OpenOmniError(f"the database does not answer ({line}); check DATABASE_URL and --data-dir")


def _address(given: str | None) -> str:
    """Where people reach the server: as they said, as `openomni up` serves, or as `openomni api` does."""
    if given:
        from ..storage.api import address

        return address(given)
    try:
        kept = msgspec.json.decode((folders.server_data() / "up.json").read_bytes())
        return str(kept["url"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return "http://127.0.0.1:8001"


def _first_start(made: str = "") -> Any:
    from ..api import bootstrap

    bootstrap.setup()
    from django.db.utils import OperationalError

    try:
        return bootstrap.first_start(made=msgspec.json.decode(made, type=bootstrap.Made) if made else None)
    except OperationalError as error:
        raise _away(error) from None


def _find(model: type[Row], key: str, name: str, **among: str) -> Row:
    rows = model._default_manager.filter(**among)
    row = rows.filter(**{key: name}).first()
    if row is None:
        known: Sequence[str] = list(rows.values_list(key, flat=True))
        raise WrongUsage(f"there is no {model._meta.verbose_name} {name!r}; {nearest(name, known)}")
    return row


def _duration(text: str) -> timedelta | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d+)([mhdw])", text)
    if not match or not int(match[1]):
        raise WrongUsage(f"{text!r} is no duration; write it like 12h, 30d or 8w")
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def _write(path: Path, content: Any) -> None:
    """Whole or not at all, and for its owner only: it may hold a token."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(content))
        temporary.replace(path)
    except OSError as error:
        raise OpenOmniError(f"can't write {path} ({error.strerror}); choose another file") from None
