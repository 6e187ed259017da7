"""What `[servers.milter]` may say."""

import pytest

from gatekeeper.servers.milter_settings import Settings


def test_the_defaults_stand():
    settings = Settings()
    assert settings.listen == ("127.0.0.1:10027",)
    assert settings.exempt_authenticated


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ({"trust": ("loopback",)}, "write a network"),
        ({"exempt_networks": ("10.0.0.1/8",)}, "write a network"),
        ({"connections": 0}, "at least 1"),
        ({"recipients": 0}, "at least 1"),
        ({"timeout": 0.0}, '"2h"'),
        ({"header_size": 0}, '"1MiB"'),
        ({"spool_memory": 0}, '"1MiB"'),
        ({"spool_disk": -1}, '"1MiB"'),
    ],
)
def test_a_bad_value_is_refused_with_its_mend(given, mend):
    with pytest.raises(ValueError, match=mend):
        Settings(**given)
