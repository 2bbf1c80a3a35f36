"""Bearer tokens: who may call, from a file of SHA-256 digests.

A line of the file is the digest of a token in hex and, after a space, a name for who has it.
Empty lines and lines that begin with # mean nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from gnnrec_server.errors import CannotStart, Unauthenticated
from gnnrec_server.process.files import WatchedFiles

_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+(.*))?")
_SCHEME = "bearer "


def read(path: Path) -> Mapping[bytes, str]:
    """Return the names by digest, or raise CannotStart if a line is wrong or none is there."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise CannotStart(f"--tokens-file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CannotStart(f"--tokens-file {path} is not UTF-8 text") from None
    names: dict[bytes, str] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise CannotStart(
                f"--tokens-file {path}, line {number}: is not a SHA-256 digest in hex and a name; "
                "gnnrec token makes one"
            )
        names[bytes.fromhex(found[1])] = found[2] or ""
    if not names:
        raise CannotStart(f"--tokens-file {path} holds no token; gnnrec token makes one")
    return names


def watch(path: Path | None) -> WatchedFiles[Mapping[bytes, str]] | None:
    """Return the tokens of a file, kept current, if there is one; or raise CannotStart."""
    return None if path is None else WatchedFiles("tokens", [path], partial(read, path))


def check(names: Mapping[bytes, str], authorization: str | None) -> str:
    """Return the name of the token in an authorization header, or raise Unauthenticated.

    However near a wrong token comes, the answer takes the same time.
    """
    if authorization is None:
        raise Unauthenticated("TOKEN_MISSING", "send a token: authorization: Bearer TOKEN")
    if not authorization.lower().startswith(_SCHEME):
        raise Unauthenticated("TOKEN_INVALID", "authorization is not of the form: Bearer TOKEN")
    digest = _digest(authorization[len(_SCHEME) :].strip())
    name = None
    for known in names:
        if hmac.compare_digest(known, digest):
            name = names[known]
    if name is None:
        raise Unauthenticated("TOKEN_INVALID", "the token is not known here")
    return name


def make(name: str = "") -> tuple[str, str]:
    """Return a fresh random token, and its line for the file."""
    token = secrets.token_urlsafe(32)
    return token, f"{_digest(token).hex()} {name}".rstrip()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
