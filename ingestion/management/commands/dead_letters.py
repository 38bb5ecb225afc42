"""manage.py dead_letters list|show|replay: what could not be used, why, and back with it once it can be."""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaException
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ingestion.letter_replay import REPLAYED, UNDELIVERED, Outcome, Replay
from ingestion.letters import Choice, Letter, LetterBox, LetterPlace, counted
from ingestion.management.options import at_least, duration
from ingestion.tables import table
from ingestion.telemetry_store import open_store

REASONS_SHOWN = 20


class Command(BaseCommand):
    help = "List, show and replay dead letters: messages that could not be used."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True, metavar="list|show|replay")
        listing = commands.add_parser("list", help="the reasons with their counts, or the letters themselves")
        listing.add_argument("--each", action="store_true", help="one line for each letter")
        add_choice(listing)
        show = commands.add_parser("show", help="one letter with its payload, as JSON")
        show.add_argument("place", type=place, metavar="PARTITION:OFFSET")
        replay = commands.add_parser("replay", help="send messages back to where they came from, each once")
        replay.add_argument(
            "places", type=place, nargs="*", metavar="PARTITION:OFFSET", help="as `list --each` has them"
        )
        replay.add_argument("--all", action="store_true", help="every letter")
        replay.add_argument("--dry-run", action="store_true", help="only say what would become of them")
        add_choice(replay)

    def handle(self, *_: Any, **options: Any) -> None:
        kafka = settings.SENTINEL.ingestion.kafka
        steps = {"list": self._list, "show": self._show, "replay": self._replay}
        try:
            with LetterBox(kafka) as box:
                steps[options["what"]](box, options)
        except KafkaException as error:
            raise CommandError(f"Kafka at {','.join(kafka.brokers)}: {error.args[0].str()}") from error

    def _list(self, box: LetterBox, options: dict[str, Any]) -> None:
        letters = box.letters(choice_of(options), options["newest"])
        if options["each"]:
            for letter in letters:
                about = f"{letter.field}: {letter.detail}" if letter.field else letter.detail
                self.stdout.write(
                    f"{letter.place}  {second(letter.written_at)}  {letter.reason}  {letter.source}  {about}"
                )
            return
        tallies = counted(letters)
        rows = [
            [reason, topic, str(tally.count), *map(second, (tally.first, tally.last))]
            for (reason, topic), tally in tallies
        ]
        self.stdout.write(table(["reason", "topic", "letters", "first", "last"], rows))
        self.stdout.write(f"{sum(tally.count for _, tally in tallies)} dead letters")

    def _show(self, box: LetterBox, options: dict[str, Any]) -> None:
        wanted = options["place"]
        letter = box.at([wanted]).get(wanted)
        if letter is None:
            raise CommandError(f"there is no dead letter {wanted}")
        shown = {name: getattr(letter, name) for name in ("reason", "field", "detail", "topic", "partition", "offset")}
        shown |= {"place": str(letter.place), "written_at": second(letter.written_at), "timestamp": letter.timestamp}
        shown |= {"in_kafka": bool(box.originals([letter])), "payload": letter.payload.decode(errors="replace")}
        self.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False))

    def _replay(self, box: LetterBox, options: dict[str, Any]) -> None:
        letters = self._chosen(box, options)
        store = open_store()
        replay = Replay(settings.SENTINEL, box, store, getpass.getuser())
        try:
            outcomes = replay.replay(letters, timezone.now(), pretend=options["dry_run"])
        finally:
            replay.close()
            store.close()
        self._tell(outcomes, pretended=options["dry_run"])

    def _chosen(self, box: LetterBox, options: dict[str, Any]) -> list[Letter]:
        filters = [name for name in ("reason", "topic", "since", "until", "newest", "all") if options[name]]
        if options["places"] and filters:
            raise CommandError("name letters, or filter them; not both")
        if options["places"]:
            found = box.at(options["places"])
            if missing := [str(each) for each in options["places"] if each not in found]:
                raise CommandError(f"there is no dead letter {', '.join(missing)}")
            return list(found.values())
        if not filters:
            raise CommandError("say which letters: PARTITION:OFFSET, a filter such as --reason, or --all")
        return list(box.letters(choice_of(options), options["newest"]))

    def _tell(self, outcomes: list[Outcome], *, pretended: bool) -> None:
        for outcome in [outcome for outcome in outcomes if outcome.what != REPLAYED][:REASONS_SHOWN]:
            why = f": {outcome.why}" if outcome.why else ""
            self.stdout.write(f"{outcome.letter.place} ({outcome.letter.source}) {outcome.what}{why}")
        counts = Counter(outcome.what for outcome in outcomes)
        said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing to replay"
        self.stdout.write(f"dry run: {said}" if pretended else said)
        if counts[UNDELIVERED]:
            raise CommandError(f"{counts[UNDELIVERED]} messages were not delivered; replay them again later")


def add_choice(parser: ArgumentParser) -> None:
    """Filters of letters."""
    parser.add_argument("--reason", action="append", default=[], help="only this reason; may be repeated")
    parser.add_argument(
        "--topic", action="append", default=[], help="only about messages of this topic; may be repeated"
    )
    parser.add_argument("--since", type=moment, help="written at or after: a duration ago (2h) or an RFC 3339 time")
    parser.add_argument("--until", type=moment, help="written before")
    parser.add_argument(
        "--newest", type=at_least(1), metavar="N", help="only the last N of each partition are looked at"
    )


def choice_of(options: dict[str, Any]) -> Choice:
    return Choice(options["reason"], options["topic"], options["since"], options["until"])


def place(text: str) -> LetterPlace:
    try:
        return LetterPlace.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def moment(text: str) -> datetime:
    """A time, or how long ago it was."""
    try:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except ValueError:
        return timezone.now() - duration(text)


def second(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
