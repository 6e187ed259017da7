"""Rules about what a message says and how it is made: data in TOML files, compiled into one automaton."""
