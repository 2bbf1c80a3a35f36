"""URLs with credentials: filled in from the environment to be used, without passwords to be shown.

A configuration keeps the text as it was written, so `$VARIABLES` reach neither manifest nor logs.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from gnnrec_training.errors import InvalidConfig

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_USERINFO = re.compile(r"^([^:/?#]+(?:::[^:/?#]+)*://)([^/?#]*)@")
# a password may hold a slash that nobody escaped; databases take it
_SLASHED = re.compile(r"^([^:/?#]+://)([^:/@]*:[^?]*/[^?]*)@")
_SECRET_KEY = re.compile(r"pass|pwd|secret|token|sig|key|cred", re.IGNORECASE)
_HIDDEN = "***"

FRAMES = "gnnrec-frames-"
"""How the names of the temporary folders begin whose files stand for frames."""
_FRAME = re.compile(rf"^.*[/\\]{FRAMES}[^/\\]*[/\\]([^/\\]+)\.parquet$")


def is_url(text: str) -> bool:
    """Tell whether a file's name is a URL."""
    return "://" in text


def variables(text: str) -> list[str]:
    """Return the names of the variables in a text."""
    return [match[1] or match[2] for match in _VARIABLE.finditer(text)]


def redact(url: str) -> str:
    """Return a URL with *** for its password and for what its query keeps secret.

    A reference to a variable stays: it says where the secret is and not what it is.
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
    """Tell whether a file stands for a frame; see training/data/frames.py."""
    return _FRAME.match(place) is not None


def shown(place: str) -> str:
    """Return what errors, logs and manifests call a path or a URL: no secrets, no passing folders.

    A file that stands for a frame is, say, "frame of interactions".
    """
    match = _FRAME.match(place)
    return redact(place) if match is None else f"frame of {match[1]}"


def _credentials(url: str) -> re.Match[str] | None:
    """Return the scheme, and the user with what follows up to the @."""
    match = _USERINFO.match(url)
    if match is None:
        match = _SLASHED.match(url)
        # http://host:80/a@b has a port there, not a password
        if match and match[2].partition(":")[2].partition("/")[0].isdigit():
            return None
    return match


def _hide_userinfo(match: re.Match[str]) -> str:
    user, colon, password = match[2].partition(":")
    if colon:
        return f"{match[1]}{user}:{_hide(password)}@"
    # a token alone, as https takes it; a database takes a user without a password
    return f"{match[1]}{_hide(user) if match[1].endswith(('http://', 'https://')) else user}@"


def _hide_value(part: str) -> str:
    key, equals, value = part.partition("=")
    return f"{key}={_hide(value)}" if equals and _SECRET_KEY.search(key) else part


def _hide(secret: str) -> str:
    return secret if not secret or _VARIABLE.fullmatch(secret) else _HIDDEN


@dataclass(frozen=True, repr=False)
class Address:
    """A URL to use, and how to speak of it."""

    url: str
    """With every variable filled in; never to be shown."""
    shown: str

    def clean(self, problem: object) -> str:
        """Return the first line of what a library says, without the secrets of the URL."""
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
    """Fill the variables of a URL in; raises InvalidConfig for one that is not set.

    In the place of the user, the password or the query a value is taken literally and needs no
    escaping; elsewhere, or as the whole URL, it is taken as a piece of URL.
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
