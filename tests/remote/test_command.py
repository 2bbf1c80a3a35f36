"""The output of the command when a store fails: one line, and never a traceback."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from gnnrec.cli.main import main
from gnnrec_registry.locations import open_storage
from tests import made
from tests.gnnrec.measured import publish

Say = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command in this process, where the drivers are loaded; return its output.

    For a refusal that is its one line on stderr.
    """

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["gnnrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        if ended.value.code:
            assert ended.value.code == 2
            (line,) = err.splitlines()
            return str(line)
        return out

    return run


def test_a_bucket_is_read_and_moved_like_a_folder(bucket: str, tmp_path: Path, say: Say) -> None:
    """Without --model, as there is only one; `gnnrec cache` shows and frees what was downloaded."""
    made.publish(bucket, version="v1")
    at = ("--registry", bucket)
    assert "v1" in say("versions", *at)
    assert f"in {bucket}/toy/versions/v1" in say("show", "v1", *at)
    assert say("verify", "v1", *at) == "v1 is whole: 9 files, 0.0 MB fetched\n"
    assert say("promote", "v1", *at, "--why", "first").startswith("production is now v1\n")
    assert "first" in say("history", *at)
    assert say("verify", "v1", *at) == "v1 is whole: 9 files\n"
    assert say("cache").startswith(f"9 files, 0.0 MB in {tmp_path / 'cache'}")
    for path in (tmp_path / "cache" / "sha256").glob("*/*"):
        os.utime(path, (0, 0))
    assert say("cache", "--keep-gb", 0).splitlines()[1].startswith("0 files")


def test_the_report_of_a_version_in_a_bucket_is_a_page_with_its_neighbours(
    bucket: str, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the cache, under its own name; deleted contents are downloaded again, and links work."""
    halves = made.embeddings(3, 2, 0), made.embeddings(2, 2, 1)
    publish(bucket, "v1", halves, np.array([0.1, 0.2, 0.3]))
    at = ("--registry", bucket)
    page = Path(say("report", "v1", *at).strip())
    assert page.is_relative_to(tmp_path / "cache")
    assert page.parts[-4:] == ("versions", "v1", "report", "index.html")
    assert page.read_text() == "<!doctype html><title>report</title>"
    assert {"slices"} == set(json.loads((page.parent / "metrics.json").read_text()))
    for path in (tmp_path / "cache" / "sha256").glob("*/*"):
        path.unlink()
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert say("report", "v1", *at, "--open").strip() == str(page)
    assert page.is_file()
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()
    copy = tmp_path / "copy.html"
    assert say("report", "v1", *at, "--html", copy).strip() == str(copy)
    assert copy.read_bytes() == page.read_bytes()
    assert "takes no page" in say("report", "--index", *at)


def test_a_file_url_is_the_folder_it_names(tmp_path: Path, say: Say) -> None:
    made.publish(tmp_path / "a registry", version="v1")
    url = (tmp_path / "a registry").as_uri()
    assert open_storage(url, "toy").layout.root == tmp_path / "a registry"
    index = tmp_path / "a registry" / "index.html"
    assert say("report", "--index", "--registry", url).strip() == str(index)
    assert index.is_file()
    assert "v1" in say("versions", "--registry", url)


def test_no_bucket_and_bad_credentials_are_told_apart(bucket: str, s3_port: int, say: Say) -> None:
    at = ("--model", "toy", "--registry")
    assert say("versions", *at, "s3://not-there/registry") == (
        "gnnrec: s3://not-there/registry: no such bucket; make it, or correct the URL"
    )
    demand_credentials(s3_port, b"0")
    try:
        line = say("versions", *at, bucket)
    finally:
        demand_credentials(s3_port, b"inf")
    assert "refused" in line
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line


def demand_credentials(port: int, after: bytes) -> None:
    """Let moto check credentials after this many further requests."""
    url = f"http://127.0.0.1:{port}/moto-api/reset-auth"
    plain = {"Content-Type": "text/plain"}
    with urlopen(Request(url, after, headers=plain, method="POST")):
        pass


def test_no_network_is_told_from_no_bucket(
    bucket: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    line = say("promote", "v1", "--registry", bucket, "--model", "toy")
    assert f"{bucket} does not answer as it should (Could not connect" in line


def test_no_credentials_are_told_from_bad_ones(
    bucket: str, s3_port: int, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    # another host name of the server, for which the driver has no cached credentials
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://localhost:{s3_port}")
    line = say("history", "--registry", bucket, "--model", "toy")
    assert "no credentials (Unable to locate credentials); set AWS_ACCESS_KEY_ID" in line


@pytest.mark.parametrize(
    ("url", "package"),
    [("s3://bucket", "'gnnrec[s3]'"), ("gs://bucket", "'gnnrec[gcs]'")],
)
def test_a_missing_driver_says_what_to_install(url: str, package: str) -> None:
    program = (
        "import sys\n"
        "sys.modules['s3fs'] = sys.modules['gcsfs'] = None\n"
        "from gnnrec_registry import ModelStore, RegistryError\n"
        "try:\n"
        f"    ModelStore({url!r}, 'toy')\n"
        "except RegistryError as error:\n"
        "    print(error)"
    )
    line = output(program)
    assert line.startswith(f"{url}: nothing that is installed speaks ")
    assert line.endswith(f"pip install {package}\n")


def test_a_protocol_that_nobody_knows_is_named(say: Say) -> None:
    line = say("versions", "--registry", "odd://x", "--model", "toy")
    assert line.endswith("(Protocol not known: odd); pip install fsspec and its driver for odd")


def test_a_folder_needs_no_driver(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")
    program = (
        "import sys\n"
        "from gnnrec_registry import ModelStore\n"
        "import gnnrec.cli.main, gnnrec_server.main\n"
        f"ModelStore({str(tmp_path)!r}, 'toy').open('v1').verify()\n"
        "print(sorted({'fsspec', 's3fs', 'aiohttp', 'botocore'} & set(sys.modules)))"
    )
    assert output(program) == "[]\n"


def output(program: str) -> str:
    """Run a program in a new process, where nothing is imported yet."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
