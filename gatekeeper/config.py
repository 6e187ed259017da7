"""TOML sections -> the settings dataclass of the module of that name."""
