"""Methods, and those who call them, for threads."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep
from types import TracebackType
from typing import Any, TypeVar, overload

from ..msg.buffer import Buffer
from ..msg.error import TooLargeError
from ..msg.session import Data
from ..policy import Policy, superuser
from .call import Served
from .context import context
from .describe import describe
from .error import Code, Error, code_of
from .flow import release_all
from .method import Method, Pace, clock
from .options import Options, method_bytes
from .peer import Peer
from .pool import Pool
from .stats import Census
from .stream import Stream
from .watch import Watch

F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger("standpipe")

_DRAIN = 5.0  # seconds
_LOOK = 0.01  # seconds from one look to the next whether handlers have ended
SCARCE_PAUSE = 0.05  # seconds


class Methods:
    """Methods by their names; what a Server of threads and one of standpipe.aio have in common."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {
            "standpipe.describe": Method("standpipe.describe", self._describe),
            "standpipe.stats": Method("standpipe.stats", self.stats, Policy.myself() | superuser()),
        }
        self.census = Census()
        self._docs: dict[str, str] = {}

    @overload
    def method(self, function: F, /) -> F: ...
    @overload
    def method(
        self, name: str | None = None, /, *, policy: Policy | None = None, doc: str | None = None
    ) -> Callable[[F], F]: ...
    def method(self, name: Any = None, /, *, policy: Policy | None = None, doc: str | None = None) -> Any:
        """Makes a function the handler of a method: ``@server.method``, by its own name, or ``@server.method("name")``.

        See Method for what its signature says. policy asks more of the callers than the endpoint does. doc, or else the
        docstring, is for describe. ValueError for a name that is taken, or begins with "standpipe.". Methods may be
        added while the server serves.
        """
        scope = sys._getframe(1).f_locals  # where names in hints may be of
        if callable(name):
            self._add(name.__name__, name, None, None, scope)
            return name

        def decorate(function: F) -> F:
            self._add(name or function.__name__, function, policy, doc, scope)
            return function

        return decorate

    def _add(
        self, name: str, function: Callable[..., Any], policy: Any, doc: str | None, scope: dict[str, Any]
    ) -> None:
        method_bytes(name)
        if name in self._methods or name.startswith("standpipe."):
            raise ValueError(f"the method {name!r} is handled already, or its name is reserved")
        made = Method(name, function, policy, scope)
        if doc is not None:
            made.doc = doc
        self._methods[name] = made

    def lookup(self, name: str) -> Method | None:
        return self._methods.get(name)

    def require(self, name: str, policy: Policy) -> None:
        """Says who may call a method; the endpoint's own policy holds besides. "standpipe.stats" is for the current
        user and the superuser, unless this says otherwise. LookupError for a method that there is not.
        """
        if name not in self._methods:
            raise LookupError(f"there is no method {name!r}")
        self._methods[name].policy = policy

    def stats(self) -> dict[str, Any]:
        """What the server has done and has to do: its connections, its methods, and what they cost, as
        spec/stats.schema.json says it. ``standpipe top`` shows it, and peers may ask by the method standpipe.stats.
        """
        asker, _ = context.get((None, None))
        own = [(name, m.streams) for name, m in list(self._methods.items()) if not name.startswith("standpipe.")]
        return self.census.stats(own, asker)

    def _describe(self) -> Any:
        return describe(self._methods)


