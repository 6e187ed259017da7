"""[servers.policy_service]: what cannot work is refused with the mend."""

import pytest

from gatekeeper.servers.policy_settings import Settings


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"listen": ("10028",)}, "127.0.0.1:25"),
        ({"trust": ("localhost",)}, "192.0.2.0/24"),
        ({"deadline": 100.0}, "60s"),
        ({"deadline": 0.0}, "60s"),
        ({"idle_timeout": 0.0}, "60s"),
        ({"remembered": 0.0}, "60s"),
        ({"remembered_mails": 0}, "at least 1"),
        ({"connections": 0}, "at least 1"),
        ({"slowed": -1}, "0 holds back none"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, mend):
    with pytest.raises(ValueError) as refused:
        Settings(**wrong)
    assert mend in str(refused.value)


def test_an_answer_comes_before_postfix_gives_up():
    assert Settings().deadline < 100
