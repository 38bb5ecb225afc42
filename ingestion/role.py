"""What the roles of a consumer have in common: how they are started, watched, finished and known to be done."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from ingestion.membership import Membership, Place


class RoleFailed(Exception):
    """A role cannot go on; the message says why and, where one can, what to do."""


class RoleStopped(Exception):
    """A role was told to stop while it could not go on."""


class Role(ABC):
    """One consumer group's work. `run` blocks until it is stopped or, once `finish` is set, has read all there is."""

    name = "role"

    def __init__(self) -> None:
        self.finish = threading.Event()
        self.is_ready = False
        self.trouble: str | None = None  # what is being waited for or alarming, in words
        self.failure: str | None = None  # why it ended, if not because it should
        self._ends: dict[Place, int] | None = None

    @abstractmethod
    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set or, once `finish` is set, until the ends the partitions had then.

        Raises RoleFailed where going on would do harm or waiting is no use.
        """

    def is_done(self, membership: Membership, offsets: dict[Place, int]) -> bool:
        """Whether `finish` was set and every partition is read up to the end it had when that was seen."""
        if not self.finish.is_set() or not membership.is_joined:
            return False
        if self._ends is None:
            self._ends = {place: membership.end_offset(place) for place in membership.assigned}
        # A partition that was given away meanwhile is for its new owner to finish. The last offsets may hold no message
        # to be read: markers of transactions, or what was deleted.
        read_up = membership.read_up
        return all(max(offsets.get(place, end), read_up.get(place, -1)) >= end for place, end in self._ends.items())
