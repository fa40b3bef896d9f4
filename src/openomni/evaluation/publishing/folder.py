"""The folder: what is in it, written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import OpenOmniError, WrongUsage
from . import figures, methods, page, tables

BUNDLE = "experiment.json"
"""All that the rest is made of, and that another server takes in."""
FORMAT = "openomni.experiment/1"
MAX_BYTES = 1 << 30
"""Of a bundle that is read: a million cells under some metrics."""


def write(bundle: Mapping[str, Any], out: Path) -> list[str]:
    """Writes the folder and gives its files' names. `bundle`: as a server's `/experiments/NAME/export` gives it.

    Raises WrongUsage where the folder is there and has something in it, OpenOmniError where it can't be written or a
    library is missing.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongUsage(f"{out} is there already; name a folder that is new or empty with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        made.chmod(0o755)
    except OSError as error:
        raise OpenOmniError(f"can't write {out} ({error.strerror}); name another folder with --out") from None
    try:
        _fill(bundle, made)
        if out.exists():
            out.rmdir()
        made.rename(out)
    except OSError as error:
        raise OpenOmniError(f"can't write {out} ({error.strerror}); name another folder with --out") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file())


def _fill(bundle: Mapping[str, Any], made: Path) -> None:
    comparison = bundle["comparison"]
    _json(made / BUNDLE, bundle)
    _json(made / "comparison.json", comparison)
    _json(made / "manifest.json", bundle["experiment"]["manifest"])
    for name, rows in (
        ("cells", bundle["cells"]), ("scores", bundle["scores"]), ("comparison", tables.flat(comparison))
    ):  # fmt: skip
        tables.write(rows, made / name)
    (made / "tables").mkdir()
    (made / "tables" / "comparison.tex").write_text(tables.latex(comparison), encoding="utf-8")
    (made / "figures").mkdir()
    drawn = figures.draw(comparison, made / "figures")
    told = methods.paragraph(bundle)
    (made / "methods.txt").write_text(told + "\n", encoding="utf-8")
    (made / "index.html").write_text(page.html(bundle, drawn, told), encoding="utf-8")


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The bundle of a folder that `write` made, or of its file.

    Raises WrongUsage where it is none, of another format, or larger than anything that was exported.
    """
    path = folder / BUNDLE if folder.is_dir() else folder
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WrongUsage(f"{path} is larger than 1 GiB; that is no exported experiment")
        bundle = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongUsage(
            f"can't read {path} ({error.strerror}); give a folder that `openomni experiment export` made"
        ) from None
    except ValueError:
        raise WrongUsage(f"{path} is no JSON; export the experiment again") from None
    said = bundle.get("format") if isinstance(bundle, dict) else None
    if said != FORMAT:
        raise WrongUsage(f"{path} is of the format {said!r}, and this version reads {FORMAT}")
    return dict(bundle)
