"""What tasks run on here, told to the record plane: each component as it was built, so that it can be built again."""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from ..bounds import MAX_LINE, MAX_NAME, MAX_RECORD
from ..components.registry import ComponentInfo, declaration
from ..models import contents
from ..records import BuildRecord, FileRecord, MachineRecord
from ..version import __version__
from . import machine

log = logging.getLogger(__name__)

MOST_LIBRARIES = 100
_REQUIRED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class BuildOfTask:
    """The id of its record, and what the component draws by, where it takes a seed."""

    id: str = ""
    seed: int | None = None


class Builds:
    """Those of this process. Each is told once to every record plane that it works for, as `tell_to` names them."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._tell: Callable[[BuildRecord], None] | None = None
        self._project = ""

    def tell_to(self, project: str, write: Callable[[BuildRecord], None]) -> None:
        """From now on; what is known already is told at once."""
        self._project, self._tell = project, write
        for content in self._known.values():
            write(BuildRecord.of(project, **content))

    def add(self, content: dict[str, Any]) -> str:
        """What `describe` gave; its id."""
        record = BuildRecord.of(self._project, **content)
        if record.build not in self._known:
            self._known[record.build] = content
            if self._tell is not None:
                self._tell(record)
        return record.build


def describe(
    info: ComponentInfo, component: object, parameters: Mapping[str, Any], loaded: Iterable[Path]
) -> dict[str, Any]:
    """All of a `BuildRecord` but its project. It reads the files that were loaded: call it in a thread.

    `parameters` are those that were given; `loaded` what the component noted (`models.note`), to which come those of
    its parameters, and of its attribute `files`, that are files of this machine.
    """
    effective = _effective(info, component, parameters)
    named = [value for value in (*effective.values(), *_files(component)) if isinstance(value, str | Path)]
    paths = {*loaded, *(path for value in named if (path := _existing(value)) is not None)}
    return {
        "kind": info.kind,
        "component": info.name,
        "package": info.package[:MAX_NAME],
        "package_version": info.version[:MAX_NAME],
        "path": f"{info.cls.__module__}:{info.cls.__qualname__}"[:MAX_LINE],
        "parameters": effective,
        "files": [FileRecord(each.name[-MAX_LINE:], each.sha256, each.size) for each in contents(sorted(paths))],
        "libraries": libraries(info),
        "machine": of_this_machine(),
        "openomni": __version__,
    }


def seed_of(content: Mapping[str, Any]) -> int | None:
    """What it was given to draw by; None where it takes none."""
    seed = content["parameters"].get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def libraries(info: ComponentInfo) -> dict[str, str]:
    """What the component runs on, with its version: its own distribution, those of its `requires`, and what these
    depend on themselves. All that is installed counts, imported or not, so that one machine tells one build."""
    declared = declaration(info.cls)
    modules = [info.package, *(declared.requires if declared else info.requires)]
    own = [_distribution_of(module.partition(".")[0]) for module in modules]
    # What only an extra brings is not known to belong to it; ours says by `requires` what its components run on.
    needs = [need for each in own if each for need in each.requires or () if "extra ==" not in need]
    more = [_distribution(match[0]) for need in needs if (match := _REQUIRED.match(need))]
    found = {_plain(each.name): each.version for each in (*own, *more) if each is not None}
    return dict(sorted(found.items())[:MOST_LIBRARIES])


def _distribution_of(module: str) -> metadata.Distribution | None:
    """Most bear the name of their module, which spares a look at everything that is installed."""
    return _distribution(module) or next((_distribution(name) for name in _by_module().get(module, ())), None)


@functools.cache
def _by_module() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


@functools.cache
def of_this_machine() -> MachineRecord:
    here = machine.describe()
    return MachineRecord(
        cpu=here.cpu[:MAX_NAME],
        cores=here.cores,
        memory=here.memory,
        accelerators=tuple(each.name[:MAX_NAME] for each in machine.accelerators()),
        os=here.os[:MAX_NAME],
        python=here.python[:MAX_NAME],
        architecture=here.architecture[:MAX_NAME],
    )


def _effective(info: ComponentInfo, component: object, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What it was built with, defaults included, and what it says of itself: its mapping `effective`, for what only the
    machine's own settings decide."""
    try:
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(info.cls).parameters.items()
            if parameter.default is not parameter.empty
        }
    except (TypeError, ValueError):
        defaults = {}
    said = getattr(component, "effective", {})
    told = {**defaults, **parameters, **(said if isinstance(said, Mapping) else {})}
    plain = {str(name): _told(value) for name, value in sorted(told.items())}
    if len(msgspec.json.encode(plain)) > MAX_RECORD // 2:
        log.warning("%s:%s: its parameters are too large to be told", info.kind, info.name)
        return {}
    return plain


def _told(value: Any) -> Any:
    """As JSON has it; what that can't say, by its own words."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=repr))
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def _files(component: object) -> tuple[Any, ...]:
    files = getattr(component, "files", ())
    return tuple(files) if isinstance(files, list | tuple | set | frozenset) else ()


def _existing(value: str | Path) -> Path | None:
    """The file or folder of that name; text that merely looks like one, such as a language, is none."""
    if isinstance(value, str) and not value.startswith(("/", "./", "../", "~")):
        return None
    try:
        path = Path(value).expanduser()
        return path if path.is_file() or path.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _plain(name: str) -> str:
    """A distribution's name, as two spellings of it are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
