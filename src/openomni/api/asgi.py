"""The ASGI application: Django, its static files, and the threads that listen to the bus."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openomni.api.settings")
django.setup(set_prefix=False)

from django.apps import apps  # noqa: E402
from django.conf import settings  # noqa: E402
from django.http import cookie as cookies  # noqa: E402
from django.template.loader import get_template  # noqa: E402
from starlette.exceptions import HTTPException  # noqa: E402
from starlette.responses import Response  # noqa: E402
from starlette.staticfiles import StaticFiles  # noqa: E402
from starlette.types import Receive, Scope, Send  # noqa: E402

from .background import ServerThreads  # noqa: E402
from .bodies import Bodies  # noqa: E402
from .handler import Handler  # noqa: E402
from .proxy import TrustedProxy  # noqa: E402


class PackagedFiles(StaticFiles):
    """Static files straight from the installed packages: nothing to collect, and it works offline."""

    def __init__(self) -> None:
        super().__init__(check_dir=False)
        folders = [Path(config.path) / "static" for config in apps.get_app_configs()]
        self.all_directories = [folder for folder in folders if folder.is_dir()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except HTTPException as error:
            await Response(status_code=error.status_code)(scope, receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


class Application:
    """Passes each connection on to the part that serves it; runs the background while the server lives."""

    def __init__(self) -> None:
        # Now, so that the first request is as quick as the others.
        import_module(settings.ROOT_URLCONF)
        get_template("start/home.html")
        self._handler = Handler()
        self._django = Bodies(self._handler, self._is_known, settings.SESSION_COOKIE_NAME)
        self._static = PackagedFiles()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and scope["path"].startswith("/static/"):
            # StaticFiles resolves against what is left behind root_path, as if it were mounted.
            await self._static({**scope, "root_path": "/static"}, receive, send)
        elif scope["type"] == "http":
            await self._django(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "the gateway serves WebSockets"})

    async def _is_known(self, shown: Mapping[str, str]) -> bool:
        from .accounts.authentication import is_known

        key = cookies.parse_cookie(shown.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
        return await self._handler.asked(lambda: is_known(shown.get("authorization", ""), key))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        background = ServerThreads()
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                background.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                background.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


application = TrustedProxy(Application(), settings.TRUSTED_PROXIES)
