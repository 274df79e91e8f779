"""Endpoints with a name, on every system."""

from __future__ import annotations

import gc
import threading
import time

import pytest

import standpipe
from standpipe import BadNameError, ClosedError, Conn, InUseError, NoServerError, Policy, WrongServerError

from .conftest import Background
from .test_conn import receive, waits


def connect(listener: standpipe.Listener) -> tuple[Conn, Conn]:
    """Both ends of a new connection: the client's and the server's."""
    got: list[Conn] = []
    thread = threading.Thread(target=lambda: got.append(listener.accept(300)))
    thread.start()
    client = standpipe.connect(listener.addr.name, timeout=300)
    thread.join()
    return client, got[0]


def test_round_trip(name: str) -> None:
    with standpipe.listen(name) as listener:
        client, server = connect(listener)
        with client, server:
            client.send([b"ping"])
            assert receive(server, 4) == b"ping"
            server.send([b"pong"])
            assert receive(client, 4) == b"pong"
            assert client.addr == server.addr == listener.addr
            assert Policy().admits(client.identity) and Policy().admits(server.identity)
            assert server.identity.pid > 0 and server.identity.groups
        assert listener.refused == 0


def test_nobody_listens(name: str) -> None:
    with pytest.raises(NoServerError):
        standpipe.connect(name)
    with pytest.raises(NoServerError):
        standpipe.connect(name, wait=True, timeout=0.03)


def test_wait(name: str, background: Background) -> None:
    def serve() -> None:
        time.sleep(0.05)
        with standpipe.listen(name) as listener, listener.accept(300) as conn:
            conn.send([b"x"])
            assert receive(conn, 1) == b""

    background(serve)
    with standpipe.connect(name, wait=True, timeout=300) as conn:
        assert receive(conn, 1) == b"x"


def test_in_use(name: str) -> None:
    with standpipe.listen(name):
        with pytest.raises(InUseError):
            standpipe.listen(name)
        with pytest.raises(InUseError):
            standpipe.listen(name.upper())
    standpipe.listen(name).close()


def test_close_ends_accept(name: str, background: Background) -> None:
    listener = standpipe.listen(name)

    def wait() -> None:
        with pytest.raises(ClosedError):
            listener.accept()

    for _ in range(3):
        waits(background(wait))
    listener.close()
    listener.close()
    with pytest.raises(ClosedError):
        listener.accept()
    with pytest.raises(NoServerError):
        standpipe.connect(name)


def test_the_name_is_free_after_close(name: str) -> None:
    for _ in range(20):
        standpipe.listen(name).close()


def test_accept_times_out(name: str) -> None:
    with standpipe.listen(name) as listener:
        with pytest.raises(TimeoutError):
            listener.accept(0)
        with pytest.raises(TimeoutError):
            listener.accept(0.03)


def test_iterate(name: str, background: Background) -> None:
    listener = standpipe.listen(name)
    served: list[int] = []

    def serve() -> None:
        for conn in listener:
            with conn:
                served.append(1)
                conn.send([b"x"])
                receive(conn, 1)

    background(serve)
    for _ in range(5):
        with standpipe.connect(name, timeout=300) as conn:
            assert receive(conn, 1) == b"x"
    listener.close()
    assert len(served) == 5


def test_server_that_is_not_admitted(name: str) -> None:
    with standpipe.listen(name) as listener:
        got: list[Conn] = []
        thread = threading.Thread(target=lambda: got.append(listener.accept(300)))
        thread.start()
        stranger = "S-1-5-21-1-2-3-4" if listener.addr.network == "pipe" else "54321"
        with pytest.raises(WrongServerError):
            standpipe.connect(name, policy=Policy.user(stranger), timeout=300)
        thread.join()
        with got[0] as conn:
            assert receive(conn, 1) == b"", "a byte went to a server that is not admitted"


def test_own_names_are_for_oneself(name: str) -> None:
    with pytest.raises(BadNameError, match="shared:"):
        standpipe.listen(name, policy=Policy.anyone())
    with pytest.raises(LookupError):
        standpipe.listen(name, policy=Policy.user("no-such-user-here"))


@pytest.mark.parametrize("bad", [{"max_conns": -1}, {"buffer": -1}, {"backlog": -1}, {"buffer": 1 << 31}])
def test_bad_arguments(name: str, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        standpipe.listen(name, **bad)  # type: ignore[arg-type]


def test_max_conns(name: str, background: Background) -> None:
    with standpipe.listen(name, max_conns=2) as listener:
        pairs = [connect(listener) for _ in range(2)]
        third: list[Conn] = []
        dialling = background(lambda: third.append(standpipe.connect(name, timeout=300)))
        with pytest.raises(TimeoutError):
            listener.accept(0.1)
        pairs[0][1].close()
        with listener.accept(300) as server:
            dialling.join()
            server.send([b"x"])
            assert receive(third[0], 1) == b"x"
        third[0].close()
        for client, server in pairs:
            client.close()
            server.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_connection_that_is_forgotten_makes_room(name: str) -> None:
    with standpipe.listen(name, max_conns=1) as listener:
        client, server = connect(listener)
        client.close()
        del server
        gc.collect()
        for conn in connect(listener):
            conn.close()


def test_threads_that_end(name: str, background: Background) -> None:
    """Whoever was in accept may end: on Windows a thread takes along what it has begun to wait for."""
    with standpipe.listen(name, backlog=3) as listener:
        for _ in range(4):

            def accept() -> None:
                with pytest.raises(TimeoutError):
                    listener.accept(0.01)

            background(accept).join()
            client, server = connect(listener)
            client.close()
            server.close()


def test_a_crowd(name: str, background: Background) -> None:
    with standpipe.listen(name) as listener:

        def serve() -> None:
            for conn in listener:
                with conn:
                    conn.send([receive(conn, 3)])
                    receive(conn, 1)

        servers = [background(serve) for _ in range(4)]

        def use(n: int) -> None:
            word = f"{n:03}".encode()
            with standpipe.connect(name, timeout=300) as conn:
                conn.send([word])
                assert receive(conn, 3) == word

        clients = [background(use, n) for n in range(60)]
        for t in clients:
            t.join(300)
        listener.close()
        for t in servers:
            t.join(300)


def test_come_and_go(name: str, background: Background) -> None:
    """Clients that hang up at once do no harm."""
    with standpipe.listen(name) as listener:

        def serve() -> None:
            for conn in listener:
                with conn:
                    if receive(conn, 1):
                        conn.send([b"y"])
                        receive(conn, 1)

        background(serve)
        for _ in range(50):
            standpipe.connect(name, timeout=300).close()
        with standpipe.connect(name, timeout=300) as conn:
            conn.send([b"x"])
            assert receive(conn, 1) == b"y"
        listener.close()
