"""The table of commands, and what all of them have alike."""

import subprocess
import sys
from pathlib import Path

import pytest

import gatekeeper
from gatekeeper.cli.app import app
from tests.support.command_line import gatekeeper as call

COMMANDS = [
    *([command.name or command.callback.__name__] for command in app.registered_commands if command.callback),
    *(
        [group.name or "", command.name or command.callback.__name__]
        for group in app.registered_groups
        if group.typer_instance
        for command in group.typer_instance.registered_commands
        if command.callback
    ),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_shows_an_example(command):
    shown = call(*command, "--help")
    assert shown.status == 0
    assert f"Example: gatekeeper {' '.join(command)}" in " ".join(shown.out.split())


def test_the_commands_that_are_promised_are_there():
    promised = ["run", "check", "demo", "config", "doctor", "explain", "records"]
    shown = call("--help").out
    assert [name for name in promised if f"  {name} " not in shown] == []


def test_the_version_is_told():
    assert call("--version").out == f"gatekeeper {gatekeeper.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["check"], ["records", "--nonsense"], ["config"]])
def test_what_cannot_be_understood_is_status_2(arguments):
    assert call(*arguments).status == 2


@pytest.mark.parametrize(
    "arguments", [["check", "/dev/null"], ["records"], ["explain", "X"], ["config", "check"], ["config", "show"]]
)
def test_a_configuration_that_is_not_there_is_one_sentence_and_status_2(arguments, tmp_path):
    ended = call(*arguments, "--config", str(tmp_path / "none.toml"))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "none.toml: cannot be read: No such file or directory" in ended.err


def test_the_file_may_be_named_by_the_environment(tmp_path):
    ended = call("config", "show", environment={"GATEKEEPER_CONFIG": str(tmp_path / "none.toml")})
    assert "none.toml" in ended.err


def test_the_module_can_be_run_and_imports_nothing_heavy_for_its_help():
    heavy = "'pydantic' in sys.modules or 'aiosmtpd' in sys.modules or 'gatekeeper.app' in sys.modules"
    program = f"import sys; from gatekeeper.cli.app import app; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    ran = subprocess.run([sys.executable, "-m", "gatekeeper", "--version"], check=False, capture_output=True, text=True)
    assert ran.stdout == f"gatekeeper {gatekeeper.__version__}\n"


@pytest.mark.parametrize("arguments", [["config", "document"], ["--help"], ["--version"]], ids=" ".join)
def test_an_output_without_room_is_one_sentence_and_status_2(arguments):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "gatekeeper", *arguments]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (2, "the output cannot be written: No space left on device\n")
