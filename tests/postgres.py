"""A PostgreSQL server of its own for a test, from Debian's binaries."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.debian import install

USER, PASSWORD = "galmorph", "a password: 'quoted' @ %"


class Postgres:
    """A running server: `url()` of a database on it, `create(name)` makes one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    @property
    def environment(self) -> dict[str, str]:
        """What clients need to be let in; the URL itself holds no password."""
        return {"PGPASSWORD": PASSWORD}

    def url(self, database: str) -> str:
        """URL of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database and return its URL."""
        self.sql("postgres", f"CREATE DATABASE {database}")
        return self.url(database)

    def sql(self, database: str, statement: str) -> str:
        """Run a statement; return its rows, one a line."""
        return subprocess.run(
            [_binary("psql"), "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database,
             "-c", statement],
            env={**os.environ, **self.environment}, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """Start a server on a free port, and stop and remove it at the end."""
    _install()
    folder = Path(tempfile.mkdtemp(prefix="galmorph-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        data = folder / "data"
        login = ["-A", "scram-sha-256", "-U", USER, f"--pwfile={folder / 'password'}"]
        _as_postgres("initdb", "-D", data, *login, "--no-sync")
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        options = " ".join([f"-p {port}", *(f"-c {name}={value}" for name, value in settings.items())])
        _as_postgres("pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
        try:
            yield Postgres(folder, port)
        finally:
            _as_postgres("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_postgres(command: str, *arguments: object) -> None:
    """Run one of the server's programs: they refuse to run as root."""
    other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    clean = ["env", "-i", f"PATH={os.environ['PATH']}", "HOME=/tmp", "LC_ALL=C.UTF-8"]
    done = subprocess.run(
        [*other, *clean, _binary(command), *map(str, arguments)],
        cwd="/",
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}"


def _binary(name: str) -> str:
    # The newest of those that are installed.
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return str(found[-1]) if found else shutil.which(name) or ""


def _install() -> None:
    install("postgresql", lambda: bool(_binary("initdb") and _binary("psql")))
