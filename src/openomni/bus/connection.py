"""A connection to the bus that comes back by itself, always with fresh credentials.

`Bus` is a thin layer over `nats-py`: bounded subscriptions, requests that fail at once when nobody serves them or when
they are not allowed, publishing that waits for the disk. It drops what others smuggle in: JetStream will deliver a
stored message to any subject that a consumer names, so a message whose own subject does not fit is not for us.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import msgspec
from nats.aio import transport
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.protocol.parser import PERMISSIONS_ERR

from .. import bounds
from ..background import Background, ended
from ..errors import OpenOmniError
from .credentials import Keys
from .login import Login, Renew
from .subscription import Handler, Subscription, matcher

log = logging.getLogger(__name__)

RENEW_AT, RENEW_BY = 0.5, 0.7
"""Half way through the credentials' life the next quiet moment is used; at 70% of what is left, any moment."""
HANDSHAKE = 10.0
DAY = 86_400.0


class BusError(OpenOmniError):
    """Something on the bus failed; the message says what."""


class NoAnswer(BusError):
    """Nobody serves the subject, or nobody answered in time."""


class TooLarge(BusError):
    """More bytes than a message takes; it will never be sent."""


class SubjectDenied(BusError):
    """Our credentials don't allow the subject."""


class StoredMessage(msgspec.Struct, frozen=True):
    """JetStream's acknowledgement: the message is on disk. A duplicate was there before."""

    stream: str
    seq: int
    duplicate: bool = False


class _Refusal(msgspec.Struct, frozen=True):
    code: int = 0
    description: str = ""


class _PublishAnswer(msgspec.Struct, frozen=True):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


_publish_answer = msgspec.json.Decoder(_PublishAnswer)


