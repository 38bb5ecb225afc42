"""The command line: start, stop, restart, kill, pid, status, env, rabbitmqctl."""

import argparse
import json
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from local_services.kafka import Kafka
from local_services.layout import UnavailableError, home
from local_services.postgres import Postgres
from local_services.rabbitmq import RabbitMQ
from local_services.redis import Redis
from local_services.service import Service

SERVICES: dict[str, type[Service]] = {kind.name: kind for kind in (Postgres, Redis, RabbitMQ, Kafka)}
SOME_MISSING = 3


def say(service: Service, text: str) -> None:
    """One line about one service."""
    print(f"{service.name:<9} {text}", flush=True)


def start_one(service: Service) -> str | None:
    """Start a service and report it; returns the reason if it cannot be had."""
    reason_file = service.directory / "reason"
    begun = time.monotonic()
    try:
        result = service.start()
    except (UnavailableError, OSError, subprocess.SubprocessError) as error:
        reason = " ".join(str(error).split())
        service.directory.mkdir(parents=True, exist_ok=True)
        reason_file.write_text(reason)
        say(service, f"missing: {reason}")
        return reason
    reason_file.unlink(missing_ok=True)
    seconds = time.monotonic() - begun
    say(service, f"{result} at {service.url()} ({seconds:.1f} s, process {service.pid()})")
    return None


def start(services: list[Service], _options: argparse.Namespace) -> int:
    """Start all at the same time."""
    if not Path("/proc/self/cmdline").exists():
        print("These services need Linux: their processes are found through /proc.", file=sys.stderr)
        return SOME_MISSING
    home().mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(services)) as pool:
        futures = [pool.submit(start_one, service) for service in services]
        reasons = [future.result() for future in as_completed(futures)]
    return SOME_MISSING if any(reasons) else 0


def stop(services: list[Service], _options: argparse.Namespace) -> int:
    """Stop all at the same time."""
    with ThreadPoolExecutor(len(services)) as pool:
        list(pool.map(lambda service: service.stop(), services))
    for service in services:
        say(service, "stopped")
    return 0


def restart(services: list[Service], options: argparse.Namespace) -> int:
    """Stop, then start."""
    stop(services, options)
    return start(services, options)


def kill(services: list[Service], _options: argparse.Namespace) -> int:
    """`kill -9`; status 1 if one of them was not running."""
    killed = [service.kill() for service in services]
    for service, done in zip(services, killed, strict=True):
        say(service, "killed" if done else "was not running")
    return 0 if all(killed) else 1


def pid(services: list[Service], _options: argparse.Namespace) -> int:
    """Print process ids; status 1 if one of them is not running."""
    ids = [service.pid() for service in services]
    print(*[number for number in ids if number], sep="\n")
    return 0 if all(ids) else 1


def describe(service: Service) -> dict[str, object]:
    """The state of one service as JSON has it: `up`, else `reason` says why not."""
    reason_file = service.directory / "reason"
    state: dict[str, object] = {"up": service.is_up(), "pid": service.pid(), "variable": service.variable}
    try:
        state |= {"port": service.port(), "url": service.url()}
    except UnavailableError as error:
        return state | {"port": None, "url": None, "reason": str(error)}
    return state | {"reason": None if state["up"] else reason_of_silence(service, reason_file)}


def reason_of_silence(service: Service, reason_file: Path) -> str:
    """Why a service is not up: what its last start said, else what its process looks like."""
    if process := service.pid():
        return f"process {process} does not answer"
    return reason_file.read_text() if reason_file.exists() else "not running (`deployments/local/services start`)"


def status(services: list[Service], options: argparse.Namespace) -> int:
    """Say which are up and, of the others, why not."""
    states = {service.name: describe(service) for service in services}
    if options.json:
        print(json.dumps(states, indent=2))
    else:
        for service in services:
            state = states[service.name]
            up = f"up at {state['url']} (process {state['pid']})"
            say(service, up if state["up"] else f"down: {state['reason']}")
    return 0 if all(state["up"] for state in states.values()) else SOME_MISSING


def env(services: list[Service], _options: argparse.Namespace) -> int:
    """Print shell lines that export the addresses of what is up."""
    for service in services:
        if service.is_up():
            print(f"export {service.variable}={shlex.quote(service.url())}")
    return 0


COMMANDS = {
    "start": (start, "install what is missing and start; status 3 if some service cannot be had"),
    "stop": (stop, "stop politely"),
    "restart": (restart, "stop, then start"),
    "kill": (kill, "kill -9"),
    "pid": (pid, "print process ids"),
    "status": (status, "say what runs; status 3 if something does not"),
    "env": (env, "print `export SENTINEL_TEST_...=...` lines for what runs"),
}


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="services", description="PostgreSQL, Redis, RabbitMQ and Kafka on loopback.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (action, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        command.set_defaults(action=action)
        command.add_argument("names", nargs="*", metavar="SERVICE", help=", ".join(SERVICES) + " (default: all)")
        if name == "status":
            command.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("rabbitmqctl", help="run rabbitmqctl against this RabbitMQ", add_help=False)
    return top


def main() -> int:
    """Run one command; returns its exit status."""
    if sys.argv[1:2] == ["rabbitmqctl"]:
        return RabbitMQ().rabbitmqctl(sys.argv[2:])
    grammar = parser()
    options = grammar.parse_args()
    for name in options.names:
        if name not in SERVICES:
            grammar.error(f"unknown service {name!r}; allowed: {', '.join(SERVICES)}")
    services = [SERVICES[name]() for name in dict.fromkeys(options.names) or SERVICES]
    status: int = options.action(services, options)
    return status
