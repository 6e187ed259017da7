"""The tables of the SQLite store, and how an older file becomes a newer one. Pure."""

from __future__ import annotations

APPLICATION_ID = 0x676B7072
"""In the file's header ("gkpr"), so that `file` and we can tell it from another program's database."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # `blocks` counts every change of a block, and `block.change` says which one a row saw last: a worker asks
        # for what is newer than it knows. A block that was lifted stays as a row without an end for that reason.
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('version', 0), ('blocks', 0), ('opened', 0)",
        """
        CREATE TABLE bucket (
          key TEXT PRIMARY KEY, level REAL NOT NULL, at REAL NOT NULL, per_second REAL NOT NULL
        ) WITHOUT ROWID""",
        """
        CREATE TABLE history (
          key TEXT PRIMARY KEY, accepted INTEGER NOT NULL, refused INTEGER NOT NULL,
          first REAL NOT NULL, last REAL NOT NULL
        ) WITHOUT ROWID""",
        """
        CREATE TABLE block (
          key TEXT PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL, reason TEXT NOT NULL, record TEXT NOT NULL,
          change INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX block_change ON block (change)",
        """
        CREATE TABLE record (
          number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time REAL NOT NULL, action TEXT NOT NULL,
          score REAL NOT NULL, address TEXT NOT NULL, address_key BLOB NOT NULL, sender TEXT NOT NULL,
          sender_domain TEXT NOT NULL, recipients TEXT NOT NULL, queue_id TEXT NOT NULL, document TEXT NOT NULL
        )""",
        "CREATE INDEX record_time ON record (time)",
        "CREATE INDEX record_sender ON record (sender, time)",
        "CREATE INDEX record_sender_domain ON record (sender_domain, time)",
        "CREATE INDEX record_address ON record (address_key, time)",
        "CREATE INDEX record_queue_id ON record (queue_id) WHERE queue_id <> ''",
        # `who` is a whole address, or "@example.org" once for each domain.
        """
        CREATE TABLE recipient (
          who TEXT NOT NULL, time REAL NOT NULL, record INTEGER NOT NULL, PRIMARY KEY (who, time, record)
        ) WITHOUT ROWID""",
        "CREATE INDEX recipient_record ON recipient (record)",
    ),
    (
        # `member` is a digest of 8 octets.
        """
        CREATE TABLE sighting (
          key TEXT NOT NULL, member BLOB NOT NULL, until REAL NOT NULL, PRIMARY KEY (key, member)
        ) WITHOUT ROWID""",
        "CREATE INDEX sighting_until ON sighting (until)",
        """
        CREATE TABLE note (
          kind TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (kind, key)
        ) WITHOUT ROWID""",
        "CREATE INDEX note_until ON note (until)",
        """
        CREATE TABLE tally (
          kind TEXT NOT NULL, key TEXT NOT NULL, amount INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (kind, key)
        ) WITHOUT ROWID""",
        "CREATE INDEX tally_until ON tally (until)",
    ),
    (
        # `traits` are numbers of 4 octets, little-endian.
        """
        CREATE TABLE lesson (
          number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, spam INTEGER NOT NULL,
          traits BLOB NOT NULL, text TEXT NOT NULL, until REAL NOT NULL, UNIQUE (kind, key)
        )""",
        "CREATE INDEX lesson_until ON lesson (kind, spam, until)",
        # The sum of the lessons; the trait -1 counts the lessons themselves, and -2 their traits.
        """
        CREATE TABLE trait (
          kind TEXT NOT NULL, trait INTEGER NOT NULL, ham INTEGER NOT NULL, spam INTEGER NOT NULL,
          PRIMARY KEY (kind, trait)
        ) WITHOUT ROWID""",
    ),
    (
        # When a bucket has run empty; one that never leaks is kept for 30 days.
        """
        ALTER TABLE bucket ADD COLUMN until REAL GENERATED ALWAYS AS (
          CASE WHEN per_second > 0 THEN at + level / per_second WHEN level > 0 THEN at + 2592000.0 ELSE at END
        ) VIRTUAL""",
        "CREATE INDEX bucket_until ON bucket (until)",
        "CREATE INDEX block_until ON block (until)",
        # The order in which histories go: those of whom nothing was accepted first.
        "CREATE INDEX history_last ON history ((accepted > 0), last)",
    ),
)
"""From version n to n + 1, one transaction each. What was released is never edited, only followed by another."""

VERSION = len(MIGRATIONS)
