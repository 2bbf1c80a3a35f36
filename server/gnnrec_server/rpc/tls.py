"""The server's certificate and key, and the authority whose clients are let in, from PEM files."""

import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from gnnrec_server.errors import CannotStart
from gnnrec_server.process.files import WatchedFiles


@dataclass(frozen=True)
class TlsFiles:
    """Where the certificate chain and its key are; with `client_ca`, clients must have theirs."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, cert: Path | None, key: Path | None, client_ca: Path | None) -> Self | None:
        """Return the files if any is named; raise CannotStart if one of cert and key is missing."""
        if cert is not None and key is not None:
            return cls(cert, key, client_ca)
        if cert is None and key is None and client_ca is None:
            return None
        raise CannotStart("TLS takes both --tls-cert and --tls-key")

    @property
    def paths(self) -> list[Path]:
        """The files there are."""
        return [self.cert, self.key, *([self.client_ca] if self.client_ca else [])]


@dataclass(frozen=True)
class Certificates:
    """What the files hold: PEM."""

    chain: bytes
    key: bytes
    client_ca: bytes | None


def read(files: TlsFiles) -> Certificates:
    """Return what the files hold; raise CannotStart if TLS cannot be served with it."""
    chain = _bytes("--tls-cert", files.cert)
    key = _bytes("--tls-key", files.key)
    client_ca = _bytes("--tls-client-ca", files.client_ca) if files.client_ca else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # without a password a locked key would be asked for on the terminal
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise CannotStart(
            f"--tls-cert {files.cert} and --tls-key {files.key} are not a PEM certificate "
            f"and its unencrypted key ({_why(error)})"
        ) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise CannotStart(
                f"--tls-client-ca {files.client_ca} holds no PEM certificates ({_why(error)})"
            ) from None
    return Certificates(chain, key, client_ca)


def watch(files: TlsFiles | None) -> WatchedFiles[Certificates] | None:
    """Return what the files hold, kept current, if there are any; or raise CannotStart."""
    if files is None:
        return None
    return WatchedFiles("certificates", files.paths, partial(read, files))


def _bytes(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStart(f"{option} {path} cannot be read: {error.strerror}") from None


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).lower().replace("_", " ")
