import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from gatekeeper.servers.sockets import CannotListen, Sockets
from gatekeeper.wire.listen import ListenAddress, SystemdAddress, read_listen


@pytest.fixture
def sockets():
    made = Sockets()
    yield made
    made.close()
    made.close()


def connects(bound: str) -> bool:
    """Whether somebody listens there."""
    if bound.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(bound.removeprefix("unix:")) == 0
    host, _, port = bound.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as one:
        return one.connect_ex((host.strip("[]"), int(port))) == 0


def opened(sockets: Sockets, text: str) -> tuple[ListenAddress, str]:
    address = read_listen(text)
    sockets.open([address])
    (bound,) = sockets.bound(address)
    return address, bound


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0"])
def test_a_tcp_address_listens_and_does_not_block(sockets: Sockets, text: str):
    address, bound = opened(sockets, text)
    assert connects(bound)
    (number,) = sockets.numbers(address)
    assert not os.get_blocking(number)
    assert not os.get_inheritable(number)


def test_both_families_may_have_the_same_port(sockets: Sockets):
    _, bound = opened(sockets, "0.0.0.0:0")
    opened(sockets, f"[::]:{bound.rpartition(':')[2]}")


def test_an_open_address_stays_the_same_socket(sockets: Sockets):
    address, bound = opened(sockets, "127.0.0.1:0")
    numbers = sockets.numbers(address)
    sockets.open([address])
    sockets.keep([address])
    assert sockets.numbers(address) == numbers
    assert sockets.bound(address) == (bound,)


def test_what_is_not_kept_is_closed(sockets: Sockets, tmp_path: Path):
    _, tcp = opened(sockets, "127.0.0.1:0")
    _, unix = opened(sockets, f"unix:{tmp_path}/s")
    sockets.keep([])
    assert not connects(tcp)
    assert not connects(unix)
    assert not (tmp_path / "s").exists()


def test_when_one_cannot_be_opened_none_is(sockets: Sockets):
    _, taken = opened(sockets, "127.0.0.1:0")
    other = Sockets()
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with pytest.raises(CannotListen, match="another program has that address"):
        other.open([read_listen(f"127.0.0.1:{port}"), read_listen(taken)])
    assert not connects(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("192.0.2.1:10025", "does not have that address"), ("unix:/nonexistent/s", "directory must exist")],
)
def test_an_address_that_is_not_ours_is_named(sockets: Sockets, text: str, sentence: str):
    with pytest.raises(CannotListen, match=sentence):
        opened(sockets, text)


def test_a_low_port_names_the_capability(sockets: Sockets, monkeypatch: pytest.MonkeyPatch):
    class Forbidden(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("socket.socket", Forbidden)
    with pytest.raises(CannotListen, match="CAP_NET_BIND_SERVICE"):
        opened(sockets, "127.0.0.1:25")


def test_a_unix_socket_has_its_mode_and_loses_it_with_the_reload_that_asked_for_it(sockets: Sockets, tmp_path: Path):
    path = tmp_path / "s"
    old, _ = opened(sockets, f"unix:{path}?mode=0600")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    inode = path.stat().st_ino
    opened(sockets, f"unix:{path}?mode=0666&group={os.getgid()}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    sockets.keep([old])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino == inode


def test_an_unknown_group_is_named_and_leaves_nothing_behind(sockets: Sockets, tmp_path: Path):
    with pytest.raises(CannotListen, match="no group nobody-has-it"):
        opened(sockets, f"unix:{tmp_path}/s?group=nobody-has-it")
    assert not (tmp_path / "s").exists()


def test_a_socket_left_by_a_crash_is_replaced(sockets: Sockets, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(tmp_path / "s"))
    _, bound = opened(sockets, f"unix:{tmp_path}/s")
    assert connects(bound)


def test_a_socket_somebody_listens_on_is_left_alone(sockets: Sockets, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(CannotListen, match="another program listens"):
            opened(sockets, f"unix:{tmp_path}/s")
        assert (tmp_path / "s").exists()


def test_a_file_is_never_removed(sockets: Sockets, tmp_path: Path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(CannotListen, match="not a socket"):
        opened(sockets, f"unix:{tmp_path}/s")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_socket_somebody_has_put_in_place_of_ours_is_not_removed(sockets: Sockets, tmp_path: Path):
    opened(sockets, f"unix:{tmp_path}/s")
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("theirs")
    sockets.close()
    assert (tmp_path / "s").exists()


def test_a_name_of_systemd_may_mean_several_sockets_which_stay_open_when_unused():
    pair = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    sockets = Sockets({"smtp": pair})
    address = SystemdAddress("smtp")
    sockets.open([address])
    assert sockets.numbers(address) == tuple(one.fileno() for one in pair)
    bound = sockets.bound(address)
    sockets.keep([])
    assert all(connects(each) for each in bound)
    sockets.open([address])
    sockets.close()
    assert not any(connects(each) for each in bound)


def test_a_name_systemd_did_not_pass_says_what_to_write(sockets: Sockets):
    with pytest.raises(CannotListen, match="FileDescriptorName=smtp"):
        sockets.open([SystemdAddress("smtp")])


def handed(place: str, one: socket.socket) -> Sockets:
    return Sockets(handed={place: [one.dup()]})


def test_a_handed_socket_is_taken_over(tmp_path: Path):
    address = read_listen(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"{tmp_path}/s")
        one.listen()
        sockets = handed(address.place, one)
        sockets.open([address])
    assert connects(address.place)
    sockets.close()
    assert not (tmp_path / "s").exists()


def test_a_handed_socket_whose_file_is_gone_is_made_anew(tmp_path: Path):
    address = read_listen(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"{tmp_path}/s")
        one.listen()
        (tmp_path / "s").unlink()
        sockets = handed(address.place, one)
        sockets.open([address])
        assert connects(address.place)
        sockets.close()


def test_handed_sockets_outlive_a_failure_and_a_configuration_without_them():
    with socket.create_server(("127.0.0.1", 0)) as one:
        address = read_listen(f"127.0.0.1:{one.getsockname()[1]}")
        sockets = handed(address.place, one)
    with pytest.raises(CannotListen):
        sockets.open([address, SystemdAddress("smtp")])
    sockets.keep([])
    assert list(sockets.to_hand_over()[0]) == [address.place]
    sockets.open([address])
    assert connects(address.place)
    sockets.close()


def test_handed_sockets_that_nobody_wanted_are_closed_in_the_end():
    with socket.create_server(("127.0.0.1", 0)) as one:
        place = read_listen(f"127.0.0.1:{one.getsockname()[1]}").place
        sockets = handed(place, one)
    assert connects(place)
    sockets.close_handed()
    assert not connects(place)
