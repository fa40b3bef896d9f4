"""The server's own secrets: made on first start, kept in `<data>/secrets.json`, readable by its owner only."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from ..errors import OpenOmniError


class Secrets(msgspec.Struct, frozen=True):
    """What signs and what lets in. `bus` holds the seeds that sign the bus's credentials."""

    django: str
    server: str
    """What the gateway shows the API to prove that it is one of ours."""
    bus: dict[str, str] = {}


def read(data_dir: Path) -> Secrets | None:
    """The secrets, or None before the first start."""
    path = data_dir / "secrets.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise OpenOmniError(f"{path} can't be read by this user; start as the user that owns it") from None
    except msgspec.MsgspecError as error:
        raise OpenOmniError(f"{path} is damaged ({error}); put its copy back, or remove it to make new ones") from None


def ensure(data_dir: Path) -> Secrets:
    """The secrets, made now if there are none. Two processes that start at once end up with the same ones."""
    if (found := read(data_dir)) is not None:
        return found
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _create(data_dir / "secrets.json", _make())
    except OSError as error:
        raise OpenOmniError(
            f"can't write to {data_dir} ({error.strerror}); choose another folder with --data-dir"
        ) from None
    made = read(data_dir)
    assert made is not None
    return made


def new_token() -> str:
    """The text of a token that nobody has yet; `Token.issue` lets it in."""
    return f"oo_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def _make() -> Secrets:
    from ..bus.credentials import Authority

    return Secrets(secrets.token_urlsafe(48), secrets.token_urlsafe(32), Authority.create().seeds)


def _create(path: Path, content: Secrets) -> None:
    # mkstemp makes the file 0600; linking it fails when another process was first, and then the other's file stands.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        Path(temporary).unlink()
