"""Section `access`: how people prove who they are, and for how long that holds."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from sentinel_site.config.base import UNIQUE, Count, HttpUrl, Seconds, Section, Text

Group = Literal["viewer", "operator", "admin"]


class LockoutConfig(Section):
    failures: Count = 10
    """Wrong passwords for one name from one address, after which that pair is locked out."""
    minutes: Annotated[float, Field(gt=0)] = 15.0
    """Minutes a lockout lasts; an administrator can end it earlier, under Access attempts in the admin."""


class OidcConfig(Section):
    enabled: bool = False
    """Whether the login page offers single sign-on."""
    name: Text = "single sign-on"
    """What the button calls the provider: Log in with <name>."""
    issuer: HttpUrl | None = None
    """Issuer, exactly as the provider's tokens name it; <issuer>/.well-known/openid-configuration is read."""
    client_id: Text | None = None
    """Id of this site at the provider, where <public_url>/login/oidc/callback is its redirect address."""
    client_secret: SecretStr | None = None
    """Secret of this site at the provider (secret)."""
    scopes: Annotated[tuple[Text, ...], UNIQUE] = ("openid", "profile", "email")
    """Scopes to ask for; openid must be among them. Some providers tell groups only with a scope for them."""
    groups_claim: Text = "groups"
    """Claim of the identity token, or of the provider's userinfo, that lists a person's groups."""
    groups: dict[str, Group] = {}
    """What a group of the provider makes of its members here, as in {sre: operator}: viewer, operator or admin."""
    default_group: Group | None = None
    """What people are here who have none of these groups; null lets nobody in without one."""
    projects_claim: Text | None = None
    """Claim that lists the names of a person's projects; null leaves projects to the admin here."""
    default_projects: tuple[Text, ...] = ("default",)
    """Projects a new person joins where projects_claim is null."""
    allowed_domains: tuple[Text, ...] = ()
    """Domains of the verified e-mail address a person needs; none listed lets any in."""
    timeout_secs: Seconds = 10.0
    """Seconds after which a request to the provider is given up."""


class AccessConfig(Section):
    session_hours: Annotated[float, Field(gt=0)] = 12.0
    """Hours after which people log in again; also the longest that rights outlive their end at the provider."""
    min_password_length: Annotated[int, Field(ge=8)] = 12
    """Characters a new password needs at least."""
    trusted_proxies: Count = 1
    """Proxies in front that each append to X-Forwarded-For; counts while api.behind_proxy is true."""
    lockout: LockoutConfig = LockoutConfig()
    oidc: OidcConfig = OidcConfig()
