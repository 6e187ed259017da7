"""Whose name a message uses, and whether it may."""

import re

import pytest

from gatekeeper.message.content import content_of
from gatekeeper.rules.brands import brand_facts, brand_pattern
from tests.support.mail import message_of

BRANDS = {"paypal": ("paypal.com",), "wells fargo": ("wellsfargo.com",), "支付宝": ("alipay.com",)}


def facts(named: dict[str, list[str]], home: str, link: str = "https://else.net/in") -> dict[str, int]:
    return brand_facts(named, BRANDS, content_of(message_of(f"Subject: x\n\nSee {link}\n")), home)


@pytest.mark.parametrize(
    ("named", "home", "link", "found"),
    [
        ({"author": ["paypal"]}, "else.net", "https://else.net/", {"brand_name": 1}),
        ({"author": ["paypal"]}, "paypal.com", "https://else.net/", {}),
        ({"author": ["paypal"]}, "paypal.fr", "https://else.net/", {}),  # its own word
        ({"author": ["wells fargo"]}, "wellsfargo.com", "https://else.net/", {}),
        ({"subject": ["paypal"]}, "else.net", "https://else.net/", {"brand_subject": 1, "brand_links": 1}),
        ({"subject": ["paypal"]}, "else.net", "https://www.paypal.com/", {"brand_subject": 1}),
        ({"seen": ["paypal"]}, "else.net", "https://else.net/", {"brand_links": 1}),
        ({"seen": ["paypal", "wells fargo"]}, "paypal.com", "https://else.net/", {}),  # one of them is at home
        ({"author": ["支付宝"]}, "", "https://else.net/", {"brand_name": 1}),
        ({}, "else.net", "https://else.net/", {}),
    ],
)
def test_a_stranger_who_uses_a_brands_name_is_told(named, home, link, found):
    assert facts(named, home, link) == found


def test_a_name_is_found_word_for_word():
    assert re.search(brand_pattern("paypal"), "the paypal team")
    assert not re.search(brand_pattern("paypal"), "paypalish")
    assert re.search(brand_pattern("支付宝"), "您的支付宝账户")
    assert not re.search(brand_pattern("booking.com"), "bookingxcom")
