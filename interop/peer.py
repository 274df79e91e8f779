"""Python's peer of spec/interop.md, which has the methods and the cases.

peer.py serve NAME           serve the methods, until standard input ends
peer.py run NAME CASE...     run cases against a server
peer.py cases                list the cases
"""

import sys
from pathlib import Path

import standpipe

sys.path.insert(0, str(Path(__file__).parent))  # wherever it is called from

import methods
from cases import CASES, PATIENCE


def run(server: str, names: list[str]) -> int:
    """Runs cases, and returns how many have failed."""
    failed = 0
    for name in names:
        try:
            own = standpipe.Server()
            own.method("name")(lambda: "case")
            with standpipe.dial(server, wait=True, timeout=PATIENCE, server=own) as peer:
                CASES[name](peer)
            own.close()
        except Exception as e:
            failed += 1
            print(
                f"FAIL {name}: {type(e).__name__}: {e!s:.500}".replace("\n", " "),
                flush=True,
            )
        else:
            print(f"ok {name}", flush=True)
    return failed


def main(args: list[str]) -> int:
    if len(args) == 2 and args[0] == "serve":
        methods.serve(args[1])
    elif len(args) > 2 and args[0] == "run":
        return 1 if run(args[1], args[2:]) else 0
    elif args == ["cases"]:
        print("\n".join(CASES))
    else:
        print("usage: peer.py serve NAME | run NAME CASE... | cases", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
