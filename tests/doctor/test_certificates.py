"""Certificates and their keys."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from gatekeeper.doctor.certificates import look_at

NOT_AFTER = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def pair(tmp_path):
    """A certificate that ends with 2029, its key, and a key of another."""
    authority = trustme.CA()
    issued = authority.issue_cert("mx.example.org", not_after=NOT_AFTER, not_before=datetime(2026, 1, 1, tzinfo=UTC))
    certificate, key, other = (tmp_path / name for name in ("cert.pem", "key.pem", "other.pem"))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    other.write_bytes(authority.issue_cert("other.example.org").private_key_pem.bytes())
    return str(certificate), str(key), str(other)


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def test_a_good_one_has_no_faults_and_so_many_days(pair):
    found = look_at(pair[0], pair[1], now=at(NOT_AFTER - timedelta(days=30)))
    assert found.faults == ()
    assert found.days_left == pytest.approx(30, abs=1)


def test_one_that_is_over_or_not_yet_in_force_is_a_fault(pair):
    assert "expired on 20" in look_at(pair[0], pair[1], now=at(NOT_AFTER + timedelta(days=2))).faults[0]
    assert "in force from" in look_at(pair[0], pair[1], now=at(datetime(2025, 1, 1, tzinfo=UTC))).faults[0]


def test_a_key_of_another_is_a_fault(pair):
    [fault] = look_at(pair[0], pair[2], now=at(NOT_AFTER - timedelta(days=30))).faults
    assert "is not the key of" in fault


def test_what_cannot_be_read_is_a_fault(pair, tmp_path):
    faults = look_at(str(tmp_path / "absent.pem"), pair[1]).faults
    assert faults == (f"{tmp_path}/absent.pem cannot be read: No such file or directory",)
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    assert "is no certificate in PEM form" in look_at(str(wrong), pair[1]).faults[0]
    assert any("is no key in PEM form" in each for each in look_at(pair[0], str(wrong)).faults)


def test_key_and_certificate_may_share_a_file(pair, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(open(path, "rb").read() for path in pair[:2]))  # noqa: SIM115, PTH123 - short
    assert look_at(str(both), "", now=at(NOT_AFTER - timedelta(days=30))).faults == ()
