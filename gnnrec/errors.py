"""The error of a failed call, read from the google.rpc details of the server's answer."""

from typing import Any

from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class Error(Exception):
    """A call that failed, or an entry of a batch.

    `code` is gRPC's, such as "NOT_FOUND"; `reason` is the server's own, such as "USER_NOT_FOUND";
    `field` is the part of the request that is wrong, such as "k", or empty; `retry_delay_s` is how
    long an overloaded server asks to wait before a retry, None if it does not say.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        *,
        field: str = "",
        retry_delay_s: float | None = None,
    ) -> None:
        """Keep the parts of the server's answer."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.field = field
        self.retry_delay_s = retry_delay_s

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error with its attributes; the default would pass the message as `code`."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[Error], args: tuple[Any, ...]) -> Error:
    return kind.__new__(kind, *args)


def from_status(status: status_pb2.Status) -> Error:
    """Read an error from a google.rpc.Status."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    delay = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    return Error(
        code_pb2.Code.Name(status.code),
        info.reason,
        status.message,
        field=bad.field_violations[0].field if bad.field_violations else "",
        retry_delay_s=delay,
    )


def from_call(error: Any, where: str, proxy: str, timeout_s: float) -> Error:
    """Read an error from a failed call to the addresses `where`, through `proxy` if not empty."""
    code, details = error.code().name, error.details() or ""
    status = rpc_status.from_call(error)
    if status is not None:
        return from_status(status)
    hint = "is one running? gnnrec serve starts one"
    if proxy:
        where += f" through the proxy {proxy}"
        hint += "; no_proxy names hosts to reach without a proxy"
    if code == "UNAVAILABLE":
        # gRPC's message repeats the target before the cause
        why = details.rpartition("last error: ")[2]
        details = f"no answer from a server at {where} ({code}: {why}); {hint}"
    elif code == "DEADLINE_EXCEEDED":
        details = f"no answer from a server at {where} within {timeout_s:g} s ({code}); {hint}"
    elif proxy:
        details = f"{details} (from {where})"
    return Error(code, "", details)
