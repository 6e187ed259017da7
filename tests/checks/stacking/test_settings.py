"""Settings that fit together, and what is said of those that do not."""

import pytest

from gatekeeper.checks.stacking.settings import Settings


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"budget": 0.0}, "budget"),
        ({"refill": 0.0}, "refill"),
        ({"window": 0.0}, "window"),
        ({"blind_at": 0.5}, "blind_at"),
        ({"blind_at": 5.0, "block_at": 4.0}, "blind_at"),
        ({"network_factor": 0.5}, "network_factor"),
        ({"helo_factor": 0.5}, "helo_factor"),
        ({"domain_budget": 2001}, "domain_budget"),
        ({"domain_budget": -1}, "domain_budget"),
        ({"dictionary_clients": -1}, "dictionary_clients"),
        ({"dictionary_names": 0}, "dictionary_names"),
        ({"trap_clients": 0}, "trap_clients"),
        ({"traps": ("former",)}, "former = "),
        ({"former": "/nowhere/at/all"}, "cannot be read"),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad, told):
    with pytest.raises(ValueError, match=told):
        Settings(**bad)


def test_the_file_of_former_addresses_is_read_when_the_settings_are_made(tmp_path):
    file = tmp_path / "former"
    file.write_text("Anna@example.org\n")
    made = Settings(former=str(file), traps=("former",))
    file.write_text("ben@example.org\n")  # taken up by the next generation, at SIGHUP
    assert made.former_addresses == {"anna@example.org"}
    assert Settings(former=str(file)).former_addresses == {"ben@example.org"}
    assert Settings().former_addresses == frozenset()
