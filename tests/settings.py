"""Settings of the test suite: the product's own, with the parts that the environment offers."""

import os
import tempfile

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_SECRETS = {
    "SENTINEL__ENVIRONMENT": "development",
    "SENTINEL__STORAGE__BACKEND": "database",
    "SENTINEL__API__ALLOWED_HOSTS": '["localhost", "127.0.0.1", "testserver"]',
    "SENTINEL_LOG_LEVEL": "warn",
    "SENTINEL_LOG_JSON": "false",
}
for _name, _value in _SECRETS.items():
    os.environ[_name] = _value
if _postgres := os.environ.get("SENTINEL_TEST_POSTGRES"):
    os.environ["SENTINEL__DATABASE__URL"] = _postgres
else:
    os.environ["SENTINEL__DATABASE__URL"] = f"sqlite:///{tempfile.gettempdir()}/sentinel-tests-{os.getpid()}.sqlite3"
# Redis in process unless a test asks for the real one: tests run in parallel and would share its keys.
os.environ["SENTINEL__STORAGE__REDIS__URL"] = "fakeredis://"
os.environ["SENTINEL__CELERY__BROKER_URL"] = "memory://"

from sentinel_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
