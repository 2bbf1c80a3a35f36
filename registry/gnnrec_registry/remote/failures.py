"""Translates the errors of object store drivers into errors of a registry."""

from typing import Any

from gnnrec_registry.errors import MissingDriver, RegistryError, StoreRefused, StoreUnreachable

# Programming errors of this package: they must not be taken for a store's failure.
_BUGS = (TypeError, AttributeError, AssertionError, NameError)

_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "ProfileNotFound",
}
_BAD_CREDENTIALS = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RefreshError",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "401",
    "403",
    "Forbidden",
}


def explained(error: Exception, url: str, credentials: str) -> Exception:
    """Return the error to raise in place of a driver's; the same one if it is clear already."""
    code = code_of(error)
    if code == "NoSuchBucket":
        return StoreRefused(f"{url}: no such bucket; make it, or correct the URL")
    if isinstance(error, (RegistryError, FileNotFoundError, FileExistsError, *_BUGS)):
        return error
    reason = _reason(error)
    if type(error).__name__ in _NO_CREDENTIALS:
        return StoreRefused(f"{url}: no credentials ({reason}); set {credentials}")
    if (
        isinstance(error, PermissionError)
        or code in _BAD_CREDENTIALS
        or type(error).__name__ in _BAD_CREDENTIALS
        or reason.startswith("Forbidden")
    ):
        return StoreRefused(f"{url}: refused ({reason}); check {credentials}, and what they may do")
    if type(error).__name__ in ("ParamValidationError", "ValueError"):
        return StoreRefused(f"{url}: refused ({reason}); correct the URL")
    return StoreUnreachable(f"{url} does not answer as it should ({reason}); is it up, and near?")


def code_of(error: BaseException | None) -> str:
    """Return the store's own code of an error, such as PreconditionFailed or 403, or ""."""
    while error is not None:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        code = getattr(error, "code", None)
        if isinstance(code, int | str):
            return str(code)
        error = error.__cause__
    return ""


def missing_driver(url: str, reason: object) -> MissingDriver:
    """Return the error for a URL whose protocol no installed package supports."""
    protocol = url.partition("://")[0]
    extra = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}.get(protocol.lower())
    package = f"'gnnrec[{extra}]'" if extra else f"fsspec and its driver for {protocol}"
    return MissingDriver(
        f"{url}: nothing that is installed speaks {protocol}:// ({reason}); pip install {package}"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    text = " ".join(str(error).split())[:200].rstrip(".")
    return text or type(error).__name__
