"""Reading the dead-letter topic, and the messages that its letters are about. No consumer group is joined."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingestion.dead_letters import Taken
from ingestion.formats.timestamps import rfc3339
from ingestion.kafka import client_settings

UNREADABLE = "unreadable"  # the reason shown for what is no dead letter of ours
CHUNK = 1000
SECONDS = 10.0
# Messages between two wanted ones beyond which seeking is faster than reading on.
FAR = 5000


class LetterPlace(NamedTuple):
    """Where a letter stands in the dead-letter topic; written `partition:offset`."""

    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> LetterPlace:
        """Raises ValueError."""
        partition, separator, offset = text.partition(":")
        if not (separator and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"a dead letter is named partition:offset, such as 0:17, not {text!r}")
        return cls(int(partition), int(offset))

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class _Body(msgspec.Struct):
    reason: str
    detail: str
    field: str
    topic: str
    partition: int
    offset: int
    timestamp: str | None
    payload: str
    encoding: str
    taken: Taken | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: where it stands, why there is one, and which message (topic, partition, offset) it is about."""

    place: LetterPlace
    written_at: datetime
    reason: str
    detail: str
    field: str
    topic: str
    partition: int
    offset: int
    timestamp: str | None
    """Kafka's time of the message it is about, RFC 3339."""
    payload: bytes
    """The message, scrubbed and cut."""
    taken: Taken | None = None
    """Of a message with several items: what was taken of it nonetheless."""

    @classmethod
    def of(cls, message: Message) -> Letter:
        """What is no dead letter of ours becomes one about itself, with the reason UNREADABLE."""
        place = LetterPlace(int(message.partition() or 0), int(message.offset() or 0))
        written_at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        try:
            body = msgspec.json.decode(message.value() or b"", type=_Body)
            payload = base64.b64decode(body.payload) if body.encoding == "base64" else body.payload.encode()
        except ValueError as error:
            text = f"is no dead letter: {error}"
            source = (str(message.topic()), *place, _time_of(message), message.value() or b"")
            return cls(place, written_at, UNREADABLE, text, "", *source)
        source = (body.topic, body.partition, body.offset, body.timestamp, payload)
        return cls(place, written_at, body.reason, body.detail, body.field, *source, body.taken)

    @property
    def source(self) -> str:
        """The message it is about, for people."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    def identity(self, topic_id: uuid.UUID) -> uuid.UUID:
        """Stands for the message it is about, however many letters there are of it, in this making of its topic.

        What the store refused comes without a time, and of detections several may bear one offset.
        """
        told_apart_by = self.timestamp or hashlib.sha256(self.payload).hexdigest()
        return uuid.uuid5(topic_id, f"dead letter {self.partition}:{self.offset}:{told_apart_by}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters: what is empty does not matter."""

    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: Letter) -> bool:
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or letter.written_at >= self.since)
            and (self.until is None or letter.written_at < self.until)
        )


@dataclass(slots=True)
class Tally:
    """How many letters there are, and from when to when they were written."""

    first: datetime
    last: datetime
    count: int = 0

    def add(self, letter: Letter) -> None:
        self.count += 1
        self.first, self.last = min(self.first, letter.written_at), max(self.last, letter.written_at)


def counted(letters: Iterable[Letter]) -> list[tuple[tuple[str, str], Tally]]:
    """Letters by (reason, topic), the most frequent first."""
    tallies: dict[tuple[str, str], Tally] = {}
    for letter in letters:
        tallies.setdefault((letter.reason, letter.topic), Tally(letter.written_at, letter.written_at)).add(letter)
    return sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))


class LetterBox:
    """The dead-letter topic of one Kafka; every method raises KafkaException where that does not answer."""

    def __init__(self, kafka: Any, seconds: float = SECONDS) -> None:
        """`seconds` is how long any one answer of Kafka is waited for."""
        self._topic = kafka.dead_letter_topic
        self._seconds = seconds
        self._consumer = Consumer(
            {
                "fetch.wait.max.ms": 10,
                **client_settings(kafka),
                "group.id": f"{kafka.group_id}-letters",  # the client wants one; it is never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def letters(self, choice: Choice | None = None, newest: int | None = None) -> Iterator[Letter]:
        """The letters there are now, by partition in the order they were written.

        With `newest`, the last so many messages of each partition only.
        """
        wanted = choice or Choice()
        for begin, end in self._ranges(newest):
            for message in self._read(begin, end):
                letter = Letter.of(message)
                if wanted.takes(letter):
                    yield letter

    def at(self, places: Iterable[LetterPlace]) -> dict[LetterPlace, Letter]:
        """The letters at these places, as far as there are any."""
        found = {}
        for partition, offsets in _by_first(places).items():
            for message in self._pick(self._topic, partition, offsets):
                letter = Letter.of(message)
                found[letter.place] = letter
        return found

    def originals(self, letters: Iterable[Letter]) -> dict[LetterPlace, Message]:
        """The messages that letters are about, as far as Kafka still has them.

        One that bears another time than the letter says belongs to a later topic of the same name, and is left out.
        """
        about: defaultdict[tuple[str, int], dict[int, list[Letter]]] = defaultdict(lambda: defaultdict(list))
        for letter in letters:
            about[letter.topic, letter.partition][letter.offset].append(letter)
        found = {}
        for (topic, partition), by_offset in about.items():
            for message in self._pick(topic, partition, by_offset):
                same = [one for one in by_offset[int(message.offset() or 0)] if one.timestamp == _time_of(message)]
                found |= {letter.place: message for letter in same}
        return found

    def _ranges(self, newest: int | None) -> Iterator[tuple[TopicPartition, int]]:
        """Where to begin and end in each partition that holds anything."""
        for partition in self._partitions(self._topic):
            low, high = self._bounds(self._topic, partition)
            begin = low if newest is None else max(low, high - newest)
            if begin < high:
                yield TopicPartition(self._topic, partition, begin), high

    def _partitions(self, topic: str) -> list[int]:
        known = self._consumer.list_topics(topic, timeout=self._seconds).topics[topic]
        if known.error and known.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(known.error)
        return sorted(known.partitions)

    def _bounds(self, topic: str, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self._seconds)
        return int(low), int(high)

    def _pick(self, topic: str, partition: int, offsets: Iterable[int]) -> Iterator[Message]:
        """The messages at these offsets, read in one go where they lie close together."""
        if partition not in self._partitions(topic):
            return
        low, high = self._bounds(topic, partition)
        waiting = deque(sorted({offset for offset in offsets if low <= offset < high}))
        while waiting:
            near = [waiting.popleft()]
            while waiting and waiting[0] - near[-1] <= FAR:
                near.append(waiting.popleft())
            wanted = set(near)
            for message in self._read(TopicPartition(topic, partition, near[0]), near[-1] + 1):
                if message.offset() in wanted:
                    yield message

    def _read(self, begin: TopicPartition, end: int) -> Iterator[Message]:
        """The messages from a place up to an offset; offsets that hold none are passed over."""
        self._consumer.assign([begin])
        heard = time.monotonic()
        while True:
            for message in self._consumer.consume(CHUNK, 0.2):
                heard = time.monotonic()
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    raise KafkaException(error)
                offset = int(message.offset() or 0)
                if offset < end:
                    yield message
                if offset + 1 >= end:
                    return
            if time.monotonic() - heard > self._seconds:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _by_first(places: Iterable[LetterPlace]) -> dict[int, list[int]]:
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    for partition, offset in places:
        offsets[partition].append(offset)
    return offsets


def _time_of(message: Message) -> str | None:
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else rfc3339(milliseconds * 1_000_000)
