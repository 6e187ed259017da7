from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatekeeper.model import Address
from gatekeeper.wire.commands import CommandError, CommandLine, PathArgument, parse_mail, parse_rcpt, split

ALL = frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN"})


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(CommandError) as caught:
        call(*args, **kwargs)
    return str(caught.value.reply)


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"NOOP", "NOOP", ""),
        (b"noop", "NOOP", ""),
        (b"mail FROM:<Ab@x> ENVID=aB  ", "MAIL", "FROM:<Ab@x> ENVID=aB"),
        (b"EHLO  x", "EHLO", "x"),
        ("RCPT TO:<ö@x>".encode(), "RCPT", "TO:<ö@x>"),
    ],
)
def test_a_line_is_a_verb_and_an_argument_with_its_case(line, verb, argument):
    assert split(line) == CommandLine(verb, argument)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"", "500 5.5.2 Syntax error, command unrecognized"),
        (b" NOOP", "500 5.5.2 Syntax error, command unrecognized"),
        (b"\xff\xfe", "500 5.5.2 Syntax error, command unrecognized"),
        (b"GET/HTTP", "500 5.5.2 Syntax error, command unrecognized"),
        ("NÖÖP".encode(), "500 5.5.2 Syntax error, command unrecognized"),
        (b"NOOP a\0b", "500 5.5.2 Control character in command"),
        (b"NOOP a\rb", "500 5.5.2 Control character in command"),
        (b"MAIL FROM:<a\x1b@b>", "500 5.5.2 Control character in command"),
        (b"MAIL FROM:<a@b> X=\xc2\x85", "500 5.5.2 Control character in command"),
        (b"RCPT TO:<\xe4@b>", "500 5.5.2 Neither ASCII nor UTF-8"),
        ("EHLO ö".encode(), "501 5.5.2 Only ASCII is allowed here"),
        (b"NOOP " + b"x" * 506, "500 5.5.2 Line too long"),
        (b"MAIL " + b"x" * 2554, "500 5.5.2 Line too long"),
    ],
)
def test_what_cannot_be_a_command_is_answered(line, reply):
    assert refusal(split, line) == reply


def test_lines_may_be_as_long_as_the_standards_say():
    assert split(b"NOOP " + b"x" * 505).verb == "NOOP"
    assert split(b"RCPT " + b"x" * 2553).verb == "RCPT"


def test_the_null_sender_is_a_sender():
    assert parse_mail("FROM:<>", ALL) == PathArgument(Address("", ""), "")


def test_mail_keeps_the_case_of_path_and_parameters():
    found = parse_mail("from: <Ab@Example.ORG> SIZE=123 body=8BitMime SMTPUTF8 RET=hdrs ENVID=QQ+3D", ALL)
    assert found.address == Address("Ab", "example.org", "Ab@Example.ORG")
    assert found.path == "Ab@Example.ORG"
    assert found.parameters == ("SIZE=123", "body=8BitMime", "SMTPUTF8", "RET=hdrs", "ENVID=QQ+3D")
    assert (found.size, found.utf8) == (123, True)