class Server(Methods):
    """Methods, served to many peers at once.

        server = standpipe.Server()

        @server.method
        def upper(text: str) -> str:
            return text.upper()

        server.serve("engine")

    Handlers run at once, each in a thread of its own; those that were quick run in the thread that reads, and another
    takes over reading when one of these takes longer than about a millisecond. So one that blocks holds up nobody. An
    Error that a handler raises reaches the caller as it is; any other exception is INTERNAL for the caller, and is
    logged here with its traceback. A handler's received Buffers are released when it returns.

    All its methods may be called by several threads. ``close`` ends what ``start`` and ``serve`` have begun.
    """

    def __init__(self, **options: Any) -> None:
        """The options are those of Options: max_message, max_shared, max_calls, max_queued, codec."""
        super().__init__()
        self.options = Options(**options)
        self._pool = Pool("standpipe-handler")
        self._lock = threading.Lock()
        self._peers: set[Peer] = set()
        self._servings: list[Serving] = []
        self._closed = False
        self._watch = Watch(self._pool)

    def serve(self, name: str, *, policy: Policy | None = None, drain: float = _DRAIN, **listen: Any) -> None:
        """Serves on a name until close() is called, or an exception such as KeyboardInterrupt comes: then it closes,
        with drain. policy: who may connect; missing: the current user. Errors are listen's.
        """
        serving = self.start(name, policy=policy, **listen)
        try:
            while not serving.wait(0.5 if threading.current_thread() is threading.main_thread() else None):
                pass
        finally:
            self.close(drain)

    def start(self, name: str, *, policy: Policy | None = None, **listen: Any) -> Serving:
        """serve, but that it returns at once."""
        from ..listen import listen as make

        return self.start_on(make(name, policy=policy, **listen))

    def start_on(self, listener: Any) -> Serving:
        """Serves on a listener that is there already, which is the server's from then on."""
        with self._lock:
            if self._closed:
                listener.close()
                raise RuntimeError("the server was closed")
            serving = Serving(self, listener)
            self._servings.append(serving)
        serving.start()
        return serving

    def attach(self, conn: Any) -> Peer:
        """Serves on one connection, which is the server's from then on."""
        peer = Peer(conn, self.options, dialer=False, server=self)
        with self._lock:
            closed = self._closed
            if not closed:
                self._peers.add(peer)
        if closed:
            peer.close()
        else:
            try:
                self._pool.submit(lambda: self._read(peer))
            except RuntimeError as e:
                _log.error("no thread can be started for a connection, which is closed: %s", e)
                with self._lock:
                    self._peers.discard(peer)
                peer.close()
        return peer

    def close(self, drain: float = 0.0) -> None:
        """Ends serving: no more is accepted, peers are told, and their further calls refused. It waits drain seconds at
        most for handlers that run, closes the connections, which cancels those that still do, and returns when they
        have returned.
        """
        with self._lock:
            self._closed = True
            servings, self._servings = self._servings, []
            peers = list(self._peers)
        for serving in servings:
            serving.stop()
        for peer in peers:
            peer.calls.drain()
            peer.channel.post()
        until = monotonic() + drain
        while any(peer.calls.busy for peer in peers) and monotonic() < until:
            sleep(_LOOK)
        while peers:
            for peer in peers:
                peer.close()
            with self._lock:
                peers = list(self._peers)
        self._watch.close()
        self._pool.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading.

    def _read(self, peer: Peer) -> None:
        """Greets a peer, and reads from it until the end, or until another thread has taken over."""
        peer.greet(None)
        self.read_on(peer)

    def read_on(self, peer: Peer) -> None:
        """Reads from a peer until the end, or until another thread does."""
        while peer.error is None:
            peer.turn.take_soon()  # from another reader, or from a handler that waits for an answer of the peer
            try:
                self._receive(peer)
            finally:
                peer.turn.give()
            try:
                while True:
                    served = peer.inline.popleft()
                    peer.ran += 1
                    self.run(peer, served, len(peer.inline) == 0)
            except IndexError:
                pass  # all have run, here or elsewhere
            try:
                peer.aside.pop()
            except IndexError:
                return  # another thread reads
        with self._lock:
            self._peers.discard(peer)

    def _receive(self, peer: Peer) -> None:
        """Receives until there is something for the reader itself to run, or the end, and puts the turn, which is held,
        aside.
        """
        while peer.error is None:
            peer.read_only(None)
            runs = peer.take_runs()
            last = len(runs) - 1
            for i, served in enumerate(runs):
                pace: Pace = served.route.pace
                if served.stream is None and pace.quick and (i == last or pace.brisk):
                    peer.inline.append(served)
                else:
                    self.run_elsewhere(peer, served)
            if peer.inline:
                break
        peer.ran += 1
        peer.aside.append(None)  # before others may have the turn: see Watch
        self._watch.look(peer)

    def run_elsewhere(self, peer: Peer, served: Served) -> None:
        """Runs a handler in a thread of its own, or refuses the call where there can be no further thread."""
        try:
            self._pool.submit(lambda: self.run(peer, served))
        except RuntimeError as e:
            peer.calls.fail(served, Error(Code.RESOURCE_EXHAUSTED, f"no thread can be started for the call: {e}"))
            release_all(served.buffers)
            with contextlib.suppress(RuntimeError):  # it is written with what comes next
                peer.channel.post()

    # Handlers.

    def run(self, peer: Peer, served: Served, flush: bool = True) -> None:
        """Runs a handler, and answers. Without flush the answer is written with the next one."""
        method: Method = served.route
        token = context.set((peer, served))
        start = clock()
        try:
            if method.policy is not None:
                admit(method, peer.identity)
            if served.stream is None:
                self._unary(peer, served, method)
            else:
                self._stream(peer, served, method)
        except BaseException as e:
            peer.calls.fail(served, to_error(e, method.name))
        finally:
            context.reset(token)
            if served.stream is None:
                method.pace.took(clock() - start)
            if served.buffers:
                peer.channel.hush(True)
                release_all([b for b in served.buffers if not b.kept])
                peer.channel.hush(False)
            if flush:
                peer.channel.flush()

    def _unary(self, peer: Peer, served: Served, method: Method) -> None:
        value = method.invoke(method.argument(served.codec, served.value, served.buffers))
        buffers: list[Buffer] = []
        data = method.result(served.codec, value, buffers)
        in_time(served)
        if buffers:
            self._answer_buffers(peer, served, data, buffers)
        else:
            peer.calls.answer(served, data)

    def _answer_buffers(self, peer: Peer, served: Served, data: Data, buffers: list[Buffer]) -> None:
        head = peer.calls.answer_head(served)
        try:
            peer.session.check(len(head) + len(data), buffers)
        except TooLargeError as e:
            raise Error(Code.RESOURCE_EXHAUSTED, f"the result of {method_name(served)} can't be sent: {e}") from None
        try:  # the call is forgotten when nothing can refuse its answer any more
            peer.channel.send_buffers(buffers, (head, data), lambda: False, lambda: peer.calls.forget(served))
        except ValueError as e:
            raise Error(Code.INTERNAL, f"the result of {method_name(served)} can't be sent: {e}") from None

    def _stream(self, peer: Peer, served: Served, method: Method) -> None:
        assert served.stream is not None
        stream: Stream[Any, Any] = Stream(
            peer, served.stream, served.codec, method.takes_hint, served.deadline, served, method.convert
        )
        if method.duplex:
            result = method.function(stream)
        elif method.iterates:
            result = method.function(iter(stream))
        else:
            result = method.invoke(_only(stream, method))
        if method.generates:
            with contextlib.closing(result):
                for value in result:
                    stream.send(value)
        elif not method.duplex:
            stream.send(result)
        in_time(served)
        peer.calls.finish(served)


