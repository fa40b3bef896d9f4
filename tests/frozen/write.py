"""Freezes the messages of this release: once, before it is made. Never change what an earlier one wrote."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from openomni import __version__

from . import messages


def main() -> None:
    frozen = [
        {
            "plane": plane,
            "name": messages.name(message),
            "kind": type(message).__name__,
            "data": base64.b64encode(messages.encode(plane, message)).decode(),
        }
        for plane, message in messages.every()
    ]
    file = Path(__file__).parent / f"{__version__}.json"
    file.write_text(json.dumps(frozen, indent=1) + "\n")
    print(f"{len(frozen)} messages in {file.name}")


if __name__ == "__main__":
    main()
