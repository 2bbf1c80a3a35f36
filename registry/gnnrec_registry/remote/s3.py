"""Objects in Amazon S3 and compatible stores, written conditionally by their ETag."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from s3fs import S3FileSystem

from gnnrec_registry.errors import StoreError
from gnnrec_registry.remote.failures import code_of
from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.remote.probe import ConditionFailed, keeps_conditions

# At INFO they log at each start where credentials were found.
logging.getLogger("aiobotocore.credentials").setLevel(logging.WARNING)
logging.getLogger("botocore.credentials").setLevel(logging.WARNING)

_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class S3Objects(Objects):
    """Objects in a bucket; writes are conditional by If-None-Match and If-Match."""

    credentials = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role"

    # otherwise s3fs requests the size first, to read large objects in parts
    read_options: ClassVar[dict[str, Any]] = {"max_concurrency": 1}

    @cached_property
    def conditional(self) -> bool:
        """Whether the store keeps conditions, found by writing a small object three times."""
        return keeps_conditions(self._create, self._replace, '"00000000000000000000000000000000"')

    def tag(self, key: str) -> str:
        """Return the ETag."""
        return str(self._info(key)["ETag"])

    def abandon_uploads(self, prefix: str, before: datetime) -> None:
        """Abort multipart uploads below a prefix that began before a time."""
        bucket, _, root = self._path(prefix).partition("/")
        for upload in self._ask("list_multipart_uploads", bucket):
            if upload["Key"].startswith(f"{root}/") and upload["Initiated"] < before:
                self._ask("abort_mpu", bucket, upload["Key"], upload["UploadId"])

    def _driver(self) -> S3FileSystem:
        """Return s3fs with short timeouts; botocore reads all else from its environment."""
        variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        driver = S3FileSystem(
            endpoint_url=next(filter(None, map(os.environ.get, variables)), None),
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": 5,
                "read_timeout": 15,
                "retries": {"mode": "standard", "total_max_attempts": 2},
            },
        )
        driver.retries = 2
        return driver

    def _create(self, key: str, content: bytes) -> None:
        with _condition_failing_as(FileExistsError(key)):
            self._ask("pipe_file", self._path(key), content, mode="create")

    def _replace(self, key: str, content: bytes, tag: str) -> None:
        try:
            with _condition_failing_as(ConditionFailed(key)):
                self._ask("pipe_file", self._path(key), content, IfMatch=tag)
        except FileNotFoundError as error:
            raise ConditionFailed(key) from error

    def _upload(self, path: Path, key: str) -> None:
        with _condition_failing_as(FileExistsError(key)):
            self._put(path, key, mode="create")


@contextmanager
def _condition_failing_as(failure: Exception) -> Iterator[None]:
    """Raise `failure` in place of the store's error if the condition of a write did not hold."""
    try:
        yield
    except StoreError as error:
        if code_of(error) in _FAILED:
            raise failure from error
        raise
