"""Run by the Python that has pip: prints where the package index keeps a wheel, as JSON, and downloads nothing.

    python -P locate_wheel.py NAME VERSION

`pip install --dry-run --report` would say it too, but only after it has downloaded the whole wheel, whatever its
version, and it can't take a broken download up again. So pip is asked for what it would choose, with the user's
configuration: index, extra indexes, credentials, certificates and proxy.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def find(name: str, version: str) -> dict[str, str | None] | None:
    from pip._internal.commands import create_command
    from pip._vendor import requests

    command: Any = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-input", "--retries", "2", name])
    with command.main_context():
        session = command.get_default_session(options)
        for found in command._build_package_finder(options, session).find_all_candidates(name):
            if str(found.version) == version and found.link.is_wheel:
                asked: Any = requests.Request("GET", found.link.url_without_fragment)  # type: ignore[no-untyped-call,attr-defined]
                request = session.prepare_request(asked)
                return {
                    "url": request.url,
                    "authorization": request.headers.get("Authorization"),
                    "certificates": session.verify if isinstance(session.verify, str) else None,
                    "proxy": options.proxy or None,
                }
    return None


if __name__ == "__main__":
    print(json.dumps(find(*sys.argv[1:3])))
