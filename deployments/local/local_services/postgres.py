"""PostgreSQL without fsync: a power cut may lose data, a `kill -9` loses nothing that was committed."""

import os
import pwd
import shutil
import signal
import struct
from pathlib import Path

from local_services import processes
from local_services.layout import HOST, UnavailableError
from local_services.service import Service, newest, run

USER = "sentinel"
DATABASE = "sentinel"
PROTOCOL_3 = 196608
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
}


class Postgres(Service):
    """A cluster with the superuser and the database `sentinel`, both without a password."""

    name = "postgres"
    packages = ("postgresql",)
    stop_signal = signal.SIGINT  # a "fast" shutdown: does not wait for clients to leave
    stop_seconds = 10.0

    def lacking(self) -> str | None:
        return None if self.program("initdb") else "initdb"

    def program(self, name: str) -> Path | None:
        """A server program: Debian keeps them out of PATH."""
        found = newest(f"/usr/lib/postgresql/*/bin/{name}") or shutil.which(name)
        return Path(found) if found else None

    def prepare(self) -> None:
        data, draft = self.directory / "data", self.directory / "data.draft"
        self.give_to_account()
        if data.exists():
            self.forget_dead_server(data)
            return
        shutil.rmtree(draft, ignore_errors=True)
        initdb = [str(self.program("initdb")), "-D", str(draft), "-U", USER, "-A", "trust", "-E", "UTF8"]
        run([*self.as_account(), *initdb, "--no-sync", "--locale=C.UTF-8"], "initdb", self.directory)
        single = [str(self.program("postgres")), "--single", "-D", str(draft), "-c", "fsync=off", "postgres"]
        statement = f"CREATE DATABASE {DATABASE}\n"
        run([*self.as_account(), *single], "creating the database", self.directory, statement)
        draft.rename(data)

    def forget_dead_server(self, data: Path) -> None:
        """Remove the lock of a killed server once no process works in its data any more.

        The server itself would take the killed one for alive as long as init has not reaped it.
        """
        if processes.wait_for(lambda: not processes.working_in(data), 5.0):
            (data / "postmaster.pid").unlink(missing_ok=True)

    def give_to_account(self) -> None:
        """The server refuses to run as root; as root the directory therefore belongs to Debian's account."""
        if os.geteuid() != 0:
            return
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            raise UnavailableError("PostgreSQL refuses to run as root, and there is no user `postgres`") from None
        os.chown(self.directory, account.pw_uid, account.pw_gid)

    def as_account(self) -> list[str]:
        """The prefix that leaves root behind (setpriv replaces itself, so the process id stays)."""
        if os.geteuid() != 0:
            return []
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if self.is_hidden():
            prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return prefix

    def is_hidden(self) -> bool:
        """Whether a directory above ours (such as /root) is closed to other users."""
        return any(not parent.stat().st_mode & 0o001 for parent in self.directory.parents)

    def command(self) -> list[str]:
        settings = SETTINGS | {"port": str(self.port())}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [*self.as_account(), str(self.program("postgres")), "-D", str(self.directory / "data"), *options]

    def mark(self) -> str:
        return f"-D {self.directory}/data"

    def answers(self) -> bool:
        """A start-up message is answered by an authentication request ("R") once the server takes sessions."""
        parameters = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
        return self.converse(struct.pack("!ii", 8 + len(parameters), PROTOCOL_3) + parameters, 1) == b"R"

    def url(self) -> str:
        return f"postgresql://{USER}@{HOST}:{self.port()}/{DATABASE}"
