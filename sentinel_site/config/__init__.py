"""The typed configuration: `config/sentinel.yaml` and the environment, checked as a whole before anything starts."""

from sentinel_site.config.loading import load_config
from sentinel_site.config.model import Config
from sentinel_site.config.problems import ConfigError, Problem

__all__ = ["Config", "ConfigError", "Problem", "load_config"]
