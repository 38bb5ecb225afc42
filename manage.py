#!/usr/bin/env python
"""Django's command line. `--config FILE` before or after the command names the configuration file."""

import os
import sys


def take_config_option(argv: list[str]) -> list[str]:
    """Move `--config FILE` into SENTINEL_CONFIG, because settings are read before any command parses its options."""
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--config" and (value := value if equals else next(words, "")):
            os.environ["SENTINEL_CONFIG"] = value
        else:
            rest.append(word)
    return rest


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sentinel_site.settings")
    argv = take_config_option(sys.argv)
    if argv[1:2] == ["check_config"]:  # must speak when the configuration is too wrong for Django to start
        from sentinel_site.config.report import main as check_config
        from sentinel_site.standalone.environment import adopt_running

        adopt_running(argv[1])  # what is in force beside a running standalone is what that runs with
        sys.exit(check_config(argv[2:]))
    if argv[1:2] == ["standalone"]:  # chooses the embedded parts before settings are read
        from sentinel_site.standalone.environment import prepare_environment

        prepare_environment()
    elif len(argv) > 1:
        from sentinel_site.standalone.environment import adopt_running

        adopt_running(argv[1])
        # Files need no service, hence no secret.
        if argv[1] in ("plan_capacity", "prices", "scrub") or (argv[1] == "backtest" and "--from-store" not in argv):
            os.environ.setdefault("SENTINEL__ENVIRONMENT", "development")
    from sentinel_site.config import ConfigError

    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(argv)
    except ConfigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
