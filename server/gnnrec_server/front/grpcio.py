"""How connections are made: gRPC's own settings, TLS, and who may call."""

import ipaddress
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import grpc

from gnnrec_server.process.files import Watched
from gnnrec_server.rpc import tls, tokens
from gnnrec_server.settings import Settings

_log = logging.getLogger("gnnrec.server")


def options(settings: Settings) -> list[tuple[str, int]]:
    """Return what gRPC itself is told."""
    options = [
        # A second server on the same port must fail, not share it; workers share theirs.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Dead peers are noticed within 80 s, and idle clients may ping every 10 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),  # a minute otherwise, whatever the line above says
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if settings.max_pending:
        options += [
            ("grpc.server.max_pending_requests", max(1, settings.max_pending * 4 // 5)),
            ("grpc.server.max_pending_requests_hard_limit", settings.max_pending),
        ]
    if settings.max_connection_age_s:
        options += [
            ("grpc.max_connection_age_ms", int(1000 * settings.max_connection_age_s)),
            ("grpc.max_connection_age_grace_ms", int(1000 * settings.max_connection_age_grace_s)),
        ]
    return options


def watch_tokens(settings: Settings) -> Watched[Mapping[bytes, str]] | None:
    """Return the tokens, if there is a file of them, or raise CannotStart."""
    path = settings.tokens_file
    if path is None:
        return None
    if settings.tls is None and not _is_loopback(settings.host):
        _log.warning(
            "tokens go over the network in the clear: give --tls-cert and --tls-key, "
            "or let a proxy end TLS"
        )
    return Watched("tokens", [path], partial(tokens.read, path))


def watch_certificates(settings: Settings) -> Watched[tls.Certificates] | None:
    """Return the certificates, if TLS is asked for, or raise CannotStart."""
    files = settings.tls
    return Watched("certificates", files.paths, partial(tls.read, files)) if files else None


def credentials(watched: Watched[tls.Certificates]) -> grpc.ServerCredentials:
    """Return credentials that give each new connection what is read last."""
    given = watched.value

    def newer() -> Any:
        nonlocal given
        if watched.value is given:
            return None  # as before
        given = watched.value
        return _configuration(given)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given), newer, require_client_authentication=given.client_ca is not None
    )


def _configuration(held: tls.Certificates) -> Any:
    return grpc.ssl_server_certificate_configuration([(held.key, held.chain)], held.client_ca)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("unix:")
