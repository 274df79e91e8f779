"""A piece of memory for bulk data, which travels beside a message."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .made import Made


class Buffer:
    """Memory for bulk data, made by ``new_buffer`` or received with a value.

    It belongs to one side at a time: to whoever made or received it, until it is sent or released; then ``view`` raises
    ValueError. Where the memory is shared with the peer, nothing is copied on the way. What was received is for reading
    only.

    The memory goes back to its maker when the Buffer was released, or is garbage, *and* nothing looks at the memory any
    more: a NumPy array or a memoryview that was made of it keeps it. A ``with`` block releases at its end. In a
    handler, what came with the call is released when the handler returns, but for what it keeps by ``keep()``.

    A Buffer may be used by several threads, but its bytes are written by one at a time. A hostile peer that runs as the
    same user can change shared bytes while they are read. Objects of this class support ``memoryview(buf)`` from Python
    3.12 on; ``buf.view`` is the same everywhere.
    """

    __slots__ = ("__weakref__", "_cell", "_kept", "_made", "_size", "shared")

    shared: bool  #: whether the peer sees the same memory; otherwise its bytes are copied through the connection

    def __init__(self, view: memoryview, made: Made | None = None, *, shared: bool = False) -> None:
        self._cell = [view]  # taken out by pop, which only one thread can
        self._size = len(view)
        self._made = made
        self._kept = False
        self.shared = shared

    @property
    def view(self) -> memoryview:
        """The bytes. ValueError once the Buffer was sent or released."""
        try:
            return self._cell[0]
        except IndexError:
            raise self._gone() from None

    def _gone(self) -> ValueError:
        return ValueError(
            f"the Buffer of {self._size} bytes was sent or released: it belongs to another now;"
            " copy() what is needed longer"
        )

    def __len__(self) -> int:
        """The size in bytes, also when the Buffer is gone."""
        return self._size

    @property
    def valid(self) -> bool:
        """Whether it is here: neither sent nor released."""
        return bool(self._cell)

    @property
    def readonly(self) -> bool:
        """Whether it was received."""
        return self.view.readonly

    def release(self) -> None:
        """Gives the memory back. A second time, and after it was sent, it does nothing."""
        if self._cell:
            self._drop()

    def _drop(self) -> None:
        try:
            self._cell.pop()
        except IndexError:
            return

    def take(self) -> memoryview:
        """Ends the owner's hold, for who sends it. ValueError if somebody has."""
        try:
            return self._cell.pop()
        except IndexError:
            raise self._gone() from None

    def give_back(self, view: memoryview) -> None:
        """Undoes take."""
        self._cell.append(view)

    @property
    def made(self) -> Made | None:
        """The segment that it lies in, if this side has made one for it."""
        return self._made

    def keep(self) -> Buffer:
        """Makes a received Buffer stay when the handler that got it has returned. Whoever keeps it has to release it,
        or to forget it.
        """
        self._kept = True
        return self

    @property
    def kept(self) -> bool:
        """Whether keep() was called."""
        return self._kept

    def copy(self) -> bytes:
        """The bytes, as memory of this process alone."""
        return bytes(self.view)

    def __enter__(self) -> Buffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __buffer__(self, flags: int) -> memoryview:
        return self.view

    def numpy(self, dtype: Any = "uint8", shape: Any = None) -> np.ndarray[Any, Any]:
        """An array over the same bytes, without a copy: for reading only where the Buffer was received. It keeps the
        memory, also when the Buffer was released. shape: one dimension, where it is missing.
        """
        import numpy as np

        array: np.ndarray[Any, Any] = np.frombuffer(self.view, dtype=dtype)
        return array if shape is None else array.reshape(shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if copy or (dtype is not None and array.dtype != dtype):
            return array.astype(dtype or array.dtype)
        return array

    def __dlpack__(self, **how: Any) -> Any:
        """DLPack export of the bytes, by NumPy: for ``torch.from_dlpack`` and its like."""
        return self.numpy().__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # the processor's memory

    def __repr__(self) -> str:
        state = ("shared" if self.shared else "private") if self._cell else "gone"
        return f"<Buffer of {self._size} bytes, {state}>"
