"""An OpenID provider on loopback: it signs real tokens, and lies where a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT = "sentinel"
SECRET = "a-secret-between-two"


@dataclass
class Provider:
    """What it says of the person who logs in (`claims`), and how it departs from the protocol."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    token_claims: dict[str, Any] = field(default_factory=dict)
    """Claims of the identity token that replace the right ones."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Parts of its description that replace the right ones."""
    algorithm: str = "ES256"
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    signs_with: ECKey | None = None
    """The key it signs with, where that is not `key`, which it publishes."""
    asked: dict[str, str] = field(default_factory=dict)
    """The last authorization request."""

    def description(self) -> dict[str, Any]:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        described = {name: f"{self.issuer}/{path}" for name, path in paths.items()}
        described |= {"issuer": self.issuer, "userinfo_endpoint": f"{self.issuer}/userinfo"}
        return described | {"id_token_signing_alg_values_supported": ["none", "HS256", "ES256"]} | self.metadata

    def authorize(self, url: str) -> str:
        """The person logs in there: the path and query to which their browser is sent back."""
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        back = urlsplit(self.asked["redirect_uri"])
        return f"{back.path}?{urlencode({'code': 'a-code', 'state': self.asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The answer of the token endpoint, which checks the client's secret and the proof of its PKCE challenge."""
        known = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = encoded(digest).decode()
        if authorization != known or form.get("code") != "a-code" or proof != self.asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self.identity_token()}

    def identity_token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": self.asked["nonce"]}
        claims = claims | {"sub": "subject-1"} | self.claims | self.token_claims
        if self.algorithm != "ES256":
            return forged(self.algorithm, claims, self.key.as_pem(private=False))
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.signs_with or self.key)


def forged(algorithm: str, claims: dict[str, Any], public_key: bytes) -> str:
    """A token that anybody can make: not signed, or by HMAC with the key that the provider publishes."""
    header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
    signed = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    proof = b"" if algorithm == "none" else hmac.digest(public_key, signed, "sha256")
    return (signed + b"." + encoded(proof)).decode()


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


@contextmanager
def running_provider() -> Iterator[Provider]:
    provider = Provider()

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/.well-known/openid-configuration": provider.description,
                "/keys": lambda: {"keys": [provider.key.as_dict(private=False)]},
                "/userinfo": lambda: {"sub": "subject-1"} | provider.userinfo,
            }
            self._answer(200, answers[self.path]())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*provider.token(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
