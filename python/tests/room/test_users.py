"""Other users at the other end, where this process is root and can play them."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence

import pytest

import standpipe
from standpipe import DeniedError, Policy, WrongServerError

from .conftest import Background, environment
from .test_conn import receive

if sys.platform == "win32" or os.geteuid() != 0:
    pytest.skip("needs root, which can start programs of other users", allow_module_level=True)

from standpipe import _unix_identity

ALICE, BOB, VIDEO = 54321, 54322, 54444


def become(user: int, groups: Sequence[int] = (), group: int | None = None) -> str:
    """Code that makes a program another user's. It is so only then, since that user may not read this interpreter."""
    gid = user if group is None else group
    return f"import os, standpipe\nos.setgroups({list(groups)}); os.setgid({gid}); os.setuid({user})\n"


def run(code: str, user: int, groups: Sequence[int] = (), group: int | None = None) -> str:
    """Run code as another user; what it prints. It says there how it ended."""
    body = "".join(f"    {line}\n" for line in code.strip().splitlines())
    text = become(user, groups, group) + f"try:\n{body}except Exception as e:\n    print(type(e).__name__)\n"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def open_place(place: str) -> None:
    os.chmod(place, 0o755)


def serve(listener: standpipe.Listener, seen: list[standpipe.Identity]) -> None:
    for conn in listener:
        with conn:
            seen.append(conn.identity)
            conn.send([b"x"])
            receive(conn, 1)


DIAL = """
with standpipe.connect({path!r}, policy=standpipe.Policy.parse({server!r})) as c:
    print(c.recv_into(memoryview(bytearray(1))))
"""


@pytest.mark.parametrize(
    ("policy", "owner", "group", "mode", "results"),
    [
        ("self", 0, 0, 0o600, ["DeniedError", "DeniedError", "DeniedError"]),
        (f"user:{ALICE}", ALICE, 0, 0o600, ["1", "DeniedError", "DeniedError"]),
        (f"group:{VIDEO}", 0, VIDEO, 0o660, ["DeniedError", "1", "DeniedError"]),
        (f"user:{ALICE},group:{VIDEO}", ALICE, VIDEO, 0o660, ["1", "1", "DeniedError"]),
        (f"user:{ALICE},user:12345", 0, 0, 0o666, ["1", "0", "0"]),
        ("anyone", 0, 0, 0o666, ["1", "1", "1"]),
    ],
)
def test_policies(
    place: str, background: Background, policy: str, owner: int, group: int, mode: int, results: list[str]
) -> None:
    """What the kernel lets through is held against the policy once more, and sees the end before a byte."""
    path = place + "/s"
    with standpipe.listen(path, policy=Policy.parse(policy)) as listener:
        st = os.lstat(path)
        assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (owner, group, mode)
        seen: list[standpipe.Identity] = []
        background(serve, listener, seen)
        dial = DIAL.format(path=path, server="user:0")
        got = [run(dial, ALICE), run(dial, BOB, [VIDEO]), run(dial, BOB)]
        assert got == results
        assert listener.refused == got.count("0")
        for identity in seen:
            assert identity.user in (str(ALICE), str(BOB)) and Policy.parse(policy).admits(identity)
        listener.close()


def test_server_of_another_user(place: str, background: Background) -> None:
    """Whoever else serves the name gets no byte."""
    path = place + "/s"
    with standpipe.listen(path, policy=Policy.anyone()) as listener:
        got: list[bytes] = []

        def accept() -> None:
            for conn in listener:
                with conn:
                    got.append(receive(conn, 100))

        background(accept)
        hello = f"with standpipe.connect({path!r}, policy=POLICY) as c: c.send([b'secret'])"
        assert run(hello.replace("POLICY", f"standpipe.Policy.user('{ALICE}')"), ALICE) == "WrongServerError"
        assert run(hello.replace("POLICY", "None"), ALICE) == "", "the superuser's is admitted by default"
        listener.close()
    assert got == [b"", b"secret"]


def test_the_superuser_trusts_nobody_else(place: str) -> None:
    home = place + "/alice"
    os.mkdir(home)
    os.chown(home, ALICE, ALICE)
    code = f"""
l = standpipe.listen({home + "/s"!r}, policy=standpipe.Policy.anyone())
print('ready', flush=True)
l.accept(300)
"""
    command = [sys.executable, "-c", become(ALICE) + code]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
    assert server.stdout is not None
    with server, server.stdout:
        assert server.stdout.readline() == b"ready\n"
        with pytest.raises(WrongServerError, match=f"the server is user {ALICE}"):
            standpipe.connect(home + "/s")
        with standpipe.connect(home + "/s", policy=Policy.user(str(ALICE))) as conn:
            assert conn.identity.user == str(ALICE)
            assert conn.identity.pid == server.pid
        server.kill()
    with pytest.raises(DeniedError, match="others could replace the socket"):
        standpipe.listen(home + "/t")


def test_others_can_not_serve_shared_names() -> None:
    assert run("standpipe.listen('shared:standpipe-test-never')", ALICE) == "DeniedError"


def test_groups_are_the_process_s(place: str, background: Background) -> None:
    path = place + "/s"
    many = list(range(60000, 60300))
    with standpipe.listen(path, policy=Policy.anyone()) as listener:
        seen: list[standpipe.Identity] = []
        background(serve, listener, seen)
        dial = DIAL.format(path=path, server="user:0")
        assert run(dial, ALICE, [VIDEO]) == run(dial, ALICE, many, group=VIDEO) == "1"
        listener.close()
    assert set(seen[0].groups) == {str(ALICE), str(VIDEO)} and seen[0].groups[0] == str(ALICE)
    assert seen[1].groups[0] == str(VIDEO) and set(seen[1].groups[1:]) == {str(g) for g in many}


def test_unmapped_ids_are_nobody() -> None:
    if sys.platform == "linux":
        found = (1, "65534", ("65534", "5"))
        assert _unix_identity.strip(found, "65534", "65534") == (1, "", ("5",))
        assert _unix_identity.strip(found, "", "") == found


def test_a_dead_socket_of_another_user_s_stays(place: str) -> None:
    os.chmod(place, 0o1777)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(place + "/s")
        s.listen()
    os.chown(place + "/s", ALICE, ALICE)
    with pytest.raises(standpipe.InUseError, match=f"belongs to user {ALICE}"):
        standpipe.listen(place + "/s")


def test_a_socket_that_was_given_away_is_replaced(place: str) -> None:
    """The lock file says that it was ours."""
    code = f"""
import os, standpipe
l = standpipe.listen({place + "/s"!r}, policy=standpipe.Policy.user('{ALICE}'))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
    assert os.lstat(place + "/s").st_uid == ALICE
    standpipe.listen(place + "/s").close()