def test_a_quoted_local_part_may_hold_what_ends_a_path():
    found = parse_mail(r'FROM:<"a> \" b"@example.org> SIZE=1', ALL)
    assert found.address.local == 'a> " b'
    assert found.size == 1


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("TO:<a@b>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("FROM:a@b", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("FROM:<a@b", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("FROM:<<a@b>>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ('FROM:<"a@b>', "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("FROM:<a@b>SIZE=1", "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"),
        ("FROM:<a@>", "501 5.1.7 Bad sender address: bad domain"),
        ("FROM:<a b@c>", "501 5.1.7 Bad sender address: bad local part"),
        ("FROM:<ö@example.org>", "553 5.6.7 An address that is not ASCII needs SMTPUTF8"),
        ("FROM:<a@b> FOO", "555 5.5.4 Unsupported parameter"),
        ("FROM:<a@b> AUTH=<>", "555 5.5.4 Unsupported parameter"),
        ("FROM:<a@b> MT-PRIORITY=3", "555 5.5.4 Unsupported parameter"),
        ("FROM:<a@b> NOTIFY=NEVER", "555 5.5.4 Unsupported parameter"),
        ("FROM:<a@b> SIZE", "501 5.5.4 Bad SIZE parameter"),
        ("FROM:<a@b> SIZE=x", "501 5.5.4 Bad SIZE parameter"),
        ("FROM:<a@b> SIZE=-1", "501 5.5.4 Bad SIZE parameter"),
        ("FROM:<a@b> SIZE=" + "9" * 21, "501 5.5.4 Bad SIZE parameter"),
        ("FROM:<a@b> SIZE=1 size=2", "501 5.5.4 Bad SIZE parameter"),
        ("FROM:<a@b> BODY=BINARYMIME", "501 5.5.4 Bad BODY parameter"),
        ("FROM:<a@b> SMTPUTF8=1", "501 5.5.4 Bad SMTPUTF8 parameter"),
        ("FROM:<a@b> RET=SOME", "501 5.5.4 Bad RET parameter"),
        ("FROM:<a@b> ENVID=a+zz", "501 5.5.4 Bad ENVID parameter"),
        ("FROM:<a@b> ENVID=" + "x" * 101, "501 5.5.4 Bad ENVID parameter"),
        ("FROM:<a@b> =1", "501 5.5.4 Bad parameter syntax"),
        ("FROM:<a@b> SIZE=1=2", "501 5.5.4 Bad parameter syntax"),
    ],
)
def test_mail_that_is_not_well_formed(argument, reply):
    assert refusal(parse_mail, argument, ALL) == reply


def test_parameters_of_extensions_that_are_not_offered_are_unknown():
    assert refusal(parse_mail, "FROM:<a@b> BODY=8BITMIME", ALL - {"8BITMIME"}) == "555 5.5.4 Unsupported parameter"
    assert refusal(parse_rcpt, "TO:<a@b> NOTIFY=NEVER", frozenset(), utf8=False) == "555 5.5.4 Unsupported parameter"


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS,FAILURE", "delay"])
def test_rcpt_keeps_dsn_parameters(notify):
    found = parse_rcpt(f"TO:<a@b> NOTIFY={notify} ORCPT=rfc822;Bob+40Example.com", ALL, utf8=False)
    assert found.parameters == (f"NOTIFY={notify}", "ORCPT=rfc822;Bob+40Example.com")


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:<>", "501 5.1.3 A recipient cannot be empty"),
        ("TO:<a@b@c d>", "501 5.1.3 Bad recipient address: bad domain"),
        ("TO:<ö@b>", "553 5.6.7 An address that is not ASCII needs SMTPUTF8"),
        ("FROM:<a@b>", "501 5.5.4 Syntax: RCPT TO:<address>"),
        ("TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4 Bad NOTIFY parameter"),
        ("TO:<a@b> NOTIFY=DELAY,DELAY", "501 5.5.4 Bad NOTIFY parameter"),
        ("TO:<a@b> NOTIFY=", "501 5.5.4 Bad parameter syntax"),
        ("TO:<a@b> ORCPT=x", "501 5.5.4 Bad ORCPT parameter"),
    ],
)
def test_rcpt_that_is_not_well_formed(argument, reply):
    assert refusal(parse_rcpt, argument, ALL, utf8=False) == reply


def test_postmaster_needs_no_domain_and_utf8_is_taken_where_it_was_asked_for():
    assert parse_rcpt("TO:<Postmaster>", ALL, utf8=False).address == Address("Postmaster", "", "Postmaster")
    assert parse_rcpt("TO:<ö@exämple.org>", ALL, utf8=True).address.domain == "xn--exmple-cua.org"


@given(st.binary(max_size=600))
@example(b"MAIL FROM:<" + b'"\\' * 200)
def test_no_line_does_anything_but_parse_or_be_answered(line):
    try:
        command = split(line.replace(b"\n", b""))
        parse_mail(command.argument, ALL)
    except CommandError as error:
        reply = error.reply
    else:
        return
    assert 500 <= reply.code < 560
    assert reply.text.isprintable()
    assert reply.text.isascii()


@given(st.text(alphabet='<>"\\@a. :=,;+', max_size=60))
def test_no_argument_does_anything_but_parse_or_be_answered(text):
    for argument in (f"FROM:{text}", f"TO:{text}"):
        try:
            found = parse_mail(argument, ALL) if argument[0] == "F" else parse_rcpt(argument, ALL, utf8=True)
        except CommandError:
            continue
        assert f"<{found.path}>" in text
        assert "\r" not in "".join(found.parameters)
