"""Finds metrics by name: ours, those of installed packages, and any in a file or by import path.

A package offers its metrics under the entry point group `openomni.metrics`. The entry's value is a function or class
made with `@metric`, or a module with such. A package that does not load is a line in `problems()`, never a crash.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

import msgspec

from .. import installs
from ..components import schema
from ..components.fence import fenced, words
from ..errors import OpenOmniError, WrongUsage, nearest
from .declaring import Declaration, declaration_of, declared
from .results import Result, WrongResult, failed, result_of
from .runs import SoundAwaited

GROUP = "openomni.metrics"
M = TypeVar("M")
FINGERPRINT = 8
"""Characters behind a version that stand for parameters and pins."""


class MetricInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to know of a metric without running it. `schema`: of its parameters; `mend`: the line that
    installs what is missing, empty when nothing is."""

    name: str
    version: str
    takes: str
    unit: str
    better: str
    kind: str
    statistic: str
    description: str
    package: str
    schema: dict[str, Any]
    mend: str = ""


@dataclass(frozen=True)
class Metric:
    """One that is built: it can be asked. `version` is the declared one, and a fingerprint of its parameters and of
    what it pins where it has some; `parameters` says both."""

    info: MetricInfo
    version: str
    parameters: dict[str, Any]
    _measure: Callable[[Any], object]
    _warm_up: Callable[[], object] = field(default=lambda: None)

    def warm_up(self) -> None:
        """Loads what it needs. Raises `OpenOmniError` with the reason where it can't."""
        try:
            with fenced(interruptible=True):
                self._warm_up()
        except OpenOmniError:
            raise
        except Exception as error:
            raise OpenOmniError(f"{self.info.name} could not be made ready: {words(error)}") from error

    def measure(self, taken: Any) -> Result:
        """What comes of one call; an error is an outcome, with its reason. Raises SoundAwaited alone."""
        try:
            with fenced(interruptible=True):
                return result_of(self._measure(taken))
        except SoundAwaited:
            raise
        except WrongResult as error:
            return failed(str(error))
        except Exception as error:
            return failed(f"raised {words(error)}")


def registered() -> dict[str, MetricInfo]:
    """All metrics found here, by name. No runtime of one is imported."""
    found: dict[str, MetricInfo] = {}
    for name in sorted({*_index().targets, *declared}):
        try:
            found[name] = describe(_named(name))
        except OpenOmniError as error:
            _index().note(str(error))
    return found


def names() -> set[str]:
    """Of all metrics found here, as they are installed now. Nothing more of them is looked at."""
    importlib.invalidate_caches()
    _index.cache_clear()
    return {*_index().targets, *declared}


def problems() -> list[str]:
    """What is wrong with installed packages that offer metrics, a line each."""
    registered()
    return list(_index().problems)


def find(name: str) -> Callable[..., Any]:
    """The function or class of that name, at the import path `package.module:name`, or in `FILE.py[:name]`. Raises
    `WrongUsage` with the mend."""
    path, _, attribute = name.partition(":")
    if path.endswith(".py"):
        return _chosen(_file(Path(path)), attribute, path)
    if attribute:
        return _chosen(_module(path), attribute, path)
    return _named(name)


def describe(made: object) -> MetricInfo:
    """Raises `WrongUsage` for what is no metric."""
    said = declaration_of(made)
    if said is None or not callable(made):
        raise WrongUsage(
            f"{getattr(made, '__qualname__', made)!s} is no metric; put @metric('a-name', version='1') on it"
        )
    package = _origin(made)
    fields = {name: getattr(said, name) for name in Declaration.__slots__ if name not in ("install", "requires")}
    about = inspect.cleandoc(made.__doc__ or "").partition("\n\nArgs:")[0]
    parameters = schema.of(made) if isinstance(made, type) else {"type": "object", "properties": {}}
    return MetricInfo(**fields, description=about, package=package, schema=parameters, mend=_mend(said))


def build(name: str, parameters: Mapping[str, Any] | None = None) -> Metric:
    """The metric, its parameters checked. Raises `WrongUsage` for an unknown name or parameter, `OpenOmniError` with
    the install line for a missing module, and with the reason when its constructor fails."""
    made, given = find(name), dict(parameters or {})
    info = describe(made)
    if info.mend:
        raise OpenOmniError(f"the metric {info.name} needs a module that is not installed; {info.mend}")
    if not isinstance(made, type):
        if given:
            raise WrongUsage(f"the metric {info.name}: unknown parameter {min(given)!r}; it has no parameters")
        return Metric(info, info.version, {}, made)
    arguments = schema.convert(made, given, f"the metric {info.name}")
    try:
        with fenced(interruptible=True):
            built = made(**arguments)
            pins = dict(getattr(built, "pins", {}))
    except OpenOmniError:
        raise
    except Exception as error:
        raise OpenOmniError(f"the metric {info.name} could not be built: {words(error)}") from error
    held = ({"parameters": given} if given else {}) | ({"pins": pins} if pins else {})
    version = f"{info.version}+{_fingerprint(held)}" if held else info.version
    return Metric(info, version, held, built.measure, getattr(built, "warm_up", lambda: None))


