"""Look at, wait for and end processes, as Linux's /proc shows them."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

POLL_SECONDS = 0.02


def command_line(pid: int) -> str:
    """The command line of a process, or "" if there is none (gone, a zombie, or a kernel thread)."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def parent_of(pid: int) -> int:
    """The parent's id, 0 if the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def all_pids() -> list[int]:
    """Every process id of this machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def family(pid: int) -> list[int]:
    """A process and all its descendants, parents first."""
    parents = {other: parent_of(other) for other in all_pids()}
    members = [pid]
    for member in members:
        members.extend(child for child, parent in parents.items() if parent == member)
    return members


def working_in(directory: Path) -> list[int]:
    """The live processes whose working directory this is, of those we may look at."""
    found = []
    for pid in all_pids():
        try:
            if os.readlink(f"/proc/{pid}/cwd") == str(directory):
                found.append(pid)
        except OSError:
            continue
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal; a process that has gone already is fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; False if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end(pid: int, polite: signal.Signals, grace: float) -> None:
    """Ask a process to leave, and end it with its descendants if it has not after `grace` seconds."""
    members = family(pid)
    send([pid], polite)
    if not wait_for(lambda: not command_line(pid), grace):
        send(members, signal.SIGKILL)
    wait_for(lambda: not any(command_line(member) for member in members), 5.0)


def end_at_once(pid: int) -> None:
    """`kill -9` for a process and all its descendants, as a power cut would."""
    members = family(pid)
    send(members, signal.SIGKILL)
    wait_for(lambda: not any(command_line(member) for member in members), 5.0)


def listening_inodes(port: int) -> set[str]:
    """Socket inodes that listen on a TCP port, of IPv4 and IPv6."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def holds_socket(pid: int, inodes: set[str]) -> bool:
    """Whether a process has one of these sockets open; False where we may not look."""
    try:
        links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(link == f"socket:[{inode}]" for link in links for inode in inodes)


def occupant(port: int) -> str | None:
    """Who listens on a TCP port, in words; None if nobody does."""
    inodes = listening_inodes(port)
    if not inodes:
        return None
    for pid in all_pids():
        if holds_socket(pid, inodes):
            return f"process {pid} ({command_line(pid)[:120]})"
    return "a process of another user"
