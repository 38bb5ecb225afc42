"""The partition of a key as Java's clients and librdkafka's `murmur2_random` choose it."""

from __future__ import annotations

_MULTIPLIER = 0x5BD1E995
_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """MurmurHash2 of Kafka's clients, 32 bits (Appleby's hash with Kafka's seed)."""
    length = len(key)
    value = (_SEED ^ length) & _MASK
    for start in range(0, length - length % 4, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        value = value * _MULTIPLIER & _MASK ^ word
    if rest := key[length - length % 4 :]:
        value = (value ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a keyed message in a topic with this many partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
