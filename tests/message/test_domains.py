import pytest

from gatekeeper.message.domains import own_label, registered_domain


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.com", "example.com"),
        ("shop.blogspot.com", "shop.blogspot.com"),  # given out to strangers, as a registry does
        ("co.uk", ""),
        ("com", ""),
        ("localhost", ""),
        ("host.internal-only", ""),
        ("", ""),
        ("a." * 200 + "com", ""),
    ],
)
def test_the_registered_part_of_a_name(host, domain):
    assert registered_domain(host) == domain


def test_what_was_chosen_in_it():
    assert own_label("example.co.uk") == "example"
