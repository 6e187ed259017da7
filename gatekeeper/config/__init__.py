"""The configuration: TOML sections -> the settings dataclass of the module of that name."""

from gatekeeper.config.configuration import Configuration, defaults, load, read
from gatekeeper.config.loading import ConfigurationError, Problem

__all__ = ["Configuration", "ConfigurationError", "Problem", "defaults", "load", "read"]
