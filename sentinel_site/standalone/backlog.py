"""What consumer groups have not yet committed of their topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, TopicPartition

TIMEOUT = 0.5
Ends = dict[tuple[str, int], tuple[int, int]]
"""By topic and partition, its first offset and the one after its last."""


class Backlog:
    """Asks the broker; joins no group, so it disturbs no consumer."""

    def __init__(self, connection: Mapping[str, object], topics_of: Mapping[str, Sequence[str]]) -> None:
        """`connection` as librdkafka takes it; `topics_of` names the topics that each group reads."""
        self._topics_of = topics_of
        self._clients = {
            group: Consumer({**connection, "group.id": group, "enable.auto.commit": False, "log_level": 0})
            for group in topics_of
        }

    def ends(self) -> Ends:
        """Where the topics end now. Raises KafkaException when the broker does not answer."""
        client = next(iter(self._clients.values()))
        topics = sorted({topic for topics in self._topics_of.values() for topic in topics})
        return {
            (topic, partition): client.get_watermark_offsets(TopicPartition(topic, partition), TIMEOUT)
            for topic in topics
            for partition in client.list_topics(topic, TIMEOUT).topics[topic].partitions
        }

    def left(self, ends: Ends) -> dict[str, int]:
        """By group, how many messages before `ends` it has not committed. Raises KafkaException."""
        return {group: self._left_of(group, ends) for group in self._topics_of}

    def _left_of(self, group: str, ends: Ends) -> int:
        wanted = [TopicPartition(*key) for key in ends if key[0] in self._topics_of[group]]
        left = 0
        for place in self._clients[group].committed(wanted, TIMEOUT):
            low, high = ends[place.topic, place.partition]
            left += max(high - max(place.offset, low), 0)  # a negative offset: nothing was ever committed
        return left
