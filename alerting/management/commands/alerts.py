"""manage.py alerts dead|replay: deliveries that were given up, why, and another life for them."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Max, Min, QuerySet
from django.utils import timezone

from alerting.models import Channel, Delivery

SHOWN = 1000


class Command(BaseCommand):
    help = "List and replay dead deliveries: alerts that a channel did not take in time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True, metavar="dead|replay")
        dead = commands.add_parser("dead", help="how many there are by channel, or the deliveries themselves")
        dead.add_argument("--each", action="store_true", help="one line for each delivery, the newest first")
        add_choice(dead)
        replay = commands.add_parser("replay", help="try dead deliveries again, each under the id it had")
        replay.add_argument("ids", type=identity, nargs="*", metavar="ID", help="as `dead --each` has them")
        replay.add_argument("--all", action="store_true", help="every dead delivery")
        replay.add_argument("--dry-run", action="store_true", help="only say how many they are")
        add_choice(replay)

    def handle(self, *_: Any, **options: Any) -> None:
        {"dead": self._dead, "replay": self._replay}[options["what"]](options)

    def _dead(self, options: dict[str, Any]) -> None:
        rows = chosen(options)
        if options["each"]:
            for row in rows.select_related("channel").order_by("-created_at", "-id")[:SHOWN]:
                at = second(row.created_at)
                self.stdout.write(f"{row.pk}  {at}  {row.channel}  {row.attempt_count} tries  {row.last_error}")
            return
        counts = (
            rows.order_by().values("channel__name").annotate(n=Count("id"), a=Min("created_at"), z=Max("created_at"))
        )
        for each in counts.order_by("-n", "channel__name"):
            span = f"{second(each['a'])} to {second(each['z'])}"
            self.stdout.write(f"{each['channel__name']}  {each['n']}  {span}")
        self.stdout.write(f"{rows.count()} dead")

    def _replay(self, options: dict[str, Any]) -> None:
        filtered = bool(options["channel"] or options["since"] or options["until"])
        if options["ids"] and (filtered or options["all"]):
            raise CommandError("name deliveries, or filter them; not both")
        if not (options["ids"] or filtered or options["all"]):
            raise CommandError("say which: ids, a filter such as --channel, or --all")
        rows = chosen(options)
        if options["ids"]:
            rows = rows.filter(pk__in=options["ids"])
            known = set(rows.values_list("pk", flat=True))
            if missing := [str(each) for each in options["ids"] if each not in known]:
                raise CommandError(f"there is no dead delivery {', '.join(missing)}")
        if options["dry_run"]:
            self.stdout.write(f"dry run: {rows.count()} would be tried again")
            return
        self.stdout.write(f"{rows.replay(timezone.now())} will be tried again, under the ids they had")


def chosen(options: dict[str, Any]) -> QuerySet[Delivery]:
    """The dead deliveries that the filters name. Raises CommandError for a channel that there is none of."""
    rows = Delivery.objects.filter(status=Delivery.Status.DEAD)
    if options["channel"]:
        known = set(Channel.objects.filter(name__in=options["channel"]).values_list("name", flat=True))
        if missing := set(options["channel"]) - known:
            there = ", ".join(Channel.objects.values_list("name", flat=True))
            raise CommandError(f"there is no channel {', '.join(sorted(missing))}; there are: {there}")
        rows = rows.filter(channel__name__in=options["channel"])
    if options["since"]:
        rows = rows.filter(created_at__gte=options["since"])
    if options["until"]:
        rows = rows.filter(created_at__lt=options["until"])
    return rows


def add_choice(parser: ArgumentParser) -> None:
    """Filters of deliveries."""
    parser.add_argument("--channel", action="append", default=[], metavar="NAME", help="only to it; may be repeated")
    parser.add_argument("--since", type=moment, metavar="TIME", help="made then or later, RFC 3339")
    parser.add_argument("--until", type=moment, metavar="TIME", help="made before then, RFC 3339")


def identity(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id of a delivery (a UUID)") from None


def moment(text: str) -> datetime:
    """A time; a naive one is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time such as 2026-03-01T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def second(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
