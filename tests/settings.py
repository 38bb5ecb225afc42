"""Settings of the test suite: the product's own, with the parts that the environment offers."""

import os
import tempfile

# One name per run: two runs on one machine must not drop each other's database. pytest-django adds the worker's.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:8]
_PRESET = {
    "SENTINEL__ENVIRONMENT": "development",
    "SENTINEL__STORAGE__BACKEND": "database",
    # Ten samples are enough for it to tell of something, which is what tests of the ways there need.
    "SENTINEL__DETECTION__MODE": "classic",
    "SENTINEL__API__ALLOWED_HOSTS": '["localhost", "127.0.0.1", "testserver"]',
    # What one test knows of its database is wrong in the next.
    "SENTINEL__API__ACCESS_CACHE_SECS": "0",
    "SENTINEL_LOG_LEVEL": "warn",
    "SENTINEL_LOG_JSON": "false",
}
for _name, _value in _PRESET.items():
    os.environ[_name] = _value
if _postgres := os.environ.get("SENTINEL_TEST_POSTGRES"):
    os.environ["SENTINEL__DATABASE__URL"] = _postgres
else:
    os.environ["SENTINEL__DATABASE__URL"] = f"sqlite:///{tempfile.gettempdir()}/sentinel-{_RUN}.sqlite3"
# Redis in process unless a test asks for the real one: tests run in parallel and would share its keys.
os.environ["SENTINEL__STORAGE__REDIS__URL"] = "fakeredis://"
os.environ["SENTINEL__CELERY__BROKER_URL"] = "memory://"

from sentinel_site.settings import *  # noqa: E402, F403

# A file, not memory: threads share it, and lock it as they would in the standalone.
_TEST_NAME = f"test_sentinel_{_RUN}" if _postgres else f"{tempfile.gettempdir()}/test-sentinel-{_RUN}.sqlite3"
DATABASES["default"]["TEST"] = {"NAME": _TEST_NAME}  # noqa: F405
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405  WhiteNoise warns where collectstatic never ran
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
