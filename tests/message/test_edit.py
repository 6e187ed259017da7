"""Verdicts become header fields; forged ones go, others stay byte for byte, nothing can be smuggled in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.message.edit import Change, Edit, Insert, Remove, Settings, apply, edits
from gatekeeper.model import Action, BytesBody, Contribution, Message, Thresholds, Verdict
from gatekeeper.wire.auth_results import authserv_id_of
from gatekeeper.wire.headers import parse_header

OURS = "mx.example.org"
DEFAULT = Settings()
PREFIX = Settings(subject_prefix="[SPAM] ")


def message(header: bytes, body: bytes = b"text\r\n", *, separator: bool = True) -> Message:
    return Message(header, BytesBody(body), separator=separator)


def verdict(millis: int = 0, action: Action = Action.ACCEPT, *rules: str, decided_by: str | None = None) -> Verdict:
    contributions = tuple(Contribution(rule, millis if not n else 0) for n, rule in enumerate(rules))
    return Verdict(action, millis, Thresholds(5000, 10000), contributions, decided_by=decided_by)


TAGGED = verdict(5300, Action.TAG, "DNSBL_ZEN", "SPF_FAIL")


def made(
    header: bytes,
    judged: Verdict | None = None,
    settings: Settings = DEFAULT,
    *,
    results: str | None = None,
    received: str | None = None,
) -> bytes:
    mail = message(header)
    todo = edits(
        mail,
        judged or verdict(),
        authserv_id=OURS,
        auth_results=results,
        settings=settings,
        received=received,
    )
    return apply(mail, todo)


def test_a_message_that_passes_gets_score_and_status():
    assert made(b"From: a@b.example\r\n", verdict(-250, Action.ACCEPT, "DNSWL")) == (
        b"X-Spam-Score: -0.25\r\nX-Spam-Status: No, score=-0.25 required=5.0 tests=DNSWL\r\nFrom: a@b.example\r\n"
    )


def test_a_tagged_message_gets_flag_and_level_too():
    assert made(b"From: a@b.example\r\n", TAGGED) == (
        b"X-Spam-Flag: YES\r\n"
        b"X-Spam-Score: 5.3\r\n"
        b"X-Spam-Level: *****\r\n"
        b"X-Spam-Status: Yes, score=5.3 required=5.0 tests=DNSBL_ZEN,SPF_FAIL\r\n"
        b"From: a@b.example\r\n"
    )


@pytest.mark.parametrize(
    ("judged", "lines"),
    [
        (verdict(), [b"X-Spam-Score: 0.0", b"X-Spam-Status: No, score=0.0 required=5.0 tests=none"]),
        (verdict(1), [b"X-Spam-Score: 0.001"]),
        (verdict(-1), [b"X-Spam-Score: -0.001"]),
        (verdict(12_340), [b"X-Spam-Score: 12.34"]),
        (verdict(999_000, Action.TAG), [b"X-Spam-Level: " + b"*" * 50]),
        (
            verdict(-3000, Action.TAG, decided_by="DMARC_QUARANTINE"),
            [b"X-Spam-Flag: YES", b"X-Spam-Status: Yes, score=-3.0 required=5.0 tests=DMARC_QUARANTINE"],
        ),
        (verdict(0, Action.ACCEPT, "A\r\nEvil: x"), [b"X-Spam-Status: No, score=0.0 required=5.0 tests=A__Evil__x"]),
    ],
)
def test_scores_are_exact_and_rules_harmless(judged: Verdict, lines: list[bytes]):
    written = made(b"", judged).split(b"\r\n")
    assert set(lines) <= set(written)


def test_a_level_below_one_point_is_not_written():
    assert b"X-Spam-Level" not in made(b"", verdict(900, Action.TAG))


def test_the_level_character_can_be_chosen():
    assert b"X-Spam-Level: xxxxx\r\n" in made(b"", TAGGED, Settings(level_character="x"))


def test_a_long_status_is_folded_below_78_columns():
    rules = [f"RULE_WITH_A_RATHER_LONG_NAME_{n}" for n in range(30)]
    block = made(b"From: a@b.example\r\n", verdict(1000, Action.ACCEPT, *rules))
    assert max(map(len, block.split(b"\r\n"))) < 78
    status = parse_header(block).first("x-spam-status")
    assert status is not None
    assert status.text.replace(" ", "").endswith("tests=" + ",".join(rules))


def test_a_subject_is_prefixed_once_and_only_from_tag_on():
    subject = b"Subject: =?utf-8?q?x?=\r\n more\r\n"
    assert b"\r\nSubject: [SPAM] =?utf-8?q?x?=\r\n more\r\n" in made(subject, TAGGED, PREFIX)
    assert made(subject, verdict(), PREFIX).endswith(b"\r\n" + subject)
    assert made(subject, TAGGED).endswith(b"\r\n" + subject)
    assert b"[SPAM] [SPAM]" not in made(b"Subject: [SPAM] x\r\n", TAGGED, PREFIX)


def test_a_subject_keeps_bytes_that_are_no_text():
    assert b"Subject: [SPAM] Gr\xfc\xdfe\r\n" in made(b"subject:Gr\xfc\xdfe\r\n", TAGGED, PREFIX).replace(
        b"sub", b"Sub"
    )


def test_a_missing_subject_is_written():
    assert b"\r\nSubject: [SPAM]\r\n" in b"\r\n" + made(b"From: a@b.example\r\n", TAGGED, PREFIX)


def test_a_prefix_that_is_not_ascii_becomes_an_encoded_word():
    block = made(b"Subject: x\r\n", TAGGED, Settings(subject_prefix="[MÜLL] "))
    assert b"\r\nSubject: =?utf-8?b?W03DnExMXSA=?= x\r\n" in block


def test_a_long_subject_line_does_not_get_too_long():
    block = made(b"Subject: " + b"x" * 985 + b"\r\n", TAGGED, PREFIX)
    assert b"\r\nSubject: [SPAM]\r\n xxx" in block
    assert max(map(len, block.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("signature", [b"DKIM-Signature: v=1\r\n", b"ARC-Message-Signature: i=1\r\n"])
def test_a_signed_subject_is_touched_only_when_told(signature: bytes):
    assert b"\r\nSubject: x\r\n" in made(signature + b"Subject: x\r\n", TAGGED, PREFIX)
    told = Settings(subject_prefix="[SPAM] ", subject_prefix_breaks_signatures=True)
    assert b"\r\nSubject: [SPAM] x\r\n" in made(signature + b"Subject: x\r\n", TAGGED, told)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"subject_prefix": "a\r\nb"}, "subject_prefix"),
        ({"subject_prefix": "x" * 41}, "subject_prefix"),
        ({"level_character": ""}, "level_character"),
        ({"level_character": "("}, "level_character"),
        ({"level_character": "**"}, "level_character"),
    ],
)
def test_settings_that_would_break_a_header_are_refused(values: dict[str, str], word: str):
    with pytest.raises(ValueError, match=word):
        Settings(**values)  # type: ignore[arg-type]  # only strings are in the table


FORGED = [
    b"X-Spam-Flag: NO\r\n",
    b"x-spam-score: -10\r\n",
    b"X-Spam-Level: *\r\n",
    b"X-SPAM-STATUS: No,\r\n score=-10\r\n",
    b"X-Spam-Status : No\r\n",
    b"X-Spam-Checker-Version: x\r\n",
    b"X-Spam: no\r\n",
    b"X-Sp\0am-Flag: NO\r\n",
    b"Authentication-Results: mx.example.org; dkim=pass\r\n",
    b"Authentication-Results: MX.Example.ORG.; dkim=pass\r\n",
    b"Authentication-Results:\r\n (c (c)) mx.example.org\r\n 1; dkim=pass\r\n",
    b'authentication-results: "mx.example.\\org"; dkim=pass\r\n',
    b"Authentication-Results: dkim=pass header.d=x.example\r\n",
    b"Authentication-Results: (mx.example.org; dkim=pass\r\n",
    b"Authentication-Results: mx.example.org dkim=pass\r\n",
    b"Authentication-Results: =?utf-8?q?mx.example.org?=; dkim=pass\r\n",
    b"Authentication-Results : other.example; dkim=pass\r\n",
    b"Authentication-Results:\r\n",
]
HONEST = [
    b"From: a@b.example\r\n",
    b"Authentication-Results: other.example; dkim=pass\r\n",
    b"Authentication-Results: (x) other.example 1; none\r\n",
    b"ARC-Authentication-Results: i=1; mx.example.org; dkim=pass\r\n",
    b"X-Spamd: x\r\n",
    b"Authentication-Results-Original: mx.example.org; none\r\n",
    b"Subject: X-Spam-Flag: NO\r\n",
    b"junk\r\n",
]


@pytest.mark.parametrize("field", FORGED)
def test_a_forged_field_is_removed(field: bytes):
    before, after = b"To: c@d.example\r\n", b"From: a@b.example\r\n"
    assert made(before + field + after).endswith(b"tests=none\r\n" + before + after)


@pytest.mark.parametrize("field", HONEST)
def test_other_fields_stay(field: bytes):
    assert made(b"To: c@d.example\r\n" + field).endswith(b"\r\nTo: c@d.example\r\n" + field)


@given(st.lists(st.sampled_from(FORGED + HONEST), max_size=12))
@settings(deadline=None)
def test_after_the_edits_only_ours_claim_to_be_ours(fields: list[bytes]):
    block = made(b"To: c@d.example\r\n" + b"".join(fields), TAGGED, results=f"{OURS}; spf=pass")
    header = parse_header(block)
    claims = [field for field in header.all("authentication-results") if authserv_id_of(field.value) in {OURS, None}]
    assert [field.index for field in claims] == [0]
    spam = [field.index for field in header.fields if field.name == "x-spam" or field.name.startswith("x-spam-")]
    assert spam == [1, 2, 3, 4]
    assert block.endswith(b"".join([b"\r\nTo: c@d.example\r\n", *(field for field in fields if field in HONEST)]))


def test_removals_come_first_and_highest_index_first():
    header = b"X-Spam-Flag: a\r\nAuthentication-Results: other.example; none\r\n"
    header += b"X-Spam-Flag: b\r\nAuthentication-Results: mx.example.org; none\r\nX-Spam-Flag: c\r\n"
    todo = edits(message(header), verdict(), authserv_id=OURS, auth_results="x; none", settings=DEFAULT, received="r")
    assert todo[:4] == [
        Remove("x-spam-flag", 3),
        Remove("authentication-results", 2),
        Remove("x-spam-flag", 2),
        Remove("x-spam-flag", 1),
    ]
    assert [edit.name for edit in todo[4:]] == ["X-Spam-Status", "X-Spam-Score", "Authentication-Results", "Received"]


def test_results_and_trace_stand_on_top_and_cannot_end_their_lines():
    block = made(
        b"From: a@b.example\r\n",
        results=f"{OURS};\r\n spf=pass\r\nEvil: x\0é",
        received="from x\r\n\tby y\r\n \r\n z\nEvil: y",
    )
    assert block.startswith(
        b"Received: from x\r\n by y\r\n z?Evil: y\r\n"
        b"Authentication-Results: mx.example.org;\r\n spf=pass??Evil: x??\r\n"
    )


def test_without_edits_the_header_is_the_same():
    mail = message(b"From: a@b.example\r\nno field\r\n\xff: x\r")
    assert apply(mail, []) is mail.header


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_edits_that_name_nothing_change_nothing(header: bytes):
    todo: list[Edit] = [Remove("no-such", 1), Change("no-such", 2, "x"), Remove("from", 99)]
    assert apply(message(header), todo) == header


def test_inserts_below_the_top_and_changes_by_occurrence():
    mail = message(b"A: 1\r\nB: 2\r\nA: 3\r\n")
    todo: list[Edit] = [
        Remove("B", 1),
        Change("a", 2, "new"),
        Insert(1, "C", "c"),
        Insert(99, "D", "d"),
        Insert(0, "E", "e"),
    ]
    assert apply(mail, todo) == b"E: e\r\nA: 1\r\nC: c\r\nA: new\r\nD: d\r\n"


@given(st.text(max_size=60) | st.text(alphabet="\r\n \tX:a\0", max_size=30), st.sampled_from(["insert", "change"]))
@settings(deadline=None)
def test_no_value_can_add_a_line_of_its_own(value: str, how: str):
    mail = message(b"Subject: x\r\nFrom: a@b.example\r\n")
    edit = Insert(0, "Subject", value) if how == "insert" else Change("Subject", 1, value)
    if any(0xD800 <= ord(sign) < 0xDC80 or 0xDCFF < ord(sign) < 0xE000 for sign in value):
        return  # no surrogate escapes; nothing makes such values
    header = parse_header(apply(mail, [edit]))
    assert [field.name for field in header.fields] == (["subject"] * (2 if how == "insert" else 1)) + ["from"]
    assert header.malformed == ()


def whole(mail: Message, header: bytes) -> bytes:
    return b"".join(Message(header, mail.body, separator=mail.separator).chunks())


def test_a_message_without_header_keeps_its_text_as_text():
    for mail in (message(b"", b"Evil: x\r\n"), message(b"", b" folded\r\n", separator=False)):
        text = whole(mail, apply(mail, [Insert(0, "X-Spam-Score", "0.0")]))
        assert text == b"X-Spam-Score: 0.0\r\n\r\n" + mail.body.data  # type: ignore[attr-defined]  # bytes in tests


def test_an_empty_message_gets_a_header_only():
    mail = message(b"", b"", separator=False)
    assert whole(mail, apply(mail, [Insert(0, "X-Spam-Score", "0.0")])) == b"X-Spam-Score: 0.0\r\n"


def test_a_first_line_that_continues_nothing_is_not_glued_to_ours():
    mail = message(b" Evil: x\r\nFrom: a@b.example\r\n")
    assert apply(mail, [Insert(0, "X-Spam-Score", "0.0")]) == b"X-Spam-Score: 0.0\r\n\r\n" + mail.header
    assert apply(mail, [Remove("evil", 1), Insert(0, "A", "b")]) == b"A: b\r\nFrom: a@b.example\r\n"


def test_the_line_of_an_mbox_file_does_not_hide_the_fields_below_it():
    mail = message(b"From joe Mon Jan  1 00:00:00 2024\r\nFrom: a@b.example\r\n")
    assert apply(mail, [Insert(0, "X-Spam-Score", "0.0")]) == (
        b"X-Spam-Score: 0.0\r\nX-Mailbox-Line: From joe Mon Jan  1 00:00:00 2024\r\nFrom: a@b.example\r\n"
    )


@given(
    st.lists(
        st.sampled_from([b"From: a\r\n", b" x\r\n", b"junk\r\n", b"X-Spam-Flag: y\r\n", b"From x\r\n"]), max_size=6
    )
)
@settings(deadline=None)
def test_our_fields_are_whole_whatever_came_first(lines: list[bytes]):
    block = made(b"".join(lines), TAGGED, results=f"{OURS}; none")
    ours = parse_header(block.partition(b"\r\n\r\n")[0] + b"\r\n").fields[:5]
    assert [field.value.strip() for field in ours[:3]] == [b"mx.example.org; none", b"YES", b"5.3"]
    assert ours[4].value == b" Yes, score=5.3 required=5.0 tests=DNSBL_ZEN,SPF_FAIL"
