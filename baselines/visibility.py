"""Which projects a person or a program may see."""

from __future__ import annotations

from collections.abc import Collection


def visible_project_ids(principal: object) -> Collection[int] | None:
    """The ids of the projects `principal` may see; None means all of them.

    An API principal states its projects itself (`project_ids`, None for all); a superuser sees all; any other
    person sees the projects they are a member of; anybody else sees nothing.
    """
    if hasattr(principal, "project_ids"):
        ids: Collection[int] | None = principal.project_ids
        return ids
    if not getattr(principal, "is_authenticated", False) or not getattr(principal, "is_active", False):
        return ()
    if getattr(principal, "is_superuser", False):
        return None
    return list(principal.projects.values_list("id", flat=True))  # type: ignore[attr-defined]
