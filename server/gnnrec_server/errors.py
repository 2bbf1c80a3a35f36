"""What can go wrong in serving, without transport codes: statuses.py maps each class to one."""


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


class VersionNotLoaded(ServingError):
    """The named version or alias is in the registry, and this server does not answer from it."""


class MissingAttributes(ServingError):
    """The version that answers was published without attributes to filter by."""


class NotReady(ServingError):
    """No version is loaded yet."""


class UnservableVersion(ServingError):
    """A version is whole, and still cannot be served; the message says why."""


class CannotStart(ServingError):
    """The server cannot start here: a port is taken, say."""


class Overloaded(ServingError):
    """More requests have come than can be answered in time."""

    def __init__(self, problem: str, retry_after_s: float) -> None:
        """Say when it may be worth to come back."""
        super().__init__(problem)
        self.retry_after_s = retry_after_s


class DeadlinePassed(ServingError):
    """The caller has stopped waiting before the request was computed."""


class AnswerTooLarge(ServingError):
    """The answer is larger than what is sent."""


class UnknownService(ServingError):
    """A health check names a service that this server does not have."""


class Unauthenticated(ServingError):
    """The request carries no token, or a wrong one."""

    def __init__(self, reason: str, problem: str) -> None:
        """Keep the reason, TOKEN_MISSING or TOKEN_INVALID."""
        super().__init__(problem)
        self.reason = reason
