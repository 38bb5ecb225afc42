"""manage.py scrub: private data out of text, as the pipeline does it; and how well it is found."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ingestion.formats.validation import Limits
from ingestion.limits import limits_of
from ingestion.privacy import KINDS, Finding, redact
from ingestion.privacy.evaluation import Score, evaluate, kind_of
from ingestion.privacy.findings import TooMuchWork

PIECE = 8_192  # characters: text is scrubbed in pieces of whole lines, as one text may cost only so much
LONGEST_KEY = 65_536  # characters within which a private key of several lines is kept together


class Command(BaseCommand):
    help = "Read text from standard input and write it without private data (ingestion.privacy of the configuration)."
    requires_system_checks: Sequence[str] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format", choices=("text", "jsonl"), default="text", help='jsonl: {"id", "text"} a line in and out'
        )
        parser.add_argument(
            "--evaluate",
            type=Path,
            metavar="FILE",
            help='print precision and recall by kind; a line of FILE is {"id", "text", "labels": [{"kind", "start", '
            '"end"}]}, places in characters',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        limits = limits_of(settings.SENTINEL)
        if options["evaluate"]:
            self._evaluate(options["evaluate"], limits)
        elif options["format"] == "jsonl":
            for number, line in enumerate(sys.stdin.buffer, 1):
                if line.strip():
                    _write(_scrubbed_line(number, line, limits) + "\n")
        else:
            for piece in _pieces(sys.stdin.buffer):
                _write(_scrubbed(piece, limits))

    def _evaluate(self, path: Path, limits: Limits) -> None:
        try:
            with path.open(encoding="utf-8") as lines:
                samples = [_sample(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path}: {error}") from error
        try:
            scores = evaluate(samples, limits.scrubber)
        except TooMuchWork as error:
            raise CommandError(f"{path}: a text holds more candidates than one text may; part it into lines") from error
        self.stdout.write(report(scores, len(samples)))


def report(scores: dict[str, Score], samples: int) -> str:
    """The table of scores, in Markdown."""
    lines = [
        f"{samples} texts",
        "",
        "| kind | labels | found | recall | findings | right | precision |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in sorted(scores, key=[*KINDS, *sorted(scores)].index):
        score = scores[kind]
        recall, precision = _share(score.recall), _share(score.precision)
        lines.append(
            f"| {kind} | {score.labels} | {score.found} | {recall} | {score.findings} | {score.right} | {precision} |"
        )
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _sample(number: int, line: str) -> tuple[str, list[Finding]]:
    try:
        sample = json.loads(line)
        labels = [Finding(kind_of(label["kind"]), int(label["start"]), int(label["end"])) for label in sample["labels"]]
        return str(sample["text"]), labels
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"line {number}: is no labelled text ({error!r})") from None


def _scrubbed_line(number: int, line: bytes, limits: Limits) -> str:
    try:
        entry = json.loads(line)
        text = entry["text"]
    except (ValueError, KeyError, TypeError):
        raise CommandError(f'line {number}: must be {{"id": …, "text": "…"}}') from None
    if not isinstance(text, str):
        raise CommandError(f"line {number}: text must be text")
    scrubbed = "".join(_scrubbed(piece, limits) for piece in _grouped(text.splitlines(keepends=True)))
    return json.dumps({**entry, "text": scrubbed}, ensure_ascii=False)


def _scrubbed(text: str, limits: Limits) -> str:
    return limits.scrubber.scrub(redact(text, limits.sanitize_patterns))


def _pieces(source: BinaryIO) -> Iterator[str]:
    return _grouped(line.decode("utf-8", "surrogateescape") for line in source)


def _grouped(lines: Iterator[str] | list[str]) -> Iterator[str]:
    """Lines in pieces of about PIECE characters; a private key is not torn."""
    piece, size = [], 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE and (size >= LONGEST_KEY or not _is_within_key("".join(piece))):
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)


def _is_within_key(text: str) -> bool:
    return text.rfind("-----BEGIN") > text.rfind("-----END")


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
