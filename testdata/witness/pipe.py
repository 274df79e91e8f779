"""Python's own ways to Windows pipes: pipe.py MODE PIPE. Clients get back what they send; servers send back what they get."""
import asyncio
import inspect
import sys
from multiprocessing.connection import Client, Listener

BIG = bytes(range(256)) * 800


def file(path):
    with open(path, "r+b", 0) as f:
        for size in (1, 10, 100, 1000, 10000):
            f.write(BIG[:size])
            got = b""
            while len(got) < size:
                got += f.read(size - len(got))
            assert got == BIG[:size], size


async def proactor(path):
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.create_pipe_connection(lambda: protocol, path)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    for _ in range(3):
        writer.write(BIG)
        got, _ = await asyncio.gather(reader.readexactly(len(BIG)), writer.drain())
        assert got == BIG
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def proactor_server(path):
    await asyncio.get_running_loop().start_serving_pipe(Echo, path)
    print("ready", flush=True)
    await asyncio.Event().wait()


def af_pipe(path):
    with Client(path, family="AF_PIPE") as c:
        for message in (b"x", b"hello", BIG, BIG[:8192], BIG[:8193]):
            c.send_bytes(message)
            assert c.recv_bytes() == message, len(message)
        c.send({"pickled": [1, 2, 3]})
        assert c.recv() == {"pickled": [1, 2, 3]}


def af_pipe_server(path):
    with Listener(path, family="AF_PIPE") as listener:
        print("ready", flush=True)
        while True:
            with listener.accept() as c:
                try:
                    while True:
                        c.send_bytes(c.recv_bytes())
                except EOFError:
                    pass


mode, path = sys.argv[1:]
run = globals()[mode]
if inspect.iscoroutinefunction(run):
    asyncio.run(run(path))
else:
    run(path)
print("ok", flush=True)
