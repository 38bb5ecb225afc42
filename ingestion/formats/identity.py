"""Names for events that came without one."""

from __future__ import annotations

from hashlib import sha1
from uuid import UUID


def event_id(topic_id: UUID, partition: int, offset: int) -> str:
    """The id of an event that brought none: UUIDv5 in the namespace of its topic, of "partition:offset".

    Equal to `uuid.uuid5(topic_id, f"{partition}:{offset}")`, at a quarter of its cost. The same record always gets
    the same id, in every role and on every replay; a topic made anew under the same name gives others.
    """
    digest = bytearray(sha1(topic_id.bytes + b"%d:%d" % (partition, offset), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
