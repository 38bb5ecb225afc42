"""manage.py prices: check the price table, add a price, compare two tables."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ingestion.limits import STANDARD_TABLE
from ingestion.pricing import Prices, PriceTableError, Rate, read_table
from ingestion.pricing.differences import differences
from ingestion.pricing.table import parse_table

OLD_AFTER_DAYS = 180
PARTS = ("input", "output", "cached", "cache_write", "reasoning")


def day(text: str) -> date:
    """A day as 2025-06-10. ArgumentTypeError for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a day such as 2025-06-10, not {text!r}") from None


class Command(BaseCommand):
    help = "Check the price table, add a price to it, or compare two tables."
    requires_system_checks: Sequence[str] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        check = actions.add_parser("check", help="say whether a table can be used, and what a model costs by it")
        check.add_argument("file", nargs="?", type=Path, help="default: the table in force")
        check.add_argument("--model", help="also print the price in force of this model")
        check.add_argument("--provider", default="", help="of the model")
        check.add_argument("--at", type=day, help="the day of the price; default: today")
        add = actions.add_parser("add", help="append a price; what is written stays as it is")
        add.add_argument("--file", type=Path, help="default: the table in force")
        add.add_argument("--provider", required=True)
        add.add_argument("--model", required=True, help="a name, or a beginning that ends in *")
        for part in PARTS:
            needed = part in ("input", "output")
            add.add_argument(
                f"--{part.replace('_', '-')}", type=float, required=needed, help="US dollars per million tokens"
            )
        add.add_argument("--from", dest="start", type=day, help="the day it comes into force; default: today")
        add.add_argument("--source", default="", help="where the price is published")
        compare = actions.add_parser("diff", help="say what a table changes; fails where that concerns the past")
        compare.add_argument("before", type=Path)
        compare.add_argument("after", nargs="?", type=Path, help="default: the table in force")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options, datetime.now(UTC).date())
        except PriceTableError as error:
            raise CommandError(str(error)) from error

    def _check(self, options: dict[str, Any], today: date) -> None:
        path = options["file"] or in_force()
        table = read_table(path)
        prices = Prices(table)
        self.stdout.write(f"{path}: {len(prices)} models, as of {table.as_of}, digest {prices.digest}")
        if (today - table.as_of).days > OLD_AFTER_DAYS:
            self.stdout.write(f"the prices were last compared with their sources {(today - table.as_of).days} days ago")
        if options["model"]:
            self._show(prices, options, options["at"] or today)

    def _show(self, prices: Prices, options: dict[str, Any], at: date) -> None:
        noon_ns = int(datetime(at.year, at.month, at.day, 12, tzinfo=UTC).timestamp()) * 10**9
        rate = prices.rate(options["provider"], options["model"], noon_ns)
        if rate is None:
            raise CommandError(f"{options['model']} has no price on {at}; its calls are counted as unpriced")
        self.stdout.write(f"{options['model']}: {_words(rate)}")

    def _add(self, options: dict[str, Any], today: date) -> None:
        path, start = options["file"] or in_force(), options["start"] or today
        text = path.read_text(encoding="utf-8") if path.exists() else f"as_of: {today}\n\nprices:\n"
        text = text.rstrip("\n") + "\n" + _entry(options, start)
        try:
            parse_table(text)
        except ValueError as error:
            raise CommandError(f"{path} is unchanged: {error}") from error
        path.write_text(text, encoding="utf-8")
        self.stdout.write(f"{path}: {options['provider']} {options['model']} from {start}")

    def _diff(self, options: dict[str, Any], today: date) -> None:
        before, after = read_table(options["before"]), read_table(options["after"] or in_force())
        found = differences(before, after)
        for each in found:
            late = " (concerns the past)" if each.is_retroactive(today) else ""
            was, now = _words(each.before), _words(each.after)
            self.stdout.write(f"{each.provider} {each.model} from {each.effective_from}: {was} -> {now}{late}")
        past = sum(each.is_retroactive(today) for each in found)
        self.stdout.write(f"{len(found)} differences, {past} of them concern the past")
        if past:
            raise CommandError("by the new table, calls of the past cost something else", returncode=1)


def in_force() -> Path:
    """The table of the configuration."""
    table: Path | None = settings.SENTINEL.ingestion.pricing.table
    return table or STANDARD_TABLE


def _entry(options: dict[str, Any], start: date) -> str:
    """The YAML of one entry with one price. JSON texts are YAML texts, whatever the names hold."""
    parts = ", ".join(f"{part}: {options[part]}" for part in PARTS if options[part] is not None)
    source = f"    source: {json.dumps(options['source'])}\n" if options["source"] else ""
    return (
        f"  - provider: {json.dumps(options['provider'])}\n    models: [{json.dumps(options['model'])}]\n{source}"
        f"    history:\n      - {{effective_from: {start}, {parts}}}\n"
    )


def _words(rate: Rate | None) -> str:
    if rate is None:
        return "none"
    parts = [f"{part} {getattr(rate, part):g}" for part in PARTS if getattr(rate, part) is not None]
    tiers = [f"above {tier.above_prompt_tokens} tokens {tier.input:g}/{tier.output:g}" for tier in rate.tiers]
    return ", ".join([*parts, *tiers])
