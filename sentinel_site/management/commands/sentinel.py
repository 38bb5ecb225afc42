"""manage.py sentinel status|anomalies|ack|silence|tail: what operators do, in a terminal and in scripts."""

from __future__ import annotations

import getpass
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connection
from django.db.models import QuerySet
from django.utils import timezone

from alerting.models import Silence
from anomalies import lifecycle
from anomalies.models import Anomaly, Status
from anomalies.queries import Query, parse
from baselines.models import Project
from sentinel_site.access.trail import written_by
from sentinel_site.command_line import words
from sentinel_site.command_line.anomalies import HEADERS, Operator, cells, chosen, moment, named, objects
from sentinel_site.command_line.following import Follower
from sentinel_site.command_line.printing import Lines, as_json, printable, table
from sentinel_site.command_line.situation import lines, situation

DEGRADED, UNHEALTHY = 3, 1
EXITS = {"healthy": 0, "degraded": DEGRADED, "unhealthy": UNHEALTHY}
QUERY = "terms such as 'service:chat-* severity>=warning -status:resolved age<2h'"


class Command(BaseCommand):
    help = "Look at and act on anomalies from a terminal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True, metavar="status|anomalies|ack|silence|tail")
        status = commands.add_parser("status", help="how things stand; exits with 3 when degraded, 1 when unhealthy")
        listing = commands.add_parser("anomalies", help="list anomalies, the newest first")
        listing.add_argument("query", type=words.query, nargs="?", default=parse(""), help=QUERY)
        listing.add_argument("--since", type=words.length, default=timedelta(days=1), help="seen within (24h)")
        listing.add_argument("--limit", type=words.count, default=50, help="rows at most (50)")
        ack = commands.add_parser("ack", help="acknowledge anomalies, or all of an incident")
        ack.add_argument("ids", type=words.identity, nargs="*", metavar="ID", help="of anomalies or incidents")
        ack.add_argument("--query", type=words.query, help=f"instead of ids: {QUERY}")
        ack.add_argument("--for", type=words.length, dest="length", help="open them again after 2h, 1d …")
        ack.add_argument("--note", default="", help="why")
        ack.add_argument("--assignee", default="", help="who sees to it")
        ack.add_argument("--dry-run", action="store_true", help="only say how many they are")
        silence = commands.add_parser("silence", help="have nothing told of what matches, for a while")
        silence.add_argument("length", type=words.length, help="how long: 30m, 2h, 1d …")
        silence.add_argument("matchers", type=words.matcher, nargs="+", metavar="FIELD=VALUE", help="all must hold")
        silence.add_argument("--comment", default="", help="why")
        silence.add_argument("--project", help="only services of this project")
        tail = commands.add_parser("tail", help="follow what opens, changes and ends, until Ctrl-C")
        tail.add_argument("query", type=words.query, nargs="?", default=parse(""), help=QUERY)
        tail.add_argument("--since", type=words.length, help="begin with what changed within …")
        tail.add_argument("--interval", type=words.seconds, default=2.0, help="seconds between two looks (2)")
        for each in (status, listing, ack, silence, tail):
            each.add_argument("--json", action="store_true", help="JSON for programs, one object a line where many")
        for each in (ack, silence):
            each.add_argument("--as", dest="author", default="", help="whom to name as the one who did it")

    def handle(self, *_: Any, **options: Any) -> None:
        self._lines = Lines(self.stdout._out)  # type: ignore[attr-defined]
        self._json: bool = options["json"]
        act = {"status": self._status, "anomalies": self._anomalies, "ack": self._ack}
        act |= {"silence": self._silence, "tail": self._tail}
        with written_by(author(options)):
            act[options["what"]](options)

    def _status(self, options: dict[str, Any]) -> None:
        known = situation(Operator(author(options)), timezone.now())
        if self._json:
            self._lines.write(as_json(known))
        else:
            self._write_table(("what", "how it is"), [*lines(known), ("all in all", known["status"])])
        if code := EXITS[known["status"]]:
            raise SystemExit(code)

    def _anomalies(self, options: dict[str, Any]) -> None:
        rows = chosen(options["query"], timezone.now(), options["since"])
        if self._json:
            for row in objects(rows, options["limit"]):
                self._lines.write(as_json(row))
            return
        found = list(rows.order_by("-first_seen", "-id")[: options["limit"]])
        if found:
            self._write_table(HEADERS, map(cells, found))
        else:
            self.stderr.write("none: widen --since, or the query")

    def _ack(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        rows = meant(options["ids"], options["query"]).exclude(status=Status.RESOLVED)
        if options["dry_run"]:
            self._say("dry run: {count} would be acknowledged", {"count": rows.count()})
            return
        until = now + options["length"] if options["length"] else None
        changed = lifecycle.acknowledge(
            rows,
            Operator(author(options)),
            options["note"],
            assignee=options["assignee"],
            expires_at=until,
            now=now,
        )
        self._say("{acknowledged} acknowledged", {"acknowledged": changed})

    def _silence(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        silence = Silence(
            matchers=options["matchers"],
            starts_at=now,
            ends_at=now + options["length"],
            comment=options["comment"],
            author=author(options),
            project=project_named(options["project"]),
        )
        try:
            silence.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        silence.save()
        told = {"id": silence.pk, "ends_at": silence.ends_at, "matchers": silence.matchers}
        self._say(f"silence {silence.pk} until {moment(silence.ends_at)}", told)

    def _tail(self, options: dict[str, Any]) -> None:
        """One look after the other. Ctrl-C is how it is meant to end."""
        begun = timezone.now()
        follower = Follower(lambda now: chosen(options["query"], now), begun - (options["since"] or timedelta(0)))
        try:
            while not self._lines.is_closed:
                self._tell(follower)
                time.sleep(options["interval"])
        except KeyboardInterrupt:
            return

    def _tell(self, follower: Follower) -> None:
        for change, anomaly in self._news(follower):
            if self._json:
                row = objects(Anomaly.objects.filter(pk=anomaly.pk), 1)[0]
                self._lines.write(as_json({"change": change} | row))
            else:
                at, severity, *_rest = cells(anomaly)
                what, peak, expected = cells(anomaly)[4:7]
                text = f"{moment(anomaly.updated_at)}  {change:<12}  {severity:<8}  {what}  {peak} ({expected})"
                self._lines.write(printable(f"{text}  since {at}  {anomaly.pk}"))

    def _news(self, follower: Follower) -> list[tuple[str, Anomaly]]:
        """What is new; nothing while the database is away, which ends by itself."""
        try:
            return list(follower.news(timezone.now()))
        except (OperationalError, InterfaceError):
            self.stderr.write("the database does not answer; still trying")
            connection.close()
            return []

    def _write_table(self, headers: Any, rows: Any) -> None:
        for line in table(headers, rows):
            self._lines.write(line)

    def _say(self, sentence: str, known: dict[str, Any]) -> None:
        self._lines.write(as_json(known) if self._json else sentence.format(**known))


def meant(ids: list[Any], query: Query | None) -> QuerySet[Anomaly]:
    """The anomalies that are to be acted on: named, or those of a query that says something."""
    if bool(ids) == bool(query and query.terms):
        raise CommandError("say which: ids of anomalies or incidents, or --query with at least one term")
    try:
        return named(ids) if ids else chosen(query or parse(""), timezone.now())
    except LookupError as error:
        raise CommandError(str(error)) from None


def project_named(name: str | None) -> Project | None:
    if name is None:
        return None
    try:
        return Project.objects.get(name=name)
    except Project.DoesNotExist:
        there = ", ".join(Project.objects.values_list("name", flat=True))
        raise CommandError(f"there is no project {name}; there are: {there}") from None


def author(options: dict[str, Any]) -> str:
    """Who is named in the record: whom --as names, or else the account of the machine."""
    if options.get("author"):
        return str(options["author"])
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a user id without a name, as in a container
        return "command line"
