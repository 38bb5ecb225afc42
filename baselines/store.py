"""The state of partitions in Redis: one hash per partition, written together with the next offset or not at all.

Field `meta` says which offset the state covers, who owns it and how many pieces make it whole; every other field is a
named piece with its checksum behind it. A flush compares owner and offset with what the owner last wrote (WATCH) and is
refused if somebody else wrote meanwhile: a consumer that lost its partition and does not know it cannot overwrite the
state of the one that has it now.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
import redis
import structlog

from baselines import metrics
from baselines.stats.codec import BrokenState

log = structlog.get_logger(__name__)
META = b"meta"
TAKE_OVER_TRIES = 10


class Fenced(Exception):
    """Somebody else wrote the state of this partition: the writer does not own it any more."""


class StoreUnavailable(Exception):
    """Redis does not answer, or takes no writes."""


class Vanished(Exception):
    """The state that the owner wrote is gone (Redis was flushed, or an old copy restored): write it whole."""


class WrongPolicy(Exception):
    """Redis would evict detection state when its memory is full."""


class Meta(msgspec.Struct):
    topic: str
    offset: int
    owner: str
    pieces: int


@dataclass(frozen=True)
class PartitionName:
    """One partition of one creation of a topic: a topic that is deleted and made again has another id."""

    topic: str
    topic_id: UUID
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True)
class Image:
    """The whole state of a partition: it covers all events below `offset`."""

    name: PartitionName
    offset: int
    pieces: dict[str, bytes]


@dataclass
class Holding:
    """What an owner knows of the state it wrote last."""

    name: PartitionName
    owner: str = field(default_factory=lambda: uuid4().hex)
    offset: int | None = None
    tried: int | None = None  # the offset of a write of which nobody knows whether it was done
    fields: set[str] = field(default_factory=set)


def seal(piece: bytes) -> bytes:
    """A piece with its checksum (CRC-32, four bytes, little endian) behind it."""
    return piece + zlib.crc32(piece).to_bytes(4, "little")


def unseal(name: str, sealed: bytes) -> bytes:
    """The inverse of `seal`. Raises BrokenState."""
    piece = sealed[:-4]
    if len(sealed) < 4 or zlib.crc32(piece) != int.from_bytes(sealed[-4:], "little"):
        raise BrokenState(f"piece {name} of the state is damaged")
    return piece


class PartitionStore:
    """Loads and flushes partition states. All errors of Redis come out as StoreUnavailable."""

    def __init__(self, client: redis.Redis, prefix: str, *, has_policy: bool = True) -> None:
        self._redis = client
        self._prefix = prefix
        self._is_policy_known = not has_policy  # the Redis in this process has none

    def check_policy(self) -> None:
        """Raise WrongPolicy if Redis may evict state; a Redis that hides its settings gets a warning.

        Every writer asks once, before its first write: a Redis that was down at the start is asked when it is back.
        """
        try:
            policy = self._redis.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
        except redis.ResponseError as error:
            log.warning("redis_policy_unknown", error=str(error))
            self._is_policy_known = True
            return
        except redis.RedisError as error:
            raise StoreUnavailable(str(error)) from error
        if policy != "noeviction":
            raise WrongPolicy(
                f"Redis runs with maxmemory-policy {policy!r} and would silently drop detection state when its memory "
                "is full; set maxmemory-policy to noeviction"
            )
        self._is_policy_known = True

    def load(self, name: PartitionName) -> Image | None:
        """The state of a partition, or None if there is none. Raises BrokenState if it is not whole."""
        try:
            with metrics.STATE_SECONDS.labels("load").time():
                return _image(name, self._redis.hgetall(self._key(name)))
        except redis.RedisError as error:
            metrics.STATE_ERRORS.labels("unavailable").inc()
            raise StoreUnavailable(str(error)) from error

    def take_over(self, name: PartitionName) -> tuple[Image, Holding] | None:
        """Load the state of a partition and become its owner in one step; None if there is none.

        Whoever held it cannot write it from then on, and wrote nothing that the image lacks. Raises BrokenState.
        """
        for _ in range(TAKE_OVER_TRIES):
            try:
                with self._redis.pipeline(transaction=True) as pipe:
                    pipe.watch(self._key(name))
                    image = _image(name, pipe.hgetall(self._key(name)))  # type: ignore[arg-type]
                    if image is None:
                        return None
                    holding = Holding(name, fields=set(image.pieces))
                    self._put(pipe, holding, image.offset, {}, holding.fields)
                    return image, holding
            except redis.WatchError:
                log.info("state_written_during_take_over", partition=str(name))
            except redis.RedisError as error:
                raise StoreUnavailable(str(error)) from error
        raise StoreUnavailable(f"the state of {name} is written faster than it can be taken over")

    def replace(self, image: Image) -> Holding:
        """Become the owner of a partition and put `image` in the place of whatever state it had."""
        holding = Holding(image.name)
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                self._put(pipe, holding, image.offset, image.pieces, set(image.pieces), anew=True)
        except redis.RedisError as error:
            raise StoreUnavailable(str(error)) from error
        return holding

    def flush(
        self,
        holding: Holding,
        offset: int,
        pieces: Mapping[str, bytes],
        removed: Set[str] = frozenset(),
        *,
        is_whole: bool = False,
    ) -> None:
        """Write changed pieces and the next offset in one step; with `is_whole`, all pieces in the place of the old.

        Raises Fenced, StoreUnavailable, and Vanished if the rest of the state is gone, which only a whole one replaces.
        """
        fields = set(pieces) if is_whole else (holding.fields | pieces.keys()) - removed
        gone = {name for name in removed if name in holding.fields}
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.watch(self._key(holding.name))
                is_there = _is_own(pipe.hget(self._key(holding.name), META), holding)  # type: ignore[arg-type]
                if not (is_there or is_whole):
                    metrics.STATE_ERRORS.labels("vanished").inc()
                    raise Vanished(f"the state of {holding.name} is gone from Redis")
                kept = {name: piece for name, piece in pieces.items() if name in fields}
                self._put(pipe, holding, offset, kept, fields, gone=gone, anew=is_whole)
        except redis.WatchError:
            metrics.STATE_ERRORS.labels("fenced").inc()
            raise Fenced(f"the state of {holding.name} was written by another consumer") from None
        except redis.RedisError as error:
            metrics.STATE_ERRORS.labels("unavailable").inc()
            raise StoreUnavailable(str(error)) from error

    def _put(
        self,
        pipe: Any,
        holding: Holding,
        offset: int,
        pieces: Mapping[str, bytes],
        fields: set[str],
        *,
        gone: Set[str] = frozenset(),
        anew: bool = False,
    ) -> None:
        """Write pieces and what the state covers, in a transaction over the key that is being watched."""
        if not self._is_policy_known:
            self.check_policy()
        key = self._key(holding.name)
        values: dict[str | bytes, bytes] = {name: seal(piece) for name, piece in pieces.items()}
        values[META] = seal(msgspec.msgpack.encode(Meta(holding.name.topic, offset, holding.owner, len(fields))))
        holding.tried = offset
        pipe.multi()
        if anew:
            pipe.delete(key)
        elif gone:
            pipe.hdel(key, *gone)
        pipe.hset(key, mapping=values)
        pipe.sadd(self._index, self._member(holding.name))
        with metrics.STATE_SECONDS.labels("write").time():
            pipe.execute()
        metrics.STATE_WRITES.inc()
        holding.offset, holding.fields = offset, fields

    def names(self) -> Iterator[PartitionName]:
        """Every partition that has a state."""
        try:
            members = self._redis.smembers(self._index)
        except redis.RedisError as error:
            raise StoreUnavailable(str(error)) from error
        for member in sorted(members):
            topic_id, partition, topic = member.decode().split(":", 2)
            yield PartitionName(topic, UUID(topic_id), int(partition))

    def drop(self, name: PartitionName) -> None:
        """Forget the state of a partition, e.g. of a topic that does not exist any more."""
        try:
            self._redis.delete(self._key(name))
            self._redis.srem(self._index, self._member(name))
        except redis.RedisError as error:
            raise StoreUnavailable(str(error)) from error

    @property
    def _index(self) -> str:
        return f"{self._prefix}partitions"

    def _key(self, name: PartitionName) -> str:
        return f"{self._prefix}state:{name.topic_id}:{name.partition}"

    @staticmethod
    def _member(name: PartitionName) -> str:
        return f"{name.topic_id}:{name.partition}:{name.topic}"


def _image(name: PartitionName, raw: dict[bytes, bytes]) -> Image | None:
    if not raw:
        return None
    if META not in raw:
        raise BrokenState(f"the state of {name} does not say what it covers")
    meta = msgspec.msgpack.decode(unseal("meta", raw.pop(META)), type=Meta)
    if len(raw) != meta.pieces:
        raise BrokenState(f"the state of {name} has {len(raw)} pieces of {meta.pieces}")
    pieces = {key.decode(): unseal(key.decode(), value) for key, value in raw.items()}
    return Image(name, meta.offset, pieces)


def _is_own(sealed: bytes | None, holding: Holding) -> bool:
    """Whether the stored meta is what `holding` wrote last; False if it is gone or older. Raises Fenced."""
    if sealed is None:
        return False
    meta = msgspec.msgpack.decode(unseal("meta", sealed), type=Meta)
    if meta.owner != holding.owner:
        raise Fenced(f"the state of {holding.name} belongs to another consumer since offset {meta.offset}")
    return meta.offset in (holding.offset, holding.tried)
