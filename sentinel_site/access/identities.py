"""From what the sign-on provider says of somebody to an account here: its groups, its projects, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from django.contrib.auth.models import Group, User
from django.db import transaction

from baselines.models import Project
from sentinel_site.access.models import ExternalIdentity
from sentinel_site.access.oidc import SignOnFailed
from sentinel_site.config.access import OidcConfig

log = structlog.get_logger(__name__)


@transaction.atomic
def _admit(claims: Mapping[str, Any], config: OidcConfig) -> User | None:
    """The account with the rights that the claims give it now; None if they give it none, after taking all away."""
    groups = groups_of(claims, config)
    identity = _identity(claims, config)
    if identity is None and not groups:
        return None
    user = identity.user if identity else _new_account(claims, config)
    user.groups.set(Group.objects.filter(name__in=groups))
    if config.projects_claim is not None:
        user.projects.set(Project.objects.filter(name__in=_strings(claims.get(config.projects_claim))))  # type: ignore[attr-defined]
    return user if groups else None


def admit(claims: Mapping[str, Any], config: OidcConfig) -> User:
    """The account of whom the claims describe, made if need be. Raises SignOnFailed for whoever may not come in.

    Groups, and projects where a claim names them, become exactly what the provider says now: what it took away is
    gone here too, also from sessions that are open, and also when too little is left to let the person in.
    """
    check_domain(claims, config)
    user = _admit(claims, config)
    if user is None:
        raise SignOnFailed(
            "Your account is in none of the groups that may come in here. Ask an administrator.",
            f"none of the groups {_strings(claims.get(config.groups_claim))[:20]} is in access.oidc.groups",
        )
    if not user.is_active:
        raise SignOnFailed("Your account is closed. Ask an administrator.", "the account is not active")
    return user


def groups_of(claims: Mapping[str, Any], config: OidcConfig) -> set[str]:
    """Our groups for those of the provider; the default where there are none."""
    mapped = {config.groups[name] for name in _strings(claims.get(config.groups_claim)) if name in config.groups}
    if mapped or config.default_group is None:
        return set(mapped)
    return {config.default_group}


def check_domain(claims: Mapping[str, Any], config: OidcConfig) -> None:
    """Raises SignOnFailed unless the e-mail address is of an allowed domain, and the provider has verified it."""
    if not config.allowed_domains:
        return
    domain = str(claims.get("email", "")).rpartition("@")[2].lower()
    if claims.get("email_verified") is not True:
        raise SignOnFailed("The sign-on provider has not verified your e-mail address.", "email_verified is not true")
    if domain not in {allowed.lower() for allowed in config.allowed_domains}:
        raise SignOnFailed("E-mail addresses of your domain may not come in here.", f"the domain is {domain!r}")


def _identity(claims: Mapping[str, Any], config: OidcConfig) -> ExternalIdentity | None:
    known = ExternalIdentity.objects.filter(issuer=config.issuer, subject=str(claims["sub"]))
    return known.select_related("user").first()


def _new_account(claims: Mapping[str, Any], config: OidcConfig) -> User:
    """An account of this name. One that exists is not taken over: only the subject is a proof, a name is none."""
    name = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])[:150]
    if User.objects.filter(username=name).exists():
        raise SignOnFailed(
            "An account of your name exists here already. Ask an administrator to connect the two.",
            f"the subject {claims['sub']} is not among the identities of the account {name}",
        )
    user = User.objects.create_user(
        name,
        email=str(claims.get("email", ""))[:254],
        first_name=str(claims.get("given_name", ""))[:150],
        last_name=str(claims.get("family_name", ""))[:150],
        is_staff=True,
    )
    ExternalIdentity.objects.create(user=user, issuer=str(config.issuer), subject=str(claims["sub"]))
    user.projects.set(Project.objects.filter(name__in=config.default_projects))  # type: ignore[attr-defined]
    log.info("account_made_by_sign_on", account=name)
    return user


def _strings(claim: object) -> list[str]:
    """A claim that is a list of names, or one name."""
    values = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return [value for value in values if isinstance(value, str)]
