from __future__ import annotations

import pytest

from gatekeeper.model import Reply
from gatekeeper.servers import answers, receiving, relay
from gatekeeper.wire.replies import encode, enhanced_code

OURS = [
    (f"{module.__name__}.{name}", reply)
    for module in (answers, receiving, relay)
    for name, reply in vars(module).items()
    if isinstance(reply, Reply)
]


@pytest.mark.parametrize("reply", [reply for _, reply in OURS], ids=[name for name, _ in OURS])
def test_every_answer_of_ours_has_an_enhanced_code_of_its_class_and_fits_a_line(reply):
    if reply.code != 354:  # RFC 2034 §4: not on 3xx
        assert enhanced_code(reply) is not None
    assert encode(reply).count(b"\r\n") == 1
    assert reply.text.isascii()
