"""What can go wrong in serving. No transport codes here: boundary.py maps them, once."""


class ServingError(Exception):
    """Base of all errors of this package."""


class InvalidQuery(ServingError):
    """The request breaks a rule that holds for every version."""

    def __init__(self, field: str, problem: str) -> None:
        """Name the field of the request and what is wrong with it."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class UnknownUser(ServingError):
    """The version that answers has no such user."""


class UnknownItem(ServingError):
    """The version that answers has no such item."""


class UnknownVersion(ServingError):
    """The registry has no such version or alias."""


class MissingVariant(ServingError):
    """The version that answers lacks the named variant."""


class CannotEmbed(ServingError):
    """The variant that answers cannot embed new users, or new items."""


class NotOffered(ServingError):
    """The request uses a part of the API that this server does not offer."""


class NotReady(ServingError):
    """No version is loaded yet."""


class UnservableVersion(ServingError):
    """A version is whole, and still cannot be served; the message says why."""


class CannotStart(ServingError):
    """The server cannot start here: a port is taken, say."""
