"""Apache Kafka as one KRaft node (broker and controller), from its Maven artifacts."""

import os
import re
import shutil
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from local_services.layout import FILES, HOST, ROOT, UnavailableError, locked
from local_services.service import Service, run

POM = FILES / "kafka" / "pom.xml"
LOG4J = FILES / "kafka" / "log4j2.properties"
LIBS = ROOT / "var" / "services" / "kafka" / "libs"
OLDEST_JAVA = 17
API_VERSIONS = 18

# The lower bounds of the group settings let tests evict a dead consumer in a second or less, and a
# broker session of 3 s lets a killed broker register again without waiting for its predecessor's to end.
# Retention goes by size, not by age: replayed recordings carry the time at which they were made.
CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={directory}/data
auto.create.topics.enable=true
num.partitions=3
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=100
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.retention.ms=-1
log.retention.bytes=1073741824
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
"""


class Kafka(Service):
    """Topics appear on first use with 3 partitions; nothing is replicated."""

    name = "kafka"
    packages = ("maven", "default-jre-headless")
    start_seconds = 90.0
    stop_seconds = 8.0

    def lacking(self) -> str | None:
        if self.java() is None:
            return "java"
        return None if self.libs_are_current() or shutil.which("mvn") else "mvn"

    def java(self) -> str | None:
        """JAVA_HOME's java, else the one in PATH."""
        own = Path(os.environ.get("JAVA_HOME") or "/nonexistent", "bin", "java")
        return str(own) if own.exists() else shutil.which("java")

    def port_keys(self) -> list[str]:
        return ["KAFKA", "KAFKA_CONTROLLER"]

    def prepare(self) -> None:
        self.refuse_old_java()
        LIBS.parent.mkdir(parents=True, exist_ok=True)
        with locked(LIBS.with_name("libs.lock")):
            self.fetch_libs()
        ports = {"port": self.port("KAFKA"), "controller": self.port("KAFKA_CONTROLLER")}
        properties = self.directory / "server.properties"
        properties.write_text(CONFIGURATION.format(host=HOST, directory=self.directory, **ports))
        if not (self.directory / "data" / "meta.properties").exists():
            self.format(properties)

    def refuse_old_java(self) -> None:
        """Raise UnavailableError if the Java found is older than the broker's class files."""
        words = subprocess.run([str(self.java()), "-version"], capture_output=True, text=True, check=False).stderr
        match = re.search(r'version "(\d+)', words)
        if match and int(match[1]) < OLDEST_JAVA:
            raise UnavailableError(f"{self.java()} is Java {match[1]}; Kafka 4 needs {OLDEST_JAVA} or newer")

    def libs_are_current(self) -> bool:
        """Whether the jars on disk are those of today's pom.xml (a copy of it lies beside them)."""
        stamp = LIBS / POM.name
        return stamp.exists() and stamp.read_bytes() == POM.read_bytes()

    def fetch_libs(self) -> None:
        """Copy the broker's jars, all or none, unless they are there; other homes share them."""
        if self.libs_are_current():
            return
        draft = LIBS.with_name("libs.draft")
        shutil.rmtree(draft, ignore_errors=True)
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={draft}"]
        run(["mvn", "-B", "-q", "-f", str(POM), *goal], "downloading Kafka with mvn", POM.parent)
        shutil.copy(POM, draft)
        shutil.rmtree(LIBS, ignore_errors=True)
        draft.rename(LIBS)

    def format(self, properties: Path) -> None:
        """Give the empty storage its cluster id."""
        # A leading dash would read as an option.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        run([*self.machine("-Xmx256m"), *tool], "formatting Kafka's storage", self.directory)

    def machine(self, *options: str) -> list[str]:
        """Java with the broker's class path and log settings."""
        logs = [f"-Dsentinel.service={self.directory}", f"-Dlog4j2.configurationFile={LOG4J}"]
        return [str(self.java()), *options, *logs, "-XX:-UsePerfData", "-cp", f"{LIBS}/*"]

    def command(self) -> list[str]:
        options = ("-Xms512m", "-Xmx768m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true")
        return [*self.machine(*options), *self.mark().split(" ", 1)]

    def mark(self) -> str:
        return f"kafka.Kafka {self.directory}/server.properties"

    def answers(self) -> bool:
        """An ApiVersions request, version 0, is answered with the same correlation id and no error."""
        client = b"services"
        request = struct.pack("!hhih", API_VERSIONS, 0, 7, len(client)) + client
        reply = self.converse(struct.pack("!i", len(request)) + request, 10)
        return len(reply) == 10 and struct.unpack("!iih", reply)[1:] == (7, 0)

    def url(self) -> str:
        return f"{HOST}:{self.port()}"
