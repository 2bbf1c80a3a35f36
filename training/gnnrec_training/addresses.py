"""URLs with credentials: completed from the environment to be used, without secrets to be shown.

A configuration keeps a URL as it was written, with `$VARIABLES` in it, so that the values of the
variables are neither in manifests nor in logs.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from gnnrec_training.errors import InvalidConfig

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_USERINFO = re.compile(r"^([^:/?#]+(?:::[^:/?#]+)*://)([^/?#]*)@")
# a password may hold a slash that is not escaped, which drivers of databases accept
_SLASHED = re.compile(r"^([^:/?#]+://)([^:/@]*:[^?]*/[^?]*)@")
_SECRET_KEY = re.compile(r"pass|pwd|secret|token|sig|key|cred", re.IGNORECASE)
_HIDDEN = "***"

FRAMES = "gnnrec-frames-"
"""The beginning of the names of temporary folders that data frames are written to."""
_FRAME = re.compile(rf"^.*[/\\]{FRAMES}[^/\\]*[/\\]([^/\\]+)\.parquet$")


def is_url(text: str) -> bool:
    """Tell whether a file's name is a URL."""
    return "://" in text


def variables(text: str) -> list[str]:
    """Return the names of the $VARIABLES in a text, in order."""
    return [match[1] or match[2] for match in _VARIABLE.finditer(text)]


def redact(url: str) -> str:
    """Return a URL with *** for its password and for the secrets of its query.

    A $VARIABLE stays: it tells where the secret is, not what it is. Other texts stay as they are.
    """
    if not is_url(url):
        return url
    match = _credentials(url)
    if match:
        url = _hide_userinfo(match) + url[match.end() :]
    address, mark, query = url.partition("?")
    parts = [_hide_value(part) for part in query.split("&")]
    return address + mark + "&".join(parts)


def is_frame(place: str) -> bool:
    """Tell whether a file is a data frame's; see gnnrec_training/data/reading/frames.py."""
    return _FRAME.match(place) is not None


def shown(place: str) -> str:
    """Return what errors, logs and manifests call a path or a URL: without its secrets.

    A data frame's temporary file is called such as "frame of interactions".
    """
    match = _FRAME.match(place)
    return redact(place) if match is None else f"frame of {match[1]}"


def _credentials(url: str) -> re.Match[str] | None:
    """Match the scheme (group 1), and user and password up to the @ (group 2); None without."""
    match = _USERINFO.match(url)
    if match is None:
        match = _SLASHED.match(url)
        # in http://host:80/a@b the 80 is a port, not the beginning of a password
        if match and match[2].partition(":")[2].partition("/")[0].isdigit():
            return None
    return match


def _hide_userinfo(match: re.Match[str]) -> str:
    user, colon, password = match[2].partition(":")
    if colon:
        return f"{match[1]}{user}:{_hide(password)}@"
    # over HTTP a user without a password is a token; for a database it is a user
    return f"{match[1]}{_hide(user) if match[1].endswith(('http://', 'https://')) else user}@"


def _hide_value(part: str) -> str:
    key, equals, value = part.partition("=")
    return f"{key}={_hide(value)}" if equals and _SECRET_KEY.search(key) else part


def _hide(secret: str) -> str:
    return secret if not secret or _VARIABLE.fullmatch(secret) else _HIDDEN


@dataclass(frozen=True, repr=False)
class Address:
    """A URL to connect to, and the same URL as errors may show it."""

    url: str
    """With the values of all variables; never to be shown."""
    shown: str
    """Without secrets."""

    def clean(self, problem: object) -> str:
        """Return the first line of a library's message, without the secrets of the URL."""
        line = next(iter(str(problem).strip().splitlines()), "") or type(problem).__name__
        for secret in sorted(self._secrets(), key=len, reverse=True):
            line = line.replace(secret, _HIDDEN)
        return line

    def _secrets(self) -> set[str]:
        secrets = {self.url} if self.url != self.shown else set()
        match = _credentials(self.url)
        if match:
            user, colon, password = match[2].partition(":")
            secrets |= {password if colon else user}
        query = urlsplit(self.url).query
        secrets |= {value for key, value in parse_qsl(query) if _SECRET_KEY.search(key)}
        written = {form for secret in secrets for form in (secret, unquote(secret), quote(secret))}
        return written - {""}


def address(text: str) -> Address:
    """Replace the $VARIABLES of a URL from the environment; raises InvalidConfig for one not set.

    The value of a variable in the user, the password or the query is escaped, so it may hold any
    character. Elsewhere it is put in as it is, so it may be a part of a URL, or all of it.
    """
    shown = redact(text)
    for name in variables(text):
        if name not in os.environ:
            raise InvalidConfig(f"{shown}: ${name} is not set; set it in the environment")
    userinfo = _USERINFO.match(text)
    ends = userinfo.end() if userinfo else 0
    query = text.find("?") if "?" in text else len(text)

    def fill(match: re.Match[str]) -> str:
        value = os.environ[match[1] or match[2]]
        literal = match.start() < ends or match.start() > query
        return quote(value, safe="") if literal else value

    return Address(_VARIABLE.sub(fill, text), shown)
