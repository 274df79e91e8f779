"""Ways for two Python processes to talk to each other.

Each has a server and a client of echo, as somebody would write them who wants them fast.

contender.py NAME ADDRESS      serve, until standard input ends; prints ready
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection
from typing import Any

Call = Callable[[bytes], Any]


class Contender:
    """note says how it is used; shared, what 64 threads share."""

    note = shared = ""

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        """Serves for ever."""
        raise NotImplementedError

    def connect(self, address: str) -> Call:
        """A function that calls echo."""
        raise NotImplementedError

    def per_thread(self, address: str, first: Call) -> Callable[[], Call]:
        """What makes a call for each of many threads: another connection, unless they can share the first one."""
        return lambda: self.connect(address)


class Standpipe(Contender):
    note, shared = "standpipe.Server and dial, MessagePack", "one connection"

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        import standpipe

        server = standpipe.Server()
        server.method("echo")(_echo)
        server.start(address)
        ready()
        threading.Event().wait()

    def connect(self, address: str) -> Call:
        import standpipe

        peer = standpipe.dial(address, wait=True, timeout=10)
        return lambda message: peer.call("echo", message)

    def per_thread(self, address: str, first: Call) -> Callable[[], Call]:
        return lambda: first


class GRPC(Contender):
    note, shared = (
        "generic handlers, bytes without Protobuf, a Unix socket, 16 threads serve",
        "one channel",
    )

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        import grpc

        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        echo = grpc.unary_unary_rpc_method_handler(lambda message, context: message)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bench", {"Echo": echo}),))
        server.add_insecure_port("unix:" + address)
        server.start()
        ready()
        server.wait_for_termination()

    def connect(self, address: str) -> Call:
        import grpc

        call: Call = grpc.insecure_channel("unix:" + address).unary_unary("/Bench/Echo")
        return call

    def per_thread(self, address: str, first: Call) -> Callable[[], Call]:
        return lambda: first


class ZMQ(Contender):
    note, shared = "REQ and ROUTER over ipc, one thread serves", "a socket each"

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        import zmq

        router = zmq.Context.instance().socket(zmq.ROUTER)
        router.bind("ipc://" + address)
        ready()
        while True:
            router.send_multipart(router.recv_multipart())

    def connect(self, address: str) -> Call:
        import zmq

        socket = zmq.Context.instance().socket(zmq.REQ)
        socket.connect("ipc://" + address)

        def call(message: bytes) -> Any:
            socket.send(message)
            return socket.recv()

        return call


class Multiprocessing(Contender):
    note, shared = (
        "multiprocessing.connection, bytes, a thread for each connection serves",
        "a connection each",
    )

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        listener = connection.Listener(address, "AF_UNIX", backlog=128)
        ready()
        while True:
            threading.Thread(target=self._answer, args=(listener.accept(),), daemon=True).start()

    def _answer(self, conn: Any) -> None:
        try:
            while True:
                conn.send_bytes(conn.recv_bytes())
        except (EOFError, OSError):
            pass

    def connect(self, address: str) -> Call:
        conn = connection.Client(address, "AF_UNIX")

        def call(message: bytes) -> Any:
            conn.send_bytes(message)
            return conn.recv_bytes()

        return call


class RPyC(Contender):
    note, shared = (
        "a service over a Unix socket, a thread for each connection serves",
        "a connection each",
    )

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        import rpyc
        from rpyc.utils.server import ThreadedServer

        service = type("Bench", (rpyc.Service,), {"exposed_echo": lambda self, message: message})
        server = ThreadedServer(service, socket_path=address)
        server.listener.listen(server.backlog)  # start would do it too late
        ready()
        server.start()

    def connect(self, address: str) -> Call:
        from rpyc.utils.factory import unix_connect

        echo: Call = unix_connect(address).root.echo
        return echo


class Asyncio(Contender):
    note, shared = (
        "streams with a length in front, one loop serves, and a loop for each caller",
        "a connection each",
    )

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        asyncio.run(self._serve(address, ready))

    async def _serve(self, address: str, ready: Callable[[], None]) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    writer.write(await _message(reader))
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_unix_server(answer, address)
        ready()
        await server.serve_forever()

    def connect(self, address: str) -> Call:
        loop = asyncio.new_event_loop()
        reader, writer = loop.run_until_complete(asyncio.open_unix_connection(address))

        async def call(message: bytes) -> bytes:
            writer.write(len(message).to_bytes(4, "little") + message)
            return (await _message(reader))[4:]

        return lambda message: loop.run_until_complete(call(message))


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "little"))


def _echo(message: bytes) -> bytes:
    return message


CONTENDERS: dict[str, Contender] = {
    "standpipe": Standpipe(),
    "grpcio": GRPC(),
    "pyzmq": ZMQ(),
    "multiprocessing": Multiprocessing(),
    "rpyc": RPyC(),
    "asyncio": Asyncio(),
}


def _until_eof() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    name, address = sys.argv[1:]
    threading.Thread(target=_until_eof, daemon=True).start()
    CONTENDERS[name].serve(address, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()
