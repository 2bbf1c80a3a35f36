"""Objects in Google Cloud Storage, written conditionally by their generation."""

import json
import os
from functools import cached_property
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import aiohttp
from gcsfs.core import GCSFileSystem

from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.remote.probe import ConditionFailed, keeps_conditions

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=15)


class GcsObjects(Objects):
    """Objects in a bucket; writes are conditional by their generation."""

    credentials = "GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login"

    @cached_property
    def conditional(self) -> bool:
        """Whether the store keeps conditions, found by writing a small object three times."""
        return keeps_conditions(self._create, self._replace, "1")

    def tag(self, key: str) -> str:
        """Return the generation."""
        return str(self._info(key)["generation"])

    def _driver(self) -> GCSFileSystem:
        """Return gcsfs in its plain form: the extended one makes extra calls over gRPC first."""
        # an emulator needs no token, and searching for Google's takes seconds
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        token = {"endpoint_url": emulator, "token": "anon"} if emulator else {}
        return GCSFileSystem(use_listings_cache=False, requests_timeout=_TIMEOUT, **token)

    def _create(self, key: str, content: bytes) -> None:
        self._ask("pipe_file", self._path(key), content, mode="create")

    def _replace(self, key: str, content: bytes, tag: str) -> None:
        # gcsfs supports only the condition "does not exist"; this is its upload with a generation.
        # It is a multipart upload, as gcsfs makes it: emulators check conditions only there.
        bucket, _, name = self._path(key).partition("/")
        boundary = uuid4().hex
        described = json.dumps({"name": name})
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{described}"
            f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        try:
            self._ask(
                "call",
                "POST",
                f"{self._fs._location}/upload/storage/v1/b/{quote(bucket)}/o",
                uploadType="multipart",
                ifGenerationMatch=tag,
                headers={"Content-Type": f"multipart/related; boundary={boundary}"},
                data=head.encode() + content + f"\r\n--{boundary}--".encode(),
            )
        except (FileNotFoundError, FileExistsError) as error:
            raise ConditionFailed(key) from error

    def _upload(self, path: Path, key: str) -> None:
        self._put(path, key, mode="create")
