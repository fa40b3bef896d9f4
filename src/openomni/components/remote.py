"""A server that speaks OpenAI's HTTP protocol: OpenAI itself, vLLM, Ollama, llama.cpp's server and others."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import OpenOmniError
from ..proxies import httpx_settings

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
KEYS = "OPENOMNI_KEYS"
ANSWER_WITHIN = 60.0
"""Seconds until a server that has accepted a connection must have sent something."""


class RemoteError(OpenOmniError):
    """A remote model did not answer; the message names the server and the mend. `status`: HTTP's, where it gave one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)

    @property
    def unfit(self) -> bool:
        """The server did not like what it was asked, rather than who asked or when."""
        return self.status in (400, 404, 422)


def key_for(url: str) -> str:
    """The key that this machine's owner gave for a server's address; empty when they gave none.

    Whoever writes a pipeline says which address is asked, so a key goes to nobody but whom it was given for, and the
    whole address counts: `OPENAI_API_KEY` to `OPENAI_BASE_URL` (else OpenAI), and with
    `OPENOMNI_KEYS="https://api.example.org/v1=KEY http://gpu.lab:8000/v1=KEY"` each key to the address before it.
    """
    wanted = _plain(url)
    if wanted == _home() and (key := os.environ.get("OPENAI_API_KEY")):
        return key
    return _keys().get(wanted, "")


def _keys() -> dict[str, str]:
    found = {}
    for number, entry in enumerate(os.environ.get(KEYS, "").split(), 1):
        url, _, key = entry.partition("=")
        if not key or not _is_address(url):
            # Without its text, which may be a key.
            raise RemoteError(f"{KEYS}: entry {number} is no address with a key; write https://host/v1=KEY")
        found[_plain(url)] = key
    return found


def _home() -> str:
    """The address that `OPENAI_API_KEY`, and what else the SDK reads from the environment, is for."""
    return _plain(os.environ.get("OPENAI_BASE_URL") or OPENAI)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _plain(url: str) -> str:
    """The address without what makes no difference: large letters in its host, a slash at its end."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return url  # an address for nobody: the caller says so
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()


class Remote:
    """A client of one server and model.

    Args:
        base_url: The server's address, ending in `/v1`; `OPENAI_BASE_URL`, else OpenAI, by default. The key is the one
            that this machine holds for it (`key_for`); a server of one's own may need none.
    """

    def __init__(self, model: str, base_url: str | None) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self.model = model
        # What is asked is what was compared.
        self.url = _plain(base_url) if base_url else _home()
        self.is_openai = self.url == OPENAI
        if not _is_address(self.url):
            raise RemoteError(f"base_url {base_url or self.url!r} is no address; write it as http://host:port/v1")
        self._key = key_for(self.url)
        if not self._key and self.is_openai:
            raise RemoteError(
                f"there is no key for OpenAI; set {_setting(self.url)}, or `base_url` for a server of your own"
            )
        self.client: AsyncOpenAI = AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self.url,
            timeout=ANSWER_WITHIN,
            max_retries=1,
            http_client=DefaultAsyncHttpxClient(**httpx_settings(self.url)),
            default_headers=None if self.url == _home() else _nothing_of_home(self._key or "none"),
        )

    async def close(self) -> None:
        await self.client.close()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[AsyncOpenAI]:
        """The client; what goes wrong with it inside is raised as a `RemoteError`."""
        import openai

        try:
            yield self.client
        except openai.APITimeoutError:
            raise RemoteError(f"{self.url} did not answer in {ANSWER_WITHIN:g} s; check the server's load") from None
        except openai.APIConnectionError as error:
            raise RemoteError(self._broken(error.__cause__ or error)) from None
        except openai.APIStatusError as error:
            raise RemoteError(self._refusal(error), error.status_code) from None
        except openai.OpenAIError as error:
            raise RemoteError(f"{self.url} answered in a way that we can't read: {error}") from None
        except Exception as error:
            # The SDK lets errors of its transport through while it streams; which library that is, is its own affair.
            if not type(error).__module__.startswith(("httpx", "httpcore")):
                raise
            raise RemoteError(self._broken(error)) from None

    def _broken(self, error: BaseException) -> str:
        said = str(error) or type(error).__name__
        if "Connect" in type(error).__name__:  # ConnectError and ConnectTimeout, of whichever transport
            return f"{self.url} can't be reached ({said}); check `base_url` and that it runs"
        return f"{self.url} broke off in the middle of its answer ({said}); try again"

    def _refusal(self, error: APIStatusError) -> str:
        said = _said(error)
        if error.status_code in (401, 403):
            return self._refused(said)
        if error.status_code == 404:
            return f"{self.url} has no model {self.model!r} ({said}); check `model` and that `base_url` ends in /v1"
        if error.status_code == 429:
            return f"{self.url} is over its limit ({said}); wait, or raise the quota"
        if error.status_code >= 500:
            return f"{self.url} failed with status {error.status_code} ({said}); look at the server's log"
        return f"{self.url} refuses the request ({said}); check the parameters of model {self.model!r}"

    def _refused(self, said: str) -> str:
        if not self._key:
            return f"{self.url} asks for a key ({said}); set {_setting(self.url)} on the agent's machine"
        variable = "OPENAI_API_KEY" if self._key == os.environ.get("OPENAI_API_KEY") else KEYS
        return f"{self.url} refuses the key ({said}); check {variable} on the agent's machine"


def _setting(url: str) -> str:
    """What to set for a server that has no key yet."""
    return "OPENAI_API_KEY" if url == _home() else f"{KEYS}={url}=KEY"


def _nothing_of_home(key: str) -> dict[str, Any]:
    """Headers in place of those that the SDK takes from the environment, which are meant for another server."""
    from openai import Omit

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    names = ["OpenAI-Organization", "OpenAI-Project", *(line.partition(":")[0].strip() for line in lines)]
    return {
        **{name: Omit() for name in names if name and name.lower() != "authorization"},
        "Authorization": f"Bearer {key}",
    }


def _said(error: APIStatusError) -> str:
    """The server's own words, shortened; the status where it has none."""
    body = error.body
    words = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    text = " ".join(str(words or f"status {error.status_code}").split())
    return text if len(text) <= 200 else f"{text[:199]}…"
