"""The embedded broker: librdkafka's mock cluster, out of the very library that confluent-kafka brings along."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from confluent_kafka import cimpl

PRODUCER = 0  # RD_KAFKA_PRODUCER; the cluster needs some client to hang on
CONF_OK = 0
ERROR_BYTES = 512

_POINTER = ctypes.c_void_p
_TEXT = ctypes.c_char_p
_SIGNATURES = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (ctypes.c_int, [_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t]),
    "rd_kafka_new": (_POINTER, [ctypes.c_int, _POINTER, _TEXT, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_err2str": (_TEXT, [ctypes.c_int]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [_POINTER, _TEXT, ctypes.c_int, ctypes.c_int]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_POINTER, ctypes.c_int32]),
}


class BrokerError(RuntimeError):
    """The embedded broker cannot be had; the message says why."""


def load_librdkafka() -> ctypes.CDLL:
    """The library, typed. It is reached through the extension module that links to it, so no file name is guessed.

    Raises BrokerError when it was built without the mock cluster.
    """
    library = ctypes.CDLL(cimpl.__file__)
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise BrokerError(f"this confluent-kafka has no embedded broker ({error}); install its wheel") from None
    return library


class EmbeddedBroker:
    """One broker on a free port of 127.0.0.1. It keeps 5 MB (compressed) per partition, in memory.

    The mock cluster binds the loopback address and nothing else; it offers no choice of address or port.
    """

    def __init__(self, topics: Sequence[str], partitions: int) -> None:
        """Start it with `topics`, each of `partitions` partitions. Raises BrokerError."""
        self._library = load_librdkafka()
        self._client: int | None = self._new_client()
        self._cluster: int | None = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise BrokerError("librdkafka could not start the embedded broker (no free port on 127.0.0.1?)")
        # A first member waits 3 s for company by default; here it has none to wait for.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        for topic in topics:
            self._create_topic(topic, partitions)

    @property
    def address(self) -> str:
        """host:port, as `bootstrap.servers` takes it."""
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def close(self) -> None:
        """Stop it; what it held is gone."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = self._client = None

    def _new_client(self) -> int:
        error = ctypes.create_string_buffer(ERROR_BYTES)
        conf = self._library.rd_kafka_conf_new()
        # This client never connects anywhere, and would complain about it.
        if self._library.rd_kafka_conf_set(conf, b"log_level", b"0", error, ERROR_BYTES) != CONF_OK:
            raise BrokerError(error.value.decode())
        client = self._library.rd_kafka_new(PRODUCER, conf, error, ERROR_BYTES)
        if not client:
            raise BrokerError(error.value.decode())
        return int(client)

    def _create_topic(self, topic: str, partitions: int) -> None:
        code = self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
        if code:
            reason = self._library.rd_kafka_err2str(code).decode()
            raise BrokerError(f"topic {topic!r} with {partitions} partitions: {reason}")
