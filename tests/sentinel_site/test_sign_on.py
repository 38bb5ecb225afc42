"""Single sign-on against a provider that signs real tokens, and against one that does not keep to the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.test import Client
from joserfc.jwk import ECKey
from pydantic import SecretStr

from baselines.models import Project
from sentinel_site.access import oidc
from sentinel_site.access.groups import grant_groups
from sentinel_site.access.models import ExternalIdentity
from sentinel_site.config.access import OidcConfig
from tests.support import catalogue
from tests.support.oidc_provider import CLIENT, SECRET, Provider, running_provider

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def configure(running, settings):
    """Changes the section access.oidc."""

    def change(**values: object) -> None:
        site = settings.SENTINEL
        oidc = {"enabled": True, "issuer": running.issuer, "client_id": CLIENT, "client_secret": SecretStr(SECRET)}
        oidc |= {"groups": {"sre": "operator", "staff": "viewer", "owners": "admin"}}
        access = site.access.model_copy(update={"oidc": OidcConfig(**oidc | values)})
        settings.SENTINEL = site.model_copy(update={"access": access})

    return change


@pytest.fixture
def provider(running, configure, monkeypatch) -> Provider:
    """The provider as it should be, with a person of the group sre; nothing of it is known yet."""
    monkeypatch.setattr(oidc, "_known", [])
    fresh = Provider(issuer=running.issuer)
    fresh.claims = {"preferred_username": "vera", "email": "vera@corp.example", "groups": ["sre"]}
    running.__dict__.update(fresh.__dict__)
    configure()
    grant_groups(apps)
    catalogue.project()
    return running


def log_in(provider: Provider, client: Client, next_page: str = "") -> tuple[str, list[str]]:
    """Walk to the provider and back; returns where that leads and what is said there."""
    away = client.get(f"/login/oidc/?next={next_page}")
    if "state" not in away.headers["Location"]:
        return away.headers["Location"], said(away)
    back = client.get(provider.authorize(away.headers["Location"]))
    return back.headers["Location"], said(back)


def said(answer) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def assert_refused(provider: Provider, words: str) -> None:
    client = Client()
    location, messages = log_in(provider, client)
    assert location == "/admin/login/"
    assert words in messages[-1]
    assert "_auth_user_id" not in client.session


def test_whoever_the_provider_vouches_for_gets_an_account_with_the_rights_of_their_groups(provider, client):
    assert log_in(provider, client, "/admin/alerting/") == ("/admin/alerting/", [])
    user = User.objects.get(username="vera")
    assert [group.name for group in user.groups.all()] == ["operator"]
    assert [project.name for project in user.projects.all()] == ["default"]
    assert (user.email, user.is_staff, user.is_superuser, user.has_usable_password()) == (
        "vera@corp.example",
        True,
        False,
        False,
    )
    assert client.get("/api/v1/anomalies").status_code == 200
    log_in(provider, Client())
    assert User.objects.count() == 1


def test_the_login_page_leads_to_the_provider_and_keeps_where_one_was_going(provider, client, configure):
    configure(name="Corp & Sons")
    page = client.get("/admin/login/?next=/admin/alerting/").content.decode()
    assert "Log in with Corp &amp; Sons" in page
    assert 'href="/login/oidc/?next=%2Fadmin%2Falerting%2F"' in page
    away = urlsplit(client.get("/login/oidc/").headers["Location"])
    asked = {name: values[0] for name, values in parse_qs(away.query).items()}
    assert asked["redirect_uri"] == "http://localhost:8080/login/oidc/callback"
    assert (asked["scope"], asked["code_challenge_method"]) == ("openid profile email", "S256")
    assert len(asked["nonce"]) >= 20
    assert SECRET not in away.query


def test_without_single_sign_on_there_is_no_button_and_no_address(client):
    assert b"/login/oidc/" not in client.get("/admin/login/").content
    assert client.get("/login/oidc/").status_code == 404
    assert client.get("/login/oidc/callback?code=a&state=b").status_code == 404


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_a_login_leads_to_no_other_site(provider, client, elsewhere):
    assert log_in(provider, client, elsewhere)[0] == "/"


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": ["another-client"], "azp": CLIENT},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"nonce": "of another login"},
        {"nonce": None},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_login_lets_nobody_in(provider, lie):
    provider.token_claims = lie
    assert_refused(provider, "not valid")
    assert not User.objects.exists()


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_that_anybody_can_make_lets_nobody_in_even_if_the_provider_offers_that(provider, algorithm):
    provider.algorithm = algorithm
    assert_refused(provider, "not valid")


def test_a_token_signed_by_somebody_else_lets_nobody_in(provider):
    provider.signs_with = ECKey.generate_key("P-256", {"kid": "one"})
    assert_refused(provider, "not valid")


def test_a_description_of_another_issuer_is_not_believed(provider):
    provider.metadata = {"issuer": "https://other.example"}
    assert_refused(provider, "not set up rightly")


def test_a_new_key_of_the_provider_is_believed_under_its_own_id_at_once_and_under_the_old_one_soon(provider, client):
    log_in(provider, client)
    provider.key = ECKey.generate_key("P-256", {"kid": "two"})
    assert log_in(provider, Client())[0] == "/"
    provider.key = ECKey.generate_key("P-256", {"kid": "two"})
    assert_refused(provider, "not valid")
    assert log_in(provider, Client())[0] == "/"


def test_a_code_that_came_with_another_state_or_none_lets_nobody_in(provider, client):
    away = client.get("/login/oidc/").headers["Location"]
    right = provider.authorize(away)
    for path in (right + "x", "/login/oidc/callback?code=a-code", "/login/oidc/callback"):
        answer = client.get(path)
        assert answer.headers["Location"] == "/admin/login/", path
    assert Client().get(right).headers["Location"] == "/admin/login/"  # another browser
    assert client.get(right).headers["Location"] == "/"
    assert client.get(right).headers["Location"] == "/admin/login/"  # once


def test_what_the_provider_refuses_is_said_in_our_words(provider, client):
    away = client.get("/login/oidc/").headers["Location"]
    provider.authorize(away)
    answer = client.get("/login/oidc/callback?error=access_denied&error_description=<b>no</b>")
    assert answer.headers["Location"] == "/admin/login/"
    assert b"<b>no</b>" not in client.get("/admin/login/").content


def test_a_provider_that_is_away_is_said_to_be(provider, configure, client):
    configure(issuer="http://127.0.0.1:9")
    assert log_in(provider, client)[1] == ["The sign-on provider does not answer. Try again later."]


def test_a_group_taken_away_at_the_provider_takes_its_rights_away_at_the_next_login(provider, client):
    provider.claims["groups"] = ["owners", "sre"]
    log_in(provider, client)
    user = User.objects.get()
    assert {group.name for group in user.groups.all()} == {"admin", "operator"}
    user.groups.add(Group.objects.get(name="viewer"))  # not the provider's word either
    provider.claims["groups"] = ["staff"]
    log_in(provider, client)
    assert [group.name for group in user.groups.all()] == ["viewer"]


def test_whoever_lost_the_last_group_is_not_let_in_and_loses_the_rights_of_open_sessions(provider, client):
    log_in(provider, client)
    provider.claims["groups"] = ["guests"]
    assert_refused(provider, "none of the groups")
    assert client.get("/api/v1/anomalies").status_code == 403
    assert not User.objects.get().groups.exists()


def test_nobody_without_a_group_gets_an_account_unless_there_is_a_default(provider, client, configure):
    del provider.claims["groups"]
    assert_refused(provider, "none of the groups")
    assert not User.objects.exists()
    configure(default_group="viewer")
    assert log_in(provider, client)[0] == "/"
    assert [group.name for group in User.objects.get().groups.all()] == ["viewer"]


def test_groups_that_only_userinfo_tells_count_if_they_are_of_the_same_person(provider, client):
    del provider.claims["groups"]
    provider.userinfo = {"groups": ["sre"], "sub": "somebody else"}
    assert_refused(provider, "none of the groups")
    provider.userinfo = {"groups": ["sre"]}
    assert log_in(provider, client)[0] == "/"


def test_projects_are_those_of_the_claim_and_change_with_it(provider, client, configure):
    configure(projects_claim="teams")
    catalogue.project("blue"), catalogue.project("red")
    provider.claims["teams"] = ["blue", "unknown"]
    log_in(provider, client)
    catalogue.service("mine", of="blue"), catalogue.service("theirs", of="red")
    assert [row["name"] for row in client.get("/api/v1/services").json()["services"]] == ["mine"]
    provider.claims["teams"] = []
    log_in(provider, client)
    assert client.get("/api/v1/services").json()["services"] == []
    assert not Project.objects.filter(name="unknown").exists()


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"email": "vera@other.example", "email_verified": True}, "domain"),
        ({"email": "vera@corp.example.evil.example", "email_verified": True}, "domain"),
        ({"email": "vera@corp.example", "email_verified": False}, "verified"),
        ({"email": "vera@corp.example"}, "verified"),
        ({"email": None, "email_verified": True}, "domain"),
    ],
)
def test_addresses_must_be_verified_and_of_an_allowed_domain(provider, configure, client, claims, words):
    configure(allowed_domains=("Corp.example",))
    provider.claims |= claims
    assert_refused(provider, words)
    provider.claims |= {"email": "vera@corp.example", "email_verified": True}
    assert log_in(provider, client)[0] == "/"


def test_an_account_of_the_same_name_is_not_taken_over_until_somebody_connects_the_two(provider, client):
    local = catalogue.person("vera", is_superuser=True)
    assert_refused(provider, "exists here already")
    ExternalIdentity.objects.create(user=local, issuer=provider.issuer, subject="subject-1")
    assert log_in(provider, client)[0] == "/"
    assert User.objects.get().pk == local.pk


def test_a_closed_account_stays_closed(provider, client):
    log_in(provider, client)
    User.objects.update(is_active=False)
    assert_refused(provider, "closed")
