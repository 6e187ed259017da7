"""The schema of the SQLite file only ever grows."""

import hashlib

from gatekeeper.store.schema import MIGRATIONS, VERSION

RELEASED = ("4ef21efc37f868ce",)
"""A digest of each migration that was released: an edit of one would leave existing files behind."""


def test_there_is_a_migration_for_each_version():
    assert len(MIGRATIONS) == VERSION


def test_no_migration_that_was_released_is_edited():
    digests = tuple(hashlib.sha256(repr(one).encode()).hexdigest()[:16] for one in MIGRATIONS)
    assert digests[: len(RELEASED)] == RELEASED
