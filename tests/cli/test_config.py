"""`gatekeeper config`."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gatekeeper.config import load, read
from gatekeeper.config.shipped import example_file
from gatekeeper.rules.ruleset import _ruleset
from tests.support.command_line import configuration
from tests.support.command_line import gatekeeper as call


def test_a_good_file_is_called_good(tmp_path):
    file = configuration(tmp_path, "[servers.smtp]\n[checks.helo]\nenabled = false")
    ended = call("config", "check", file)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{file}: good; {len(load(file).checks)} checks; smtp\n"


@pytest.mark.parametrize("name", ["smtp", "milter", "policy_service", "http"])
def test_each_server_that_is_opened_is_named(tmp_path, name):
    ended = call("config", "check", configuration(tmp_path, f"[servers.{name}]"))
    assert ended.out.endswith(f" checks; {name}\n")


def test_a_file_that_opens_no_server_is_good_but_said_to_be_so(tmp_path):
    assert "no server: add [servers.smtp]" in call("config", "check", configuration(tmp_path)).out


def test_a_misspelt_key_is_named_with_line_and_right_spelling(tmp_path):
    file = configuration(tmp_path, "[servers.smtp]\nnext_hpo = 'smtp://127.0.0.1:25'")
    ended = call("config", "check", "-c", file)
    assert ended.status == 2
    assert ended.err == f"{file}:3: servers.smtp.next_hpo: unknown setting; did you mean 'next_hop'?\n"


def test_every_mistake_is_named(tmp_path):
    ended = call("config", "check", configuration(tmp_path, "[polcy]\n[web]"))
    assert (ended.status, ended.err.count("\n")) == (2, 2)


DNSBL = '[[checks.dnsbl.lists]]\nzone = "x.example"\nscore = 1.0\nname = '


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ("[policy\ntag = 1.0", "2: ", "Expected ']'"),
        ("[policy]\ntag = 1.0\ntag = 2.0", "4: ", "keep one"),
        ('[policy]\ntag = "five"', "3: policy.tag: ", "without quotes"),
        ("[policy]\ntag = 11.0", "3: policy.tag: ", "make tag the smaller one"),
        ("[policy.scores]\nSPF_FIAL = 3.0", "3: policy.scores.SPF_FIAL: ", "did you mean 'SPF_FAIL'?"),
        ('[[policy.for]]\nrecipients = ["a@b.example"]\ntagg = 3.0', "4: policy.for.tagg: ", "did you mean 'tag'?"),
        ("[servers.smpt]", "2: servers.smpt: ", "did you mean 'servers.smtp'?"),
        ("[servers]\nsmtp = 3", "3: servers.smtp: ", "must be a section: [servers.smtp]"),
        ('[servers.smtp]\nlisten = ["nonsense"]', "3: servers.smtp.listen: ", "127.0.0.1:25"),
        ('[servers.smtp]\n\nnext_hop = "http://x"', "4: servers.smtp.next_hop: ", "smtp://host:port"),
        ('[servers.smtp]\ntrust = ["127.0.0.1", "300.0.0.1"]', "3: servers.smtp.trust: ", "192.0.2.0/24"),
        ('[servers.smtp]\nlisten = ["127.0.0.1:10026"]', "3: servers.smtp.listen: ", "name the mail server behind"),
        ('[servers.smtp]\nmessage_size = "10 XB"', "3: servers.smtp.message_size: ", 'such as "10MiB"'),
        ('[servers.smtp]\nbare_newline = "rejct"', "3: servers.smtp.bare_newline: ", "did you mean 'reject'?"),
        ("[servers.smtp]\nerrors = 0", "3: servers.smtp.errors: ", "at least 1"),
        ("[dns]\ntimeout = 3", "3: dns.timeout: ", 'write "3s"'),
        ('[dns]\ntimeout = "3 parsecs"', "3: dns.timeout: ", "ms, s, m, h or d"),
        ('[store]\nurl = "mysql://x"', "3: store.url: ", "sqlite:/var/lib/gatekeeper/state.db"),
        ("[checks.spf]\nenable = false", "3: checks.spf.enable: ", "did you mean 'enabled'?"),
        ("[checks.stacking]\nbudget = 0.0", "3: checks.stacking.budget: ", "enabled = false"),
        ('[[checks.dnsbl.lists]]\nname = "X"', "2: checks.dnsbl.lists.zone: ", "is required"),
        (f'{DNSBL}"X"\n{DNSBL}"Y"', "2: checks.dnsbl: ", "write all its codes into one list"),
        ('[log]\nlevel = "loud"', "3: log.level: ", '"debug", "info"'),
        ('relay_domains = "example.org"', "2: relay_domains: ", 'such as ["…"]'),
        ('[policy]\nhostname = "x"', "3: policy.hostname: ", "above the first [section]"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_mend(tmp_path, text, place, mend):
    file = tmp_path / "gatekeeper.toml"
    file.write_text(f'hostname = "mx.example.org"\n{text}\n')
    ended = call("config", "check", str(file))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"{file}:{place}")
    assert mend in ended.err
    assert "Traceback" not in ended.err


def test_what_is_in_force_is_shown_as_a_file_that_means_the_same(tmp_path):
    file = configuration(tmp_path, "[policy]\ntag = 4")
    shown = call("config", "show", "-c", file).out
    assert "tag = 4.0\n" in shown
    assert read(shown, "shown") == load(file)


def test_a_file_to_begin_with_is_shown_without_having_one(tmp_path):
    ended = call("config", "document", environment={"GATEKEEPER_CONFIG": str(tmp_path / "none")})
    assert (ended.status, ended.out) == (0, example_file())


SIGNING = '[[mailauth.signing.keys]]\ndomain = "example.org"\nselector = "s1"\nfile = '


def test_a_signing_key_that_cannot_be_used_is_said(tmp_path):
    there, away = tmp_path / "open.pem", tmp_path / "away.pem"
    there.write_bytes(private_pem(Ed25519PrivateKey.generate()))
    there.chmod(0o644)
    text = f"{SIGNING}'{there}'\n{SIGNING.replace('s1', 's2')}'{away}'"
    file = configuration(tmp_path, text)
    ended = call("config", "check", file)
    assert (ended.status, ended.out) == (2, "")
    first, second = ended.err.splitlines()
    place = f"{file}: [[mailauth.signing.keys]]: the signing key"
    assert first == f"{place} {there} is open to everybody on this machine: chmod 0640 {there}"
    assert second == f"{place} {away} cannot be read: No such file or directory"


def test_a_signing_key_that_is_only_ours_is_good(tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes(private_pem(Ed25519PrivateKey.generate()))
    key.chmod(0o640)
    assert call("config", "check", configuration(tmp_path, f"{SIGNING}'{key}'")).status == 0


@pytest.mark.parametrize(
    ("more", "mend"),
    [
        ("tls_ca_file = '{}/away.pem'", "cannot be read: No such file or directory; put it there, or name another"),
        ("tls_ca_file = '{}/gatekeeper.toml'", "holds no certificate in PEM"),
        ("", "write it as tls_name in [nexthop]"),
    ],
)
def test_authorities_that_cannot_be_used_are_said(tmp_path, more, mend):
    hop = "[servers.smtp]\n" if more else "[servers.smtp]\nnext_hop = 'lmtp+unix:///run/lmtp'\n"
    file = configuration(tmp_path, f"{hop}[nexthop]\ntls = 'verify'\n{more.format(tmp_path)}")
    ended = call("config", "check", file)
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"{file}: [nexthop]: ")
    assert mend in ended.err
    assert call("config", "check", configuration(tmp_path, "[servers.smtp]\n[nexthop]\ntls = 'verify'")).status == 0


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_each_rule_is_tried_with_its_own_messages(tmp_path):
    rules = tmp_path / "own.toml"
    rules.write_text(
        "[OUR_OWN]\nabout = 'Ours.'\nscore = 0.5\nseen = 'our own'\nmatch = \"\\nours\"\nno_match = \"\\nx\"\n"
    )
    ended = call("config", "check", configuration(tmp_path, f"[checks.rules]\npaths = ['{rules}']"))
    assert ended.status == 2
    assert ended.err == f"{rules}:5: OUR_OWN.match: the message of match is not matched: mend the rule or the message\n"
    rules.write_text(rules.read_text().replace('"\\nours"', '"\\nour own"'))
    assert call("config", "check", configuration(tmp_path, f"[checks.rules]\npaths = ['{rules}']")).status == 0


def test_a_machine_without_the_engine_is_told_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr("gatekeeper.rules.automaton.AVAILABLE", False)
    _ruleset.cache_clear()
    try:
        ended = call("config", "check", configuration(tmp_path))
    finally:
        _ruleset.cache_clear()
    assert ended.status == 0
    assert "rules have patterns and are not looked for: hyperscan is not there" in ended.out
