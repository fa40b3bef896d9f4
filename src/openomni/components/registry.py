"""Finds components by name: ours, those of installed packages, and any by import path.

A package offers its components under the entry point group `openomni.components`. The entry's value is a class made
with `@component`, a module with such classes, or a mapping of `kind:name` → `module:Class` that imports nothing until
a component is asked for. A package that does not load is a line in `problems()`, never a crash.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from types import ModuleType
from typing import Any, TypeVar

from .. import installs
from ..errors import OpenOmniError, WrongUsage, nearest
from . import schema
from .fence import fenced, words
from .kinds import kind_of

GROUP = "openomni.components"
C = TypeVar("C", bound=type)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `@component` says of a class. `install` is what pip gets; `requires` are the modules that it brings."""

    kind: str
    name: str
    install: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentInfo:
    """A component that can be built here. `requires` are modules; `missing` those that are not installed."""

    kind: str
    name: str
    cls: type
    description: str
    schema: schema.Schema
    version: str
    package: str
    streaming: bool
    slots: int
    install: str = ""
    requires: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """What a session may ask of one call."""

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(module for module in self.requires if not _importable(module))

    @property
    def mend(self) -> str:
        """The line that installs what is missing; empty when nothing is."""
        return _mend(self.missing[0], self.install) if self.missing else ""


_declared: dict[Key, type] = {}


def component(kind: str, name: str, *, install: str = "", requires: str | tuple[str, ...] = ()) -> Callable[[C], C]:
    """Declares a class to be a component.

    Args:
        kind: One of `kinds.KINDS`, which also says the method to write.
        name: What a pipeline calls it: lower-case letters, digits, `-`, `_` and `.`.
        install: What pip installs to make it run, such as `my-package[gpu]`; the answer when `requires` is missing.
        requires: Modules that its constructor imports.
    """
    found = kind_of(kind)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise WrongUsage(f"{name!r} is no component name; use lower-case letters, digits, '-', '_' and '.'")
    needed = (requires,) if isinstance(requires, str) else tuple(requires)

    def declare(cls: C) -> C:
        if not isinstance(cls, type):
            raise WrongUsage(f"@component({kind!r}, {name!r}) goes on a class, not on {cls!r}")
        if not any(hasattr(cls, method) for method in (found.method, found.streaming) if method):
            raise WrongUsage(f"{cls.__qualname__} is no {kind} component; it lacks the method {found.signature}")
        cls.__openomni__ = Declaration(kind, name, install, needed)  # type: ignore[attr-defined]
        _declared[kind, name] = cls
        return cls

    return declare


def declaration(cls: type) -> Declaration | None:
    """What `@component` said of this very class, not of one that it inherits from."""
    return cls.__dict__.get("__openomni__")


def label(kind: str, built: object) -> str:
    """`kind:name` of a built component, for messages."""
    declared = declaration(type(built))
    return f"{kind}:{declared.name if declared else type(built).__name__}"


def registered(kind: str | None = None) -> dict[Key, ComponentInfo]:
    """All components found here, or those of one kind, by (kind, name). No runtime of a provider is imported."""
    if kind is not None:
        kind_of(kind)
    keys = sorted({*_index().targets, *_declared})
    found: dict[Key, ComponentInfo] = {}
    for key in keys:
        if kind in (None, key[0]):
            try:
                found[key] = find(*key)
            except OpenOmniError as error:
                _index().note(str(error))
    return found


def problems() -> list[str]:
    """What is wrong with installed packages that offer components, a line each."""
    registered()
    return list(_index().problems)


def find(kind: str, name: str) -> ComponentInfo:
    """The component of that name, or at the import path `package.module:Class`. Raises `WrongUsage` with the mend."""
    kind_of(kind)
    if ":" in name:
        info = locate(name)
    else:
        target = _index().targets.get((kind, name)) or _declared.get((kind, name))
        if target is None:
            valid = {known for of, known in (*_index().targets, *_declared) if of == kind}
            raise WrongUsage(f"unknown {kind} component {name!r}; {nearest(name, valid)}{_index().hint()}")
        info = locate(target) if isinstance(target, str) else describe(target)
    if info.kind != kind:
        raise WrongUsage(f"{name!r} is a {info.kind} component, not {kind}")
    return info


def locate(path: str) -> ComponentInfo:
    """The component at an import path, whatever its kind. Raises `OpenOmniError` with the mend."""
    return describe(_import(path))