def _fingerprint(content: Mapping[str, Any]) -> str:
    told = msgspec.json.encode(content, order="deterministic")
    return hashlib.sha256(told).hexdigest()[:FINGERPRINT]


def _mend(said: Declaration) -> str:
    missing = next((module for module in said.requires if not _importable(module)), "")
    if not missing:
        return ""
    if said.install.startswith("openomni["):
        return installs.line(said.install[len("openomni[") : -1])
    return f"pip install '{said.install}'" if said.install else f"install the package that brings {missing!r}"


# ---- where they are ------------------------------------------------------------------------------------------


class _Index:
    """What entry points offer, by name."""

    def __init__(self) -> None:
        self.targets: dict[str, Callable[..., Any]] = {}
        self.problems: list[str] = []
        # Ours come first, so that no package takes one of our names.
        importlib.import_module("openomni.metrics.builtin")
        self.targets |= {name: made for name, made in declared.items() if made.__module__.startswith("openomni.")}
        for entry in sorted(metadata.entry_points(group=GROUP), key=lambda each: each.name):
            self._add(entry)

    def note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _add(self, entry: metadata.EntryPoint) -> None:
        package = entry.dist.name if entry.dist else entry.value
        try:
            with fenced(interruptible=True):
                offers = list(_offers(entry.load()))
        except Exception as error:  # whatever a stranger's module does at import, the others must be found
            self.note(f"the metrics of {package} ({entry.value}) do not load: {words(error)}")
            return
        if not offers:
            self.note(f"{package} offers no metric at {entry.value}; put @metric on its functions")
        for name, made in offers:
            if self.targets.setdefault(name, made) is not made:
                self.note(f"{package} offers the metric {name}, which is taken; rename it, or use its import path")


@cache
def _index() -> _Index:
    return _Index()


def _offers(loaded: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    if isinstance(loaded, ModuleType):
        package = loaded.__name__.partition(".")[0]
        for name, made in list(declared.items()):
            if made.__module__.partition(".")[0] == package:
                yield name, made
    elif (said := declaration_of(loaded)) is not None and callable(loaded):
        yield said.name, loaded
    else:
        raise WrongUsage(f"{loaded!r} is neither a module nor made with @metric")


def _named(name: str) -> Callable[..., Any]:
    index = _index()
    found = index.targets.get(name) or declared.get(name)
    if found is None:
        hint = f" (a package failed to load: {index.problems[0]})" if index.problems else ""
        raise WrongUsage(f"unknown metric {name!r}; {nearest(name, {*index.targets, *declared})}{hint}")
    return found


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise WrongUsage(f"there is no file {path}; check the path")
    name = f"_openomni_metric_{path.stem}"
    loader = _AsWritten(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # as an import would: dataclasses look there
    _loaded(lambda: loader.exec_module(module), str(path))
    return module


class _AsWritten(SourceFileLoader):
    """Without compiled code beside the file: by a change within the second, to text of the same length, that would not
    be told from what it was made of."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _module(path: str) -> ModuleType:
    try:
        if importlib.util.find_spec(path) is None:
            raise ModuleNotFoundError
    except (ImportError, ValueError):
        raise WrongUsage(f"there is no module {path!r} here; install its package, or name its file") from None
    return _loaded(lambda: importlib.import_module(path), path)


def _loaded(load: Callable[[], M], where: str) -> M:
    try:
        with fenced(interruptible=True):
            return load()
    except OpenOmniError as error:
        raise WrongUsage(f"{where}: {error}") from None
    except ModuleNotFoundError as error:
        raise OpenOmniError(f"{where} needs the Python module {error.name!r}, which is not installed") from error
    except Exception as error:
        raise OpenOmniError(f"{where} can't be loaded: {words(error)}") from error


def _chosen(module: ModuleType, attribute: str, where: str) -> Callable[..., Any]:
    there = {name: made for name, made in vars(module).items() if declaration_of(made) and _is_of(made, module)}
    if attribute:
        if not hasattr(module, attribute):
            raise WrongUsage(f"{where} has no {attribute!r}; {nearest(attribute, there)}")
        describe(found := getattr(module, attribute))
        return found  # type: ignore[no-any-return]
    if len(there) != 1:
        several = f"write {where}:NAME with one of {', '.join(sorted(there))}" if there else "put @metric on a function"
        raise WrongUsage(f"{where} has {len(there) or 'no'} metric{'s' * (len(there) > 1)}; {several}")
    (only,) = there.values()
    return only  # type: ignore[no-any-return]


def _is_of(made: Any, module: ModuleType) -> bool:
    return bool(getattr(made, "__module__", None) == module.__name__)


def _origin(made: Any) -> str:
    """The distribution that it comes from, with its version; its module where it comes from none."""
    top = str(made.__module__).partition(".")[0]
    names: Sequence[str] = _distributions().get(top, ())
    version = metadata.version(names[0]) if names else getattr(sys.modules.get(top), "__version__", "")
    return f"{names[0] if names else top} {version}".rstrip()


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
