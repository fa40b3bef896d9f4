"""A server that speaks OpenAI's HTTP protocol: OpenAI itself, vLLM, Ollama, llama.cpp's server and others."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import OpenOmniError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
ENVIRONMENT = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
"""One of these variables says that an agent may offer remote models without being told a pipeline's parameters."""
ANSWER_WITHIN = 60.0
"""Seconds until a server that has accepted a connection must have sent something."""


class RemoteError(OpenOmniError):
    """A remote model did not answer; the message names the server and the mend."""


def key_for(url: str) -> str:
    """The key that this machine's owner gave for a server; empty when they gave none.

    Whoever writes a pipeline says which address is asked, so a key goes to nobody but whom it was given for:
    `OPENAI_API_KEY` to `OPENAI_BASE_URL` (else OpenAI), and `OPENOMNI_KEY_API_EXAMPLE_ORG` to api.example.org.
    """
    if _origin(url) == _origin(os.environ.get("OPENAI_BASE_URL") or OPENAI):
        return os.environ.get("OPENAI_API_KEY", "")
    return os.environ.get(variable_for(url), "")


def variable_for(url: str) -> str:
    """The environment variable that holds the key of a server: its host, and its port where one is named."""
    return "OPENOMNI_KEY_" + re.sub(r"[^A-Za-z0-9]", "_", urlsplit(url).netloc.rpartition("@")[2]).upper()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


class Remote:
    """A client of one server and model.

    Args:
        base_url: The server's address, ending in `/v1`; `OPENAI_BASE_URL`, else OpenAI, by default.
        api_key: By default the one that this machine holds for that server (`key_for`); a server of one's own may
            need none.
    """

    def __init__(self, model: str, base_url: str | None, api_key: str | None) -> None:
        from openai import AsyncOpenAI

        self.model = model
        self.url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
        self.is_openai = self.url.rstrip("/") == OPENAI
        key = api_key or key_for(self.url)
        if not key and self.is_openai:
            raise RemoteError("there is no key for OpenAI; set OPENAI_API_KEY, or `base_url` for a server of your own")
        if not self.url.startswith(("http://", "https://")):
            raise RemoteError(f"base_url {self.url!r} is no address; write it as http://host:port/v1")
        self.client: AsyncOpenAI = AsyncOpenAI(
            api_key=key or "none", base_url=self.url, timeout=ANSWER_WITHIN, max_retries=1
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
            raise RemoteError(self._refusal(error)) from None
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
            variable = "OPENAI_API_KEY" if self.is_openai else variable_for(self.url)
            return f"{self.url} refuses the key ({said}); check {variable} on the agent's machine, or `api_key`"
        if error.status_code == 404:
            return f"{self.url} has no model {self.model!r} ({said}); check `model` and that `base_url` ends in /v1"
        if error.status_code == 429:
            return f"{self.url} is over its limit ({said}); wait, or raise the quota"
        if error.status_code >= 500:
            return f"{self.url} failed with status {error.status_code} ({said}); look at the server's log"
        return f"{self.url} refuses the request ({said}); check the parameters of model {self.model!r}"


def _said(error: APIStatusError) -> str:
    """The server's own words, shortened; the status where it has none."""
    body = error.body
    words = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    text = " ".join(str(words or f"status {error.status_code}").split())
    return text if len(text) <= 200 else f"{text[:199]}…"