def build(kind: str, name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """An instance, its parameters checked against its schema.

    Raises `WrongUsage` for an unknown name or parameter, `OpenOmniError` with the install line for a missing module,
    and with the reason when the constructor fails.
    """
    return construct(find(kind, name), f"{kind}:{name}", parameters or {})


def construct(info: ComponentInfo, where: str, parameters: Mapping[str, Any]) -> Any:
    """As `build`, of a component already found; `where` begins every message."""
    arguments = schema.convert(info.cls, parameters, where)
    if info.missing:
        raise OpenOmniError(_needs(where, info.missing[0], info.install))
    try:
        with fenced(interruptible=True):
            return info.cls(**arguments)
    except OpenOmniError as error:
        sort = WrongUsage if isinstance(error, WrongUsage) else OpenOmniError
        raise sort(f"{where}: {error}") from error
    except ModuleNotFoundError as error:
        raise OpenOmniError(_needs(where, str(error.name), info.install)) from error
    except Exception as error:
        raise OpenOmniError(f"{where} could not be built: {words(error)}") from error


def _needs(where: str, module: str, install: str) -> str:
    return f"{where} needs the Python module {module!r}, which is not installed; {_mend(module, install)}"


def _mend(module: str, install: str) -> str:
    if install.startswith("openomni["):
        return installs.line(install[len("openomni[") : -1])
    return f"pip install '{install}'" if install else f"install the package that brings {module!r}"


# ---- what is installed ---------------------------------------------------------------------------------------


class _Index:
    """What entry points offer: `targets` maps (kind, name) to a class, or to `module:Class` not yet imported."""

    def __init__(self) -> None:
        self.targets: dict[Key, type | str] = {}
        self.packages: dict[str, metadata.Distribution] = {}
        self.problems: list[str] = []
        # Ours come first, so that no package takes one of our names.
        for entry in sorted(
            metadata.entry_points(group=GROUP), key=lambda e: (not e.value.startswith("openomni."), e.name)
        ):
            self._add(entry)

    def note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def hint(self) -> str:
        return f" (a package failed to load: {self.problems[0]})" if self.problems else ""

    def _add(self, entry: metadata.EntryPoint) -> None:
        package = entry.dist.name if entry.dist else entry.value
        if entry.dist:
            self.packages[entry.module.partition(".")[0]] = entry.dist
        try:
            with fenced(interruptible=True):
                offers = list(_offers(entry.load()))
        except Exception as error:  # whatever a stranger's module does at import, the others must be found
            self.note(f"the components of {package} ({entry.value}) do not load: {words(error)}")
            return
        if not offers:
            self.note(f"{package} offers no component at {entry.value}; put @component on its classes")
        for key, target in offers:
            if self.targets.setdefault(key, target) != target:
                self.note(f"{package} offers {':'.join(key)}, which is taken; rename it, or use its import path")


@cache
def _index() -> _Index:
    return _Index()


def _offers(loaded: object) -> Iterator[tuple[Key, type | str]]:
    if isinstance(loaded, ModuleType):
        loaded = getattr(loaded, "COMPONENTS", loaded)
    if isinstance(loaded, Mapping):
        for name, target in loaded.items():
            kind, _, short = name.partition(":")
            kind_of(kind)
            yield (kind, short), target
    elif isinstance(loaded, ModuleType):
        package = loaded.__name__.partition(".")[0]
        for key, cls in list(_declared.items()):
            if cls.__module__.partition(".")[0] == package:
                yield key, cls
    elif isinstance(loaded, type) and (declared := declaration(loaded)):
        yield (declared.kind, declared.name), loaded
    else:
        raise WrongUsage(f"{loaded!r} is neither a module nor a class made with @component")


def _import(path: str) -> type:
    module, _, attribute = path.partition(":")
    try:
        with fenced(interruptible=True):
            found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise WrongUsage(f"there is no module {module!r} here; install its package where the agent runs") from None
        raise OpenOmniError(f"{path} needs the Python module {error.name!r}, which is not installed") from error
    except AttributeError:
        raise WrongUsage(f"the module {module!r} has no class {attribute!r}; check the import path") from None
    except Exception as error:
        raise OpenOmniError(f"{path} can't be imported: {words(error)}") from error
    if not isinstance(found, type):
        raise WrongUsage(f"{path} is no class; name a class made with @component")
    return found


def describe(cls: type) -> ComponentInfo:
    """What there is to know of a class made with `@component`. Raises `WrongUsage` for any other, and `OpenOmniError`
    where the class itself does not say it."""
    declared = declaration(cls)
    if declared is None:
        raise WrongUsage(f"{cls.__qualname__} is no component; put @component(kind, 'a-name') on the class")
    try:
        with fenced(interruptible=True):
            return _describe(cls, declared)
    except OpenOmniError:
        raise
    except Exception as error:
        where = f"{declared.kind}:{declared.name}"
        raise OpenOmniError(f"{where} can't be described: {words(error)}") from error


def _describe(cls: type, declared: Declaration) -> ComponentInfo:
    package, version = _origin(cls)
    stream = kind_of(declared.kind).streaming
    slots = getattr(cls, "slots", 1)
    return ComponentInfo(
        kind=declared.kind,
        name=declared.name,
        cls=cls,
        description=schema.about(cls),
        schema=schema.of(cls),
        version=version,
        package=package,
        streaming=bool(stream) and hasattr(cls, stream),
        slots=slots if isinstance(slots, int) else 1,
        install=declared.install,
        requires=declared.requires,
        options=kind_of(declared.kind).options_of(cls),
    )


def _origin(cls: type) -> tuple[str, str]:
    """The distribution that a class comes from and its version; its module where it comes from none."""
    top = cls.__module__.partition(".")[0]
    found = _index().packages.get(top)
    if found is None and (names := _distributions().get(top)):
        found = metadata.distribution(names[0])
    if found is not None:
        return found.name, found.version
    return top, str(getattr(sys.modules.get(top), "__version__", ""))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _importable(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
