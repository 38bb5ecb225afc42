"""Sending the messages of dead letters back to where they came from, each once.

Native events are decoded again, under the limits of now, before anything is sent: what would only become another dead
letter stays one. They are sent as the HTTP door sends them, keyed `service|model`; an event without an id of its own
gets one made of the coordinates of its first message, so that a message sent twice after a crash counts once. What the
telemetry store refused was counted by detection already, and goes to the store alone, under its first coordinates.
Messages of any other topic go back to it as they were. One with several items, of which some were taken, says so in a
header: the normalize role leaves these out.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message
from django.db import transaction

from ingestion.dead_letters import TAKEN_HEADER, Record
from ingestion.formats import native
from ingestion.formats.event import partition_key
from ingestion.formats.validation import Rejection
from ingestion.kafka import KeyedProducer, NotDelivered, UnknownTopicId, client_settings, topic_ids
from ingestion.letters import UNREADABLE, Letter, LetterBox
from ingestion.limits import limits_of
from ingestion.metrics import DEAD_LETTERS_REPLAYED
from ingestion.models import ReplayedLetter
from ingestion.storing import REFUSED
from ingestion.telemetry_store import StoreUnavailable, TelemetryBatch, TelemetryStore

AT_ONCE = 500
ACK_SECONDS = 30.0
# A claim that is this old and was not finished belonged to somebody who died over it.
CLAIM_LASTS = timedelta(minutes=2)
ORIGIN_HEADER = "replay-of"

# Outcomes
REPLAYED, ALREADY, STILL_BAD, UNDELIVERED = "replayed", "replayed before", "still unusable", "not delivered"


class Outcome(NamedTuple):
    """What became of a letter, and why where it was not replayed."""

    letter: Letter
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Mail:
    """A letter made ready: the message to send, or an event or detection to store (`row`)."""

    letter: Letter
    identity: uuid.UUID
    value: bytes = b""
    key: bytes | None = None
    row: Any = None


class Replay:
    """Replays the letters of one box, on behalf of `actor`."""

    def __init__(self, config: Any, box: LetterBox, store: TelemetryStore, actor: str) -> None:
        self._config = config
        self._kafka = config.ingestion.kafka
        self._limits = limits_of(config)
        self._box = box
        self._store = store
        self._actor = actor[:150]
        self._topic_ids: dict[str, uuid.UUID | None] = {}

    def replay(self, letters: Iterable[Letter], now: datetime, *, pretend: bool = False) -> list[Outcome]:
        """Send what can be sent; with `pretend` only say what would become of each. Raises KafkaException."""
        waiting, outcomes = list(letters), []
        for start in range(0, len(waiting), AT_ONCE):
            outcomes += self._some(waiting[start : start + AT_ONCE], now, pretend)
        if not pretend:
            for what, count in Counter(outcome.what for outcome in outcomes).items():
                DEAD_LETTERS_REPLAYED.labels(what.replace(" ", "_")).inc(count)
        return outcomes

    def close(self) -> None:
        if "_producer" in self.__dict__:
            self._producer.close()

    @cached_property
    def _producer(self) -> KeyedProducer:
        return KeyedProducer(self._kafka)

    def _some(self, letters: Sequence[Letter], now: datetime, pretend: bool) -> list[Outcome]:
        mails, outcomes = self._ready(letters)
        done = _finished(mail.identity for mail in mails)
        claim = uuid.uuid4()
        fresh = {mail.identity: mail for mail in mails if mail.identity not in done}  # one of several about a message
        mine = set(fresh) if pretend else _claim(fresh.values(), claim, self._actor, now)
        sent = [mail for identity, mail in fresh.items() if identity in mine]
        kept = {mail.letter.place for mail in sent}
        outcomes += [Outcome(mail.letter, ALREADY) for mail in mails if mail.letter.place not in kept]
        if pretend:
            return outcomes + [Outcome(mail.letter, REPLAYED) for mail in sent]
        try:
            failures = self._send(sent) | self._keep(sent)
        except BaseException:
            _release(mine, claim)
            raise
        _finish(mine - failures.keys(), claim, now)
        _release(failures.keys(), claim)
        return outcomes + [Outcome(mail.letter, *failures.get(mail.identity, (REPLAYED, ""))) for mail in sent]

    # Making ready

    def _ready(self, letters: Sequence[Letter]) -> tuple[list[_Mail], list[Outcome]]:
        originals = self._box.originals(letter for letter in letters if letter.reason not in (UNREADABLE, REFUSED))
        mails, outcomes = [], []
        for letter in letters:
            try:
                mails.append(self._mail(letter, originals.get(letter.place)))
            except Rejection as rejection:
                outcomes.append(Outcome(letter, STILL_BAD, str(rejection)))
        return mails, outcomes

    def _mail(self, letter: Letter, original: Message | None) -> _Mail:
        """Raises Rejection for what cannot be used now either."""
        if letter.reason == UNREADABLE:
            raise Rejection(UNREADABLE, "", letter.detail)
        identity = letter.identity(self._topic_id(letter.topic))
        payload = letter.payload if original is None else original.value() or b""
        if letter.reason == REFUSED and letter.topic == self._kafka.detections_topic:
            return _Mail(letter, identity, row=_detection(payload))
        if letter.reason != REFUSED and letter.topic != self._kafka.topic:
            if letter.taken is not None:
                _check_whole(letter, original)
            return _Mail(letter, identity, payload, None if original is None else original.key())
        event = native.decode(payload, received_ms=_arrived_ms(letter, original), limits=self._limits)
        if letter.reason == REFUSED:
            return _Mail(letter, identity, row=event)
        event.event_id = event.event_id or str(identity)
        return _Mail(letter, identity, native.encode(event), partition_key(event.service, event.model))

    def _topic_id(self, topic: str) -> uuid.UUID:
        if topic not in self._topic_ids:
            try:
                self._topic_ids |= topic_ids(client_settings(self._kafka), [topic])
            except (UnknownTopicId, KafkaException) as error:
                if isinstance(error, KafkaException) and error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                self._topic_ids[topic] = None
        known = self._topic_ids[topic]
        if known is None:
            raise Rejection("no_topic", "", f"the topic {topic} does not exist any more")
        return known

    # Sending; each returns what failed, with its outcome

    def _send(self, mails: Sequence[_Mail]) -> dict[uuid.UUID, tuple[str, str]]:
        messages = [mail for mail in mails if mail.row is None]
        if not messages:
            return {}
        batch = self._producer.batch()
        try:
            for mail in messages:
                origin = {ORIGIN_HEADER: mail.letter.source.encode(), "reason": mail.letter.reason.encode()}
                if mail.letter.taken is not None:
                    origin[TAKEN_HEADER] = msgspec.json.encode(mail.letter.taken)
                batch.send(mail.letter.topic, mail.value, mail.key, origin)
            batch.wait(ACK_SECONDS)
        except NotDelivered as error:
            return {messages[place].identity: (UNDELIVERED, reason) for place, reason in error.failures}
        except BufferError as error:
            return {mail.identity: (UNDELIVERED, str(error)) for mail in messages}
        return {}

    def _keep(self, mails: Sequence[_Mail]) -> dict[uuid.UUID, tuple[str, str]]:
        failures = {}
        for mail in (mail for mail in mails if mail.row is not None):
            try:
                refused = self._store_row(mail)
            except StoreUnavailable as error:
                failures[mail.identity] = (UNDELIVERED, str(error))
            else:
                if refused:
                    failures[mail.identity] = (STILL_BAD, refused[0].reason)
        return failures

    def _store_row(self, mail: _Mail) -> Sequence[Any]:
        letter = mail.letter
        if letter.topic == self._kafka.detections_topic:
            return self._store.write_detections([mail.row])
        place = (letter.topic, self._topic_id(letter.topic), letter.partition)
        return self._store.write_telemetry(TelemetryBatch(*place, [letter.offset], [mail.row]))


def _check_whole(letter: Letter, original: Message | None) -> None:
    """Raises Rejection where a message with several items cannot be sent again, or not without doubling the good."""
    if original is None:
        raise Rejection(letter.reason, "", "the original is not in Kafka any more, and a letter holds no whole record")
    if letter.taken is not None and not letter.taken.is_told:
        detail = f"{letter.taken.count} calls of the record were taken, and would count twice"
        raise Rejection(letter.reason, "", detail)


def _detection(payload: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Rejection(REFUSED, "", f"is no detection: {error}") from error


def _arrived_ms(letter: Letter, original: Message | None) -> int:
    """When the message first arrived: against that its time is judged."""
    if original is not None and (known := Record.of(original).timestamp_ms) is not None:
        return known
    moment = datetime.fromisoformat(letter.timestamp) if letter.timestamp else letter.written_at
    return int(moment.timestamp() * 1000)


# Who replays what: rows of ReplayedLetter


def _finished(identities: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    rows = ReplayedLetter.objects.filter(pk__in=list(identities), replayed_at__isnull=False)
    return set(rows.values_list("pk", flat=True))


def _claim(mails: Iterable[_Mail], claim: uuid.UUID, actor: str, now: datetime) -> set[uuid.UUID]:
    """Take the messages for this replay; returns those that nobody else has taken."""
    rows = [
        ReplayedLetter(
            id=mail.identity,
            topic=mail.letter.topic,
            partition=mail.letter.partition,
            offset=mail.letter.offset,
            reason=mail.letter.reason[:64],
            actor=actor,
            claim=claim,
            claimed_at=now,
        )
        for mail in mails
    ]
    names = [row.pk for row in rows]
    with transaction.atomic():
        ReplayedLetter.objects.bulk_create(rows, ignore_conflicts=True)
        abandoned = ReplayedLetter.objects.filter(pk__in=names, replayed_at=None, claimed_at__lt=now - CLAIM_LASTS)
        abandoned.update(claim=claim, claimed_at=now, actor=actor)
        return set(ReplayedLetter.objects.filter(pk__in=names, claim=claim).values_list("pk", flat=True))


def _finish(identities: Iterable[uuid.UUID], claim: uuid.UUID, now: datetime) -> None:
    ReplayedLetter.objects.filter(pk__in=list(identities), claim=claim).update(replayed_at=now)


def _release(identities: Iterable[uuid.UUID], claim: uuid.UUID) -> None:
    """What was not sent may be replayed again."""
    ReplayedLetter.objects.filter(pk__in=list(identities), claim=claim, replayed_at=None).delete()
