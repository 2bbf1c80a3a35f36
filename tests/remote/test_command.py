"""What the command says of a store that will not do; each is one line, and never a traceback."""

import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from registry.storage import open_storage
from tests import made
from tests.end_to_end.command import ok, refusal


def test_a_bucket_is_read_and_moved_like_a_folder(bucket: str, tmp_path: Path) -> None:
    """Without --model, as there is only one; the cache says what it holds and lets it go."""
    made.publish(bucket, version="v1")
    at = ("--registry", bucket)
    assert "v1" in ok("versions", *at)
    assert f"in {bucket}/toy/versions/v1" in ok("show", "v1", *at)
    assert ok("promote", "v1", *at, "--why", "first") == "production is now v1\n"
    assert "first" in ok("history", *at)
    assert ok("verify", "v1", *at) == "v1 is whole: 9 files\n"
    assert ok("cache").startswith(f"9 files, 0.0 MB in {tmp_path / 'cache'}")


def test_a_file_url_is_the_folder_it_names(tmp_path: Path) -> None:
    made.publish(tmp_path / "a registry", version="v1")
    url = (tmp_path / "a registry").as_uri()
    assert open_storage(url, "toy").layout.root == tmp_path / "a registry"
    assert "v1" in ok("versions", "--registry", url)


def test_no_bucket_and_bad_credentials_are_told_apart(bucket: str, s3_port: int) -> None:
    line = refusal("versions", "--registry", "s3://not-there/registry", "--model", "toy")
    assert line == ("gnnrec: s3://not-there/registry: no such bucket; make it, or correct the URL")
    reset = f"http://127.0.0.1:{s3_port}/moto-api/reset-auth"
    urlopen(Request(reset, b"0", method="POST")).close()
    try:
        line = refusal("versions", "--registry", bucket, "--model", "toy")
    finally:
        urlopen(Request(reset, b"inf", method="POST")).close()
    assert "refused" in line
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line


def test_no_credentials_and_no_network_are_told_apart(bucket: str, tmp_path: Path) -> None:
    none = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    line = refusal("history", "--registry", bucket, "--model", "toy", env=none)
    assert "no credentials" in line
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    line = refusal("promote", "v1", "--registry", bucket, "--model", "toy", env=gone)
    assert f"{bucket} does not answer as it should (Could not connect" in line


@pytest.mark.parametrize(
    ("url", "package"),
    [("s3://bucket", "gnnrec[s3]"), ("gs://bucket", "gnnrec[gcs]"), ("odd://x", "fsspec and its")],
)
def test_a_missing_driver_says_what_to_install(url: str, package: str) -> None:
    program = (
        "import sys\n"
        "sys.modules['s3fs'] = sys.modules['gcsfs'] = None\n"
        f"sys.argv = ['gnnrec', 'versions', '--registry', {url!r}, '--model', 'toy']\n"
        "from gnnrec.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"gnnrec: {url}: nothing that is installed speaks ")
    assert f"pip install '{package}" in line or f"pip install {package}" in line


def test_a_folder_needs_no_driver(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")
    program = (
        "import sys\n"
        "from registry import ModelStore\n"
        "import gnnrec.cli.main, server.app\n"
        f"ModelStore({str(tmp_path)!r}, 'toy').open('v1').verify()\n"
        "print(sorted({'fsspec', 's3fs', 'aiohttp', 'botocore'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
