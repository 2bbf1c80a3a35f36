"""The connection of a client to servers: addresses, TLS, tokens, deadlines and retries."""

import asyncio
import copy
import json
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import grpc

from gnnrec.client.addresses import is_direct, is_loopback, proxy_before, target, with_port
from gnnrec.client.calls import Stubs

_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Retries stop when half of the tokens are used: a failure takes 1, a success returns 0.1.
_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}
_LARGEST_ANSWER = 64 * 2**20
# gRPC varies a wait by a fifth, so a server that is back is found within a second.
_LONGEST_WAIT_MS = 750
# A longer timeout means no deadline, for gRPC cannot represent infinity.
_FOR_EVER_S = 1e9


@dataclass(frozen=True)
class Tls:
    """A connection by TLS: PEM files of the roots to trust, and of the client for mutual TLS.

    Without `ca` the system's roots are trusted. `server_name` is the name that the server's
    certificate must bear, where it is not the host of the address; unix:PATH has no host.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; raises OSError for an unreadable one, ValueError for invalid content."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and key go together; give both or neither")
        ca, certificate, key = _read(self.ca), _read(self.certificate), _read(self.key)
        self._check()
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def _check(self) -> None:
        # gRPC would report a bad file only when it connects, and not name it
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
        except ssl.SSLError:
            raise ValueError(f"{self.ca} holds no PEM certificates") from None
        try:
            if self.certificate is not None:
                # without this, the password of a locked key would be asked for on the terminal
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except ssl.SSLError:
            raise ValueError(
                f"{self.certificate} and {self.key} are not a PEM certificate and its unlocked key"
            ) from None


class Link:
    """A channel that the first call opens; the copies of a client share it."""

    def __init__(self, open_channel: Callable[[], Any]) -> None:
        self._open = open_channel
        self._lock = threading.Lock()
        self._stubs: Stubs | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Any = None

    def stubs(self) -> Stubs:
        """Return the stubs of the channel, which is opened if need be."""
        if self._stubs is None:
            with self._lock:
                if self._stubs is None:
                    self._channel = self._open()
                    self._stubs = Stubs(self._channel)
        return self._stubs

    def channel(self) -> Any:
        """Return the channel, which is opened if need be."""
        self.stubs()
        return self._channel

    def stubs_of_loop(self) -> Stubs:
        """Return the stubs; RuntimeError outside of the event loop of the first call."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(
                "this AsyncClient belongs to the event loop of its first call, and this is "
                "another; make a client in each loop, such as within each asyncio.run"
            )
        return self.stubs()


class Connection:
    """What both kinds of client share: everything but the calls themselves."""

    _transport: ClassVar[ModuleType]

    def __init__(
        self,
        address: str | Sequence[str] = "127.0.0.1:50051",
        *,
        timeout_s: float = 1.0,
        wait_for_ready: bool = False,
        tls: Tls | None = None,
        token: str = "",
        allow_insecure_token: bool = False,
        request_id: str = "",
        health_checking: bool | None = None,
    ) -> None:
        """Prepare a connection to HOST:PORT, [IPV6]:PORT or unix:PATH, or to several in turns.

        The default port is 50051.
        Several addresses are IP:PORT of one IP version; those whose health is not SERVING are
        skipped. For a name that resolves to several servers, `health_checking` does the same.
        `timeout_s` limits a call, with its retries and connecting; infinity means no limit.
        With `wait_for_ready` a call waits that long for a server that is still starting.
        `token` is sent as a bearer token over TLS; without TLS only to this machine, or anywhere
        with `allow_insecure_token`. `request_id` is sent for the server's log.
        Raises ValueError for options that contradict each other, and OSError for an unreadable
        file of `tls`.
        """
        addresses = list(map(with_port, [address] if isinstance(address, str) else address))
        if token and tls is None and not allow_insecure_token:
            _require_loopback(addresses)
        if tls is not None and not tls.server_name:
            _require_one_host(addresses)
        channel_target = target(addresses)
        self._where = ", ".join(addresses)
        self._proxy = proxy_before(addresses)
        self._timeout_s = _positive(timeout_s)
        self._wait_for_ready = wait_for_ready
        self._request_id = _printable("request_id", request_id)
        self._token = _printable("token", token) if tls is None else ""
        options = _options(
            len(addresses) > 1 if health_checking is None else health_checking,
            tls.server_name if tls else "",
        )
        if is_direct(addresses):
            options.append(("grpc.enable_http_proxy", 0))
        self._link = Link(self._channel_opener(channel_target, options, tls, token))

    def _channel_opener(
        self, channel_target: str, options: list[tuple[str, Any]], tls: Tls | None, token: str
    ) -> Callable[[], Any]:
        """Return a function that opens the channel; the files of `tls` are read at once.

        Without TLS the token goes out with each call instead: gRPC would refuse it.
        """
        if tls is None:
            return lambda: self._transport.insecure_channel(channel_target, options)
        credentials = tls.credentials()
        if token:
            bearer = grpc.access_token_call_credentials(_printable("token", token))
            credentials = grpc.composite_channel_credentials(credentials, bearer)
        return lambda: self._transport.secure_channel(channel_target, credentials, options)

    def with_options(
        self,
        *,
        timeout_s: float | None = None,
        wait_for_ready: bool | None = None,
        request_id: str | None = None,
    ) -> Self:
        """Return this client with other options for its calls, over the same connection."""
        other = copy.copy(self)
        if timeout_s is not None:
            other._timeout_s = _positive(timeout_s)
        if wait_for_ready is not None:
            other._wait_for_ready = wait_for_ready
        if request_id is not None:
            other._request_id = _printable("request_id", request_id)
        return other

    def _call_options(self) -> dict[str, Any]:
        """Return the deadline and the metadata of a call, as keyword arguments of gRPC's stubs."""
        metadata = []
        if self._token:
            metadata.append(("authorization", f"Bearer {self._token}"))
        if self._request_id:
            metadata.append(("x-request-id", self._request_id))
        return {
            "timeout": self._timeout_s if self._timeout_s < _FOR_EVER_S else None,
            "wait_for_ready": self._wait_for_ready,
            "metadata": metadata,
        }


def _require_loopback(addresses: list[str]) -> None:
    """Raise ValueError if a token sent in the clear would leave this machine."""
    if not all(map(is_loopback, addresses)):
        raise ValueError(
            f"a token to {', '.join(addresses)} could be read on its way; "
            "set tls, or allow_insecure_token=True where the network itself is encrypted"
        )


def _require_one_host(addresses: list[str]) -> None:
    """Raise ValueError unless there is one host, whose name its certificate can be checked for."""
    if len(addresses) > 1 or "".join(addresses).startswith("unix:"):
        raise ValueError(
            "TLS to several addresses or to a socket needs tls.server_name, "
            "which every certificate must bear"
        )


def _options(health_checking: bool, server_name: str) -> list[tuple[str, Any]]:
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{}], "retryPolicy": _RETRY}],
        "retryThrottling": _THROTTLING,
    }
    if health_checking:
        config["healthCheckConfig"] = {"serviceName": ""}
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(config)),
        # the default waits a second before it reconnects, as long as a whole call may take
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_WAIT_MS),
        ("grpc.max_receive_message_length", _LARGEST_ANSWER),
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
        options.append(("grpc.default_authority", server_name))
    return options


def _positive(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s}; it must be above 0")
    return timeout_s


def _printable(name: str, value: str) -> str:
    # the message does not show the value, which may be secret
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ValueError(f"{name} must be printable ASCII without spaces around it")
    return value


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
