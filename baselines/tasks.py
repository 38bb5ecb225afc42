"""What Celery does for the baselines."""

from __future__ import annotations

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone
from django_redis import get_redis_connection

from baselines import checkpoints, metrics
from baselines.stats.codec import BrokenState
from baselines.store import PartitionStore, StoreUnavailable

log = structlog.get_logger(__name__)


def partition_store() -> PartitionStore:
    """The store as configured."""
    config = settings.SENTINEL.storage.redis
    has_policy = not config.url.startswith("fakeredis")
    return PartitionStore(get_redis_connection("state"), config.key_prefix, has_policy=has_policy)


@shared_task(name="baselines.tasks.persist_baselines")
def persist_baselines() -> None:
    """Copy every partition state that changed from Redis to the database, for a start without Redis."""
    store = partition_store()
    try:
        names = list(store.names())
    except StoreUnavailable as error:
        metrics.BASELINE_PERSIST_ERRORS.inc()
        log.warning("baselines_not_persisted", error=str(error))
        return
    size, is_complete = 0, True
    for name in names:
        try:
            image = store.load(name)
        except (BrokenState, StoreUnavailable) as error:
            is_complete = False
            metrics.BASELINE_PERSIST_ERRORS.inc()
            log.warning("baselines_not_persisted", partition=str(name), error=str(error))
            continue
        if image is not None:
            size += sum(map(len, image.pieces.values()))
            metrics.BASELINES_PERSISTED.inc(checkpoints.persist(image, timezone.now()))
    if is_complete:
        metrics.STATE_BYTES.set(size)
        metrics.LAST_PERSIST.set_to_current_time()
