"""`gatekeeper config`."""

from gatekeeper.config import load, read
from gatekeeper.config.shipped import example_file
from tests.support.command_line import configuration
from tests.support.command_line import gatekeeper as call


def test_a_good_file_is_called_good(tmp_path):
    file = configuration(tmp_path, "[servers.smtp]\n[checks.helo]\nenabled = false")
    ended = call("config", "check", file)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{file}: good; {len(load(file).checks)} checks; smtp\n"


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


def test_what_is_in_force_is_shown_as_a_file_that_means_the_same(tmp_path):
    file = configuration(tmp_path, "[policy]\ntag = 4")
    shown = call("config", "show", "-c", file).out
    assert "tag = 4.0\n" in shown
    assert read(shown, "shown") == load(file)


def test_a_file_to_begin_with_is_shown_without_having_one(tmp_path):
    ended = call("config", "document", environment={"GATEKEEPER_CONFIG": str(tmp_path / "none")})
    assert (ended.status, ended.out) == (0, example_file())
