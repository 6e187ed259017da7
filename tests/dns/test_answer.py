import pytest

from gatekeeper.dns.answer import Answer, Status


@pytest.mark.parametrize("status", Status)
def test_only_yes_and_the_two_kinds_of_no_are_answers(status):
    assert Answer(status).certain is (status in {Status.OK, Status.NODATA, Status.NXDOMAIN})