def in_time(served: Served) -> None:
    """Refuses what comes too late: both sides have their own clocks, and should say the same."""
    if served.deadline is not None and served.deadline <= monotonic():
        raise Error(Code.DEADLINE_EXCEEDED, "the handler has returned when the call's time was up")


def method_name(served: Served) -> str:
    return repr(served.method)


def _only(stream: Stream[Any, Any], method: Method) -> Any:
    """What a generator function of one value gets."""
    if method.takes == 0:
        return None
    try:
        return stream.recv()
    except EOFError:
        return {} if method.fields else None


def admit(method: Method, identity: Any) -> None:
    """Refuses a caller whom the method's policy does not admit."""
    if not method.policy.admits(identity):
        raise Error(
            Code.PERMISSION_DENIED, f"the method {method.name!r} is for {method.policy}, and the caller is {identity}"
        )


def to_error(e: BaseException, method: str) -> Error:
    """What travels for a handler's exception."""
    if isinstance(e, Error):
        return e if e.code != Code.OK else Error(Code.UNKNOWN, e.message)
    if isinstance(e, (EOFError, GeneratorExit)):
        return Error(Code.CANCELED, "the stream has ended")
    if isinstance(e, (TimeoutError, PermissionError)):
        return Error(code_of(e), str(e))
    _log.error("the handler of %r has failed", method, exc_info=e)
    return Error(Code.INTERNAL, f"the handler of {method!r} has failed")


def scarce(e: OSError) -> bool:
    """Whether accepting has failed by a shortage that will pass, and is to be tried again after SCARCE_PAUSE."""
    if e.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        return False
    _log.warning("no client can be accepted now, tried again in %g s: %s", SCARCE_PAUSE, e)
    return True


class Serving:
    """What start() has begun: a listener, and the thread that accepts."""

    def __init__(self, server: Server, listener: Any) -> None:
        self._server = server
        self._listener = listener
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="standpipe-accept", daemon=True)
        self.error: BaseException | None = None  #: why it has ended, where nobody has closed it

    def start(self) -> None:
        self._thread.start()

    @property
    def addr(self) -> Any:
        """The address that is served."""
        return self._listener.addr

    def _accept(self) -> None:
        try:
            while True:
                try:
                    conn = self._listener.accept()
                except OSError as e:
                    if not scarce(e):
                        raise
                    self._over.wait(SCARCE_PAUSE)
                else:
                    self._server.attach(conn)
        except OSError as e:
            self.error = None if self._over.is_set() else e
        finally:
            self._listener.close()
            self._over.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end. False after timeout seconds."""
        return self._over.wait(timeout)

    def stop(self) -> None:
        """Accepts no more. The server's close does the rest."""
        self._over.set()
        self._listener.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def close(self, drain: float = 0.0) -> None:
        """The server's close."""
        self._server.close(drain)

    def __enter__(self) -> Serving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
