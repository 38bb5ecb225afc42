"""The state of a partition in Redis has one owner, and is whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import fakeredis
import pytest
import redis

from baselines.stats.codec import BrokenState
from baselines.store import Fenced, Image, PartitionName, PartitionStore, StoreUnavailable, Vanished
from ingestion.checkpointing import Unsaved

NAME = PartitionName("llm.telemetry", UUID(int=5), 3)


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with fakeredis.FakeRedis() as connected:
        yield connected


@pytest.fixture
def store(client: redis.Redis) -> PartitionStore:
    return PartitionStore(client, "test:", has_policy=False)


def loaded(store: PartitionStore) -> tuple[int, dict[str, bytes]]:
    image = store.load(NAME)
    assert image is not None
    return image.offset, image.pieces


def test_a_flush_adds_replaces_and_removes_pieces_together_with_the_offset(store: PartitionStore) -> None:
    holding = store.replace(Image(NAME, 5, {"a": b"1", "b": b"2", "i:0": b"old"}))
    store.flush(holding, 9, {"b": b"3", "c": b"4"}, {"i:0"})
    assert loaded(store) == (9, {"a": b"1", "b": b"3", "c": b"4"})


def test_who_lost_the_partition_is_refused_and_changes_nothing(store: PartitionStore) -> None:
    former = store.replace(Image(NAME, 5, {"a": b"1"}))
    taken = store.take_over(NAME)
    assert taken is not None
    image, holding = taken
    assert (image.offset, image.pieces) == (5, {"a": b"1"})
    for is_whole in (False, True):
        with pytest.raises(Fenced):
            store.flush(former, 7, {"a": b"late"}, is_whole=is_whole)
    store.flush(holding, 6, {"a": b"2"})
    assert loaded(store) == (6, {"a": b"2"})


def test_a_flush_between_load_and_claim_is_part_of_what_is_taken_over(
    store: PartitionStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former owner writes at the worst moment: after the state was read, before it is claimed."""
    former = store.replace(Image(NAME, 5, {"a": b"1"}))
    usual, written = store._put, []

    def put_late(*args: object, **options: object) -> None:
        if not written:
            written.append(1)
            PartitionStore(client, "test:", has_policy=False).flush(former, 7, {"a": b"2"})
        usual(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_put", put_late)
    taken = store.take_over(NAME)
    assert taken is not None
    assert (taken[0].offset, taken[0].pieces) == (7, {"a": b"2"})


def test_a_state_that_is_gone_is_only_written_whole_and_only_while_it_is_gone(
    store: PartitionStore, client: redis.Redis
) -> None:
    holding = store.replace(Image(NAME, 5, {"a": b"1", "b": b"1"}))
    client.flushall()
    with pytest.raises(Vanished):
        store.flush(holding, 6, {"a": b"2"})
    store.flush(holding, 7, {"a": b"3", "b": b"1"}, is_whole=True)
    assert loaded(store) == (7, {"a": b"3", "b": b"1"})
    client.flushall()
    store.replace(Image(NAME, 4, {"a": b"0"}))  # its next owner was faster
    with pytest.raises(Fenced):
        store.flush(holding, 8, {"a": b"4", "b": b"4"}, is_whole=True)
    assert loaded(store) == (4, {"a": b"0"})


def test_an_old_copy_of_ones_own_state_counts_as_gone(store: PartitionStore, client: redis.Redis) -> None:
    holding = store.replace(Image(NAME, 5, {"a": b"1"}))
    key = next(key for key in client.scan_iter("*state*"))
    backup = client.hgetall(key)
    store.flush(holding, 6, {"b": b"2"})
    store.flush(holding, 7, {"c": b"3"})
    client.delete(key)
    client.hset(key, mapping=backup)
    with pytest.raises(Vanished):
        store.flush(holding, 8, {"a": b"4"})


def test_a_write_of_which_the_answer_was_lost_does_not_fence_its_writer(
    store: PartitionStore, client: redis.Redis
) -> None:
    holding = store.replace(Image(NAME, 5, {"a": b"1"}))
    pipeline = client.pipeline

    def deaf(*args: object, **options: object) -> redis.client.Pipeline:
        pipe = pipeline(*args, **options)  # type: ignore[arg-type]
        execute = pipe.execute

        def execute_unheard() -> None:
            execute()
            raise redis.TimeoutError("no answer")

        pipe.execute = execute_unheard  # type: ignore[method-assign, assignment]
        return pipe

    client.pipeline = deaf  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        store.flush(holding, 6, {"a": b"2", "b": b"2"})
    client.pipeline = pipeline  # type: ignore[method-assign]
    store.flush(holding, 7, {"a": b"3", "b": b"2"})
    assert loaded(store) == (7, {"a": b"3", "b": b"2"})


def test_a_state_that_lost_a_piece_or_a_byte_is_refused(store: PartitionStore, client: redis.Redis) -> None:
    store.replace(Image(NAME, 5, {"a": b"1", "b": b"2"}))
    key = next(key for key in client.scan_iter("*state*"))
    whole = client.hget(key, "a")
    client.hdel(key, "a")
    with pytest.raises(BrokenState, match="has 1 pieces of 2"):
        store.take_over(NAME)
    client.hset(key, "a", b"x" + whole[1:])
    with pytest.raises(BrokenState, match="piece a of the state is damaged"):
        store.take_over(NAME)


def test_what_redis_did_not_take_is_merged_into_what_comes_next() -> None:
    first = Unsaved({"a": b"1", "i:0": b"ids"}, set(), is_whole=False)
    second = Unsaved({"a": b"2", "b": b"2"}, {"i:0"}, is_whole=False)
    assert second.after(first) == Unsaved({"a": b"2", "b": b"2"}, {"i:0"}, is_whole=False)
    whole = Unsaved({"a": b"3"}, set(), is_whole=True)
    assert second.after(whole) == Unsaved({"a": b"2", "b": b"2"}, {"i:0"}, is_whole=True)
    assert whole.after(second) == whole
