"""A language model on a server that speaks OpenAI's protocol."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import msgspec

from ...events import Message, Text, Tool, ToolCall, Usage
from ..registry import component
from ..remote import Remote


@component("llm", "openai", install="openomni[agent]", requires="openai")
class OpenAIChat:
    """Chat over HTTP, streamed, with pictures: OpenAI's models, or any compatible server's. Its licence applies.

    Args:
        model: A model that the server has.
        base_url: The server's address, ending in /v1; OPENAI_BASE_URL, else OpenAI, by default. A key that it asks for
            is set on the agent's machine, never here: OPENAI_API_KEY, or OPENOMNI_KEYS=ADDRESS=KEY for another server.
        temperature: 0 is the likeliest text; higher is more varied. The model's own by default.
        max_tokens: Where the reply is cut off.
        input_price: Price of a million input tokens; with `output_price` each turn states its cost.
        output_price: Price of a million output tokens.
        currency: Of the prices.
    """

    slots = 8

    def __init__(
        self,
        model: str = "gpt-4o-mini",
        base_url: str | None = None,
        temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None,
        max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
        currency: str = "USD",
    ) -> None:
        self._remote = Remote(model, base_url)
        self.effective = {"base_url": self._remote.url}
        # OpenAI's newer models refuse the older name, and most other servers know no other.
        limit = "max_completion_tokens" if self._remote.is_openai else "max_tokens"
        options = {"temperature": temperature, limit: max_tokens}
        self._options: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self._prices = (input_price, output_price)
        self._currency = currency

    async def generate(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), tool_choice: str = "auto"
    ) -> AsyncIterator[str | Text | ToolCall | Usage]:
        """The reply as it is written, and apart from it the reasoning that the server tells; tools that it calls come
        whole, at its end."""
        calls: dict[int, ToolCall] = {}
        async with self._remote.asking() as client:
            stream = await client.chat.completions.create(
                model=self._remote.model,
                messages=[_wire(message) for message in messages],
                stream=True,
                stream_options={"include_usage": True},
                **_offered(tools, tool_choice),
                **self._options,
            )
            async with stream:
                async for chunk in stream:
                    if chunk.choices and (thought := _thought(chunk.choices[0].delta)):
                        yield Text("", thought)
                    if chunk.choices and chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content
                    for piece in (chunk.choices[0].delta.tool_calls or ()) if chunk.choices else ():
                        calls[piece.index] = _grown(calls.get(piece.index), piece)
                    if chunk.usage is not None:
                        yield self._usage(chunk.usage)
        for _, call in sorted(calls.items()):
            yield call

    async def close(self) -> None:
        await self._remote.close()

    def _usage(self, used: Any) -> Usage:
        given, written = used.prompt_tokens, used.completion_tokens
        details = getattr(used, "prompt_tokens_details", None)  # which not every server tells
        price_in, price_out = self._prices
        cost = None
        if price_in is not None and price_out is not None:
            cost = (given * price_in + written * price_out) / 1_000_000
        return Usage(
            input_tokens=given, output_tokens=written, cost=cost, currency=self._currency,
            cached_tokens=getattr(details, "cached_tokens", None),
        )  # fmt: skip


def _thought(delta: Any) -> str:
    """Reasoning, which has no place in the protocol: servers name it one way or the other."""
    found = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
    return found if isinstance(found, str) else ""


def _offered(tools: Sequence[Tool], choice: str) -> dict[str, Any]:
    """Servers that know no tools are not told of any."""
    if not tools:
        return {}
    named = choice not in ("auto", "none", "required")
    return {
        "tools": [
            {"type": "function", "function": {"name": each.name, "description": each.description,
                                              "parameters": each.parameters}}
            for each in tools
        ],
        "tool_choice": {"type": "function", "function": {"name": choice}} if named else choice,
    }  # fmt: skip


def _grown(call: ToolCall | None, piece: Any) -> ToolCall:
    """A call with the next piece of it: its name comes first, its arguments bit by bit."""
    said = piece.function
    arguments = (said.arguments if said else None) or ""
    if call is None:
        return ToolCall(piece.id or uuid.uuid4().hex, (said.name if said else None) or "", arguments)
    return ToolCall(call.call_id, call.name or (said.name if said else None) or "", call.arguments + arguments)


def _wire(message: Message) -> Any:
    if message.role == "tool":
        return {"role": "tool", "content": message.content, "tool_call_id": message.call_id}
    if message.tool_calls:
        calls = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": message.role, "content": message.content or None, "tool_calls": calls}
    if not message.images:
        return {"role": message.role, "content": message.content}
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
    for frame in message.images:
        data = base64.b64encode(frame.jpeg()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    return {"role": message.role, "content": parts}
