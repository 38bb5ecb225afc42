"""Redis without persistence that refuses writes, rather than evicting, when memory is full."""

import shutil

from local_services.layout import HOST
from local_services.service import Service

# The process title is left alone: the pid file is checked against the command line.
CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
dir {directory}
save ""
appendonly no
maxmemory 512mb
maxmemory-policy noeviction
set-proc-title no
"""


class Redis(Service):
    """`redis-server` with 16 databases, of which the tests may flush any."""

    name = "redis"
    packages = ("redis-server",)
    start_seconds = 15.0
    stop_seconds = 3.0

    def lacking(self) -> str | None:
        return None if shutil.which("redis-server") else "redis-server"

    def prepare(self) -> None:
        text = CONFIGURATION.format(host=HOST, port=self.port(), directory=self.directory)
        (self.directory / "redis.conf").write_text(text)

    def command(self) -> list[str]:
        return ["redis-server", self.mark()]

    def mark(self) -> str:
        return f"{self.directory}/redis.conf"

    def answers(self) -> bool:
        return self.converse(b"PING\r\n", 16).startswith(b"+PONG")

    def url(self) -> str:
        return f"redis://{HOST}:{self.port()}/0"
