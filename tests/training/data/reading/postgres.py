"""A PostgreSQL server of its own for tests: Debian's, in a temporary folder, on a free port."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "p@ss/w:rd%20"
"""Every character that a URL would have to escape."""


def binaries() -> Path | None:
    """Return the folder of initdb and postgres, the newest version's, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return found[-1].parent if found else None


def _version(path: Path) -> float:
    return float(path.parts[-3])


@dataclass(frozen=True)
class Postgres:
    """A running server with the database `postgres`, whose user `owner` needs the password."""

    port: int

    def url(self, password: str = "$PGSECRET", user: str = "owner") -> str:
        """Return the URL as a configuration names it."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/postgres"

    def execute(self, statement: str) -> None:
        """Run statements as the owner."""
        with self._connect() as connection:
            connection.execute(statement.encode())

    def copy(self, table: str, rows: list[tuple[object, ...]]) -> None:
        """Load rows into a table."""
        statement = f"COPY {table} FROM STDIN".encode()
        with (
            self._connect() as connection,
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname="postgres", user="owner", password=PASSWORD
        )


@contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """Make a cluster, start its server, and stop and remove both."""
    # PostgreSQL refuses to run as root, so another user runs it and needs access to the folder
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="gnnrec-pg-"))
    try:
        password = folder / "password"
        password.write_text(PASSWORD)
        if user is not None:
            account = pwd.getpwnam(user)
            for path in (folder, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        cluster = str(folder / "data")
        options = [
            f"--pgdata={cluster}", "--username=owner", "--no-sync", "--encoding=UTF8",
            "--locale=C", "--auth=scram-sha-256", f"--pwfile={password}",
        ]  # fmt: skip
        subprocess.run(
            [programs / "initdb", *options],
            check=True, capture_output=True, user=user, cwd=folder,
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {
            "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "fsync": "off", "max_connections": 10, "shared_buffers": "16MB",
        }  # fmt: skip
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = subprocess.Popen(
            [programs / "postgres", "-D", cluster, *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        try:
            postgres = Postgres(port)
            _wait(postgres, server)
            yield postgres
        finally:
            server.terminate()
            server.wait(20)
    finally:
        shutil.rmtree(folder)


def _wait(postgres: Postgres, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return postgres.execute("SELECT 1")
        except psycopg.OperationalError:
            assert server.poll() is None, "postgres does not start"
            assert time.monotonic() < deadline, "postgres is not ready"
            time.sleep(0.05)