class _Client(Client):
    """nats-py, with credentials fetched before each connect, and no error that ends the connection for good."""

    def __init__(self, refresh: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._refresh = refresh

    async def _connect_to_server(self, s: Srv) -> None:
        async with asyncio.timeout(HANDSHAKE):
            await self._refresh()
            await super()._connect_to_server(s)

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(NatsError(f"nats: {err_msg}"))


async def connect(
    urls: str | Sequence[str],
    renew: Renew,
    keys: Keys,
    name: str,
    *,
    timeout: float | None = None,
    retry_every: float = 0.5,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> Bus:
    """Connects to one of `urls` (`nats://`, `tls://`, `ws://` or `wss://`, not mixed). `headers` go with a WebSocket:
    the gateway asks who comes before it passes anything on.

    Waits for ever, or raises BusError after `timeout` seconds, when nobody answers. Later breaks mend by themselves.
    """
    bus = Bus([urls] if isinstance(urls, str) else list(urls), renew, keys, name)
    if any(url.startswith("ws") for url in bus.urls):
        _speak_websockets()
    opening = asyncio.create_task(bus._open(retry_every, tls, headers or {}), name="opening the bus")
    try:
        await asyncio.wait({opening}, timeout=timeout)
        if opening.done():
            opening.result()
            return bus
        reason = f" ({bus.last_error})" if bus.last_error else ""
        raise BusError(
            f"the bus at {', '.join(bus.urls)} did not take us within {timeout:g} s{reason}; "
            "check that it runs, and its address"
        )
    except BaseException:
        await _give_up(opening)
        await bus.close()
        raise


async def _give_up(opening: asyncio.Task[None]) -> None:
    """nats-py waits by `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes together with the
    answer waited for, and then tries for ever: so it is told until it hears."""
    while not opening.done():
        opening.cancel()
        await asyncio.wait({opening}, timeout=0.1)


def _speak_websockets() -> None:
    """Gives nats-py what `openomni.bus` imported it without."""
    import aiohttp
    import multidict

    vars(transport).update(aiohttp=aiohttp, multidict=multidict)


class Bus:
    """Made by `connect`; `await bus.close()` when done."""

    def __init__(self, urls: list[str], renew: Renew, keys: Keys, name: str) -> None:
        self.urls = urls
        self.name = name
        self.last_error = ""
        self.reconnects = 0
        self.connected = asyncio.Event()
        """Set while the connection stands."""
        self._login = Login(renew, keys)
        self._client = _Client(self._login.refresh)
        self._subscriptions: set[Subscription] = set()
        self._waiting: dict[str, tuple[str, asyncio.Future[Msg]]] = {}
        self._answers = ""
        self._holds = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._renewal: Background | None = None
        self._begun = False
        """nats-py was asked to connect."""

    # ---- life ------------------------------------------------------------------------------------------------

    async def _open(self, retry_every: float, tls: ssl.SSLContext | None, headers: Mapping[str, str]) -> None:
        while not self._login.known:
            try:
                await self._login.refresh()
            except (OSError, OpenOmniError) as error:
                self._note(str(error) or type(error).__name__)
                await asyncio.sleep(retry_every)
        self._begun = True
        await self._client.connect(
            self.urls,
            name=self.name,
            user_jwt_cb=self._login.jwt,
            signature_cb=self._login.sign,
            inbox_prefix=self._login.current.inbox_prefix,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            max_reconnect_attempts=-1,
            reconnect_time_wait=retry_every,  # type: ignore[arg-type]
            ping_interval=5,
            pending_size=8 * 1024 * 1024,
            tls=tls,
            ws_connection_headers={name: [text] for name, text in headers.items()},
        )
        self._answers = f"{self._login.current.inbox_prefix}.{secrets.token_hex(8)}"
        await self._client.subscribe(f"{self._answers}.*", cb=self._on_answer)
        self.connected.set()
        self._renewal = Background(
            self._keep_fresh, f"renewing the credentials of {self.name} for the bus", longest=1.0
        )

    async def close(self) -> None:
        """Sends what is pending and ends; iterators over subscriptions end too."""
        if self._renewal:
            self._renewal.cancel()
        self.connected.clear()
        for subscription in list(self._subscriptions):
            await subscription.aclose()
        for _, future in self._waiting.values():
            future.cancel()
        if self._begun:
            with contextlib.suppress(NatsError, OSError):
                await self._client.close()
            # nats-py cancels once what looks for the server again, and waits for it no longer than a moment.
            if (reconnecting := self._client._reconnection_task) is not None:
                await ended(reconnecting)

    async def flush(self, timeout: float = 5.0) -> None:
        """Waits until the server has taken all that was published and subscribed."""
        try:
            # nats-py puts the ping that it waits for in front of what is still pending.
            await self._client._flush_pending(force_flush=True)
            await self._client.flush(timeout)  # type: ignore[arg-type]
        except NatsError:
            raise BusError(f"the bus did not answer within {timeout:g} s") from None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Asks for no planned reconnect meanwhile: a live stream would have a gap."""
        self._holds += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                self._quiet.set()

    async def _keep_fresh(self) -> None:
        """Reconnects with fresh credentials before the old ones expire, at a quiet moment if there is one."""
        while True:
            # Whoever connects again gets fresh ones by that.
            await self.connected.wait()
            old = self._login.current
            await asyncio.sleep(min(self._login.left * RENEW_AT, DAY))
            if self._login.left > DAY:
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), max(self._login.left * RENEW_BY, 0.1))
            if self._login.current is old and self.connected.is_set():
                await self._login.refresh()
                if self._login.current is not old:
                    await self._client.force_reconnect()
                else:
                    await asyncio.sleep(1.0)

    # ---- talking ---------------------------------------------------------------------------------------------

    @property
    def jetstream(self) -> JetStreamContext:
        """nats-py's own, for the administration of streams and consumers."""
        return self._client.jetstream()

    def inbox(self) -> str:
        """A subject that only we may subscribe to, and nobody guesses."""
        return f"{self._login.current.inbox_prefix}.{secrets.token_hex(12)}"

    async def publish(
        self, subject: str, data: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Sends, or keeps up to 8 MiB while the connection is down; raises BusError beyond."""
        if len(data) > bounds.MAX_MESSAGE:
            raise TooLarge(f"{len(data)} bytes on {subject} are more than a message takes ({bounds.MAX_MESSAGE})")
        try:
            await self._client.publish(subject, data, reply, headers)
        except MaxPayloadError:
            raise TooLarge(f"{len(data)} bytes on {subject} are more than the bus takes in one message") from None
        except NatsError as error:
            raise BusError(f"could not publish on {subject}: {str(error).removeprefix('nats: ')}") from None

    async def respond(self, message: Msg, data: bytes) -> None:
        """Answers a request. Only inboxes are answered: our permissions are not for others to borrow."""
        if message.reply.startswith("_INBOX."):
            await self.publish(message.reply, data)

    async def subscribe(
        self,
        subject: str,
        handler: Handler | None = None,
        *,
        queue: str = "",
        limit: int = 4096,
        accept: Sequence[str] = (),
    ) -> Subscription:
        """Messages of a subject, to iterate over, or given to `handler` one after another.

        At most `limit` wait; the next one ends the iteration with `Overflow`. `accept`: the subjects that messages
        carry where they differ from the one subscribed to (what a stream delivers to an inbox).
        """
        subscription = Subscription(
            subject, matcher(*(accept or (subject,))), limit, handler, bool(accept), self._subscriptions.discard
        )
        self._subscriptions.add(subscription)
        try:
            inner = await self._client.subscribe(
                subject,
                queue=queue,
                cb=subscription._take,
                # Without a handler the messages move on to our own buffer at once, which knows when it is full.
                pending_msgs_limit=limit if handler else 0,
                pending_bytes_limit=0,
            )
        except NatsError as error:
            self._subscriptions.discard(subscription)
            raise BusError(f"could not subscribe to {subject}: {str(error).removeprefix('nats: ')}") from None
        subscription._inner = inner
        return subscription

    async def request(
        self, subject: str, data: bytes = b"", timeout: float = 2.0, headers: dict[str, str] | None = None
    ) -> Msg:
        """One answer. Raises NoAnswer at once when nobody serves the subject, Denied when we may not ask."""
        # A token that nobody guesses: agents of other projects may publish to the gateway's inbox.
        token = secrets.token_hex(8)
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[token] = subject, future
        try:
            await self.publish(subject, data, f"{self._answers}.{token}", headers)
            async with asyncio.timeout(timeout):
                answer = await future
        except TimeoutError:
            raise NoAnswer(f"no answer on {subject} within {timeout:g} s") from None
        finally:
            del self._waiting[token]
        if answer.headers and answer.headers.get("Status") == "503":
            raise NoAnswer(f"nobody serves {subject}")
        return answer

    async def store(
        self,
        subject: str,
        data: bytes,
        message_id: str = "",
        timeout: float = 5.0,
        headers: dict[str, str] | None = None,
    ) -> StoredMessage:
        """Publishes to a stream and returns when it is on disk. The same `message_id` again is stored once. Raises
        TooLarge for what no stream takes, BusError for what may be taken later."""
        headers = {**(headers or {}), **({"Nats-Msg-Id": message_id} if message_id else {})}
        answer = _publish_answer.decode((await self.request(subject, data, timeout, headers)).data)
        if answer.error:
            raise BusError(f"{subject} was not stored: {answer.error.description}")
        return StoredMessage(answer.stream, answer.seq, answer.duplicate)

    async def _on_answer(self, message: Msg) -> None:
        _, _, token = message.subject.rpartition(".")
        waiting = self._waiting.get(token)
        if waiting and not waiting[1].done():
            waiting[1].set_result(message)

    # ---- what goes wrong -------------------------------------------------------------------------------------

    async def _on_disconnected(self) -> None:
        self.connected.clear()

    async def _on_reconnected(self) -> None:
        self.reconnects += 1
        self.last_error = ""
        self.connected.set()
        log.info("%s: connected to the bus again", self.name)

    async def _on_error(self, error: Exception) -> None:
        text = str(error).removeprefix("nats: ") or type(error).__name__
        if PERMISSIONS_ERR in text:
            self._deny(text)
        self._note(text)

    def _note(self, text: str) -> None:
        if text != self.last_error:
            self.last_error = text
            log.warning("%s: bus: %s", self.name, text)

    def _deny(self, text: str) -> None:
        """The server names the subject, in lower case as nats-py reports it."""
        _, _, named = text.partition('"')
        subject = named.split('"')[0]
        denied = SubjectDenied(f"these credentials don't allow {subject!r}; ask with a token of that project")
        if "publish" in text:
            for waited_for, future in self._waiting.values():
                if waited_for.lower() == subject and not future.done():
                    future.set_exception(denied)
        else:
            for subscription in list(self._subscriptions):
                if subscription.subject.lower() == subject:
                    subscription.fail(denied)
