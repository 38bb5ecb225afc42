"""RabbitMQ without plugins, its Erlang distribution and port mapper on loopback too."""

import os
import shutil
import subprocess
from pathlib import Path

from local_services import processes
from local_services.layout import HOST, UnavailableError
from local_services.service import Service, newest

LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 50MB
log.file.level = warning
"""


class RabbitMQ(Service):
    """A node named `sentinel@localhost` with the user guest; our own port mapper (epmd) lives and ends with it."""

    name = "rabbitmq"
    packages = ("rabbitmq-server",)
    stop_seconds = 20.0

    def lacking(self) -> str | None:
        if self.script("rabbitmq-server") is None:
            return "rabbitmq-server"
        return None if self.epmd() else "epmd"

    def script(self, name: str) -> Path | None:
        """The plain script: the one in PATH on Debian insists on switching users with `su`."""
        for directory in ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/opt/rabbitmq/sbin"):
            if os.access(Path(directory, name), os.X_OK):
                return Path(directory, name)
        return None

    def epmd(self) -> str | None:
        """Erlang's port mapper."""
        return shutil.which("epmd") or str(newest("/usr/lib/erlang/erts-*/bin/epmd") or "") or None

    def port_keys(self) -> list[str]:
        return ["RABBITMQ", "RABBITMQ_DIST", "RABBITMQ_EPMD"]

    def prepare(self) -> None:
        if " " in str(self.directory):
            raise UnavailableError(f"RabbitMQ's scripts cannot live with the blank in {self.directory}")
        text = CONFIGURATION.format(host=HOST, port=self.port())
        (self.directory / "rabbitmq.conf").write_text(text)
        (self.directory / "enabled_plugins").write_text("[].\n")
        (self.directory / "rabbitmq-env.conf").touch()

    def environment(self) -> dict[str, str]:
        distribution = self.port("RABBITMQ_DIST")
        return {
            "HOME": str(self.directory),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self.port("RABBITMQ_EPMD")),
            "RABBITMQ_NODENAME": "sentinel@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port("RABBITMQ")),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(distribution + 1),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(distribution + 20),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "rabbitmq-env.conf"),
            "RABBITMQ_PID_FILE": str(self.directory / "node.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK,
            "RABBITMQ_CTL_ERL_ARGS": LOOPBACK,
            # The script then becomes the server instead of watching over it: one process, one id.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def command(self) -> list[str]:
        return [str(self.script("rabbitmq-server")), *self.mark().split()]

    def mark(self) -> str:
        return f"-sentinel_service {self.directory}"

    def start(self) -> str:
        try:
            return super().start()
        except UnavailableError:
            self.end_epmd()
            raise

    def choose_ports(self) -> None:
        self.end_epmd()  # of a node that was killed from outside
        super().choose_ports()

    def spawn(self) -> subprocess.Popen[bytes]:
        self.start_epmd()
        return super().spawn()

    def start_epmd(self) -> None:
        """Start the port mapper ourselves: one that the node starts on its own would outlive it unseen."""
        port = self.port("RABBITMQ_EPMD")
        process = subprocess.Popen(
            [str(self.epmd()), "-address", HOST, "-port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        (self.directory / "epmd.pid").write_text(f"{process.pid} {port}")
        processes.wait_for(lambda: processes.occupant(port) is not None, 5.0)

    def end_epmd(self) -> None:
        """End our port mapper, known by its pid file and its port."""
        pid_file = self.directory / "epmd.pid"
        if not pid_file.exists():
            return
        pid, _, port = pid_file.read_text().partition(" ")
        if pid.isdigit() and f"-address {HOST} -port {port}" in processes.command_line(int(pid)):
            processes.end_at_once(int(pid))
        pid_file.unlink(missing_ok=True)

    def stop(self) -> None:
        super().stop()
        self.end_epmd()

    def kill(self) -> bool:
        killed = super().kill()
        self.end_epmd()
        return killed

    def answers(self) -> bool:
        """An AMQP 0-9-1 header is answered by a method frame (type 1), Connection.Start."""
        return self.converse(b"AMQP\x00\x00\x09\x01", 1) == b"\x01"

    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port()}//"

    def rabbitmqctl(self, arguments: list[str]) -> int:
        """Run rabbitmqctl against this node; returns its exit status."""
        script = self.script("rabbitmqctl")
        if script is None:
            raise UnavailableError("rabbitmqctl is not installed")
        return subprocess.run([str(script), *arguments], env=os.environ | self.environment(), check=False).returncode
