"""What both kinds of connection have in common: that closing waits for nobody, and that nothing is closed under
a call that uses it.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import AbstractContextManager


class Closing:
    """One call sends and one receives at a time, and close comes at any moment, also out of a finalizer within
    such a call.

    A call says that it has begun before it looks whether all is closed, and close says that all is closed
    before it looks who is in a call: so one of them sees the other, and who leaves last gives up the
    descriptors.
    """

    closed = True  # until all is made

    def __init__(self) -> None:
        self.closed = False
        self._sending = False
        self._receiving = False
        self.given_up = False
        self._finishing = threading.RLock()  # a finalizer may come in between

    def close(self) -> None:
        with self._finishing:
            if self.closed:
                return
            self.closed = True
            self.unblock()
            self.finish()

    def __del__(self) -> None:
        if not self.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def finish(self) -> None:
        """Give up the descriptors, if nobody uses them any more. Who leaves a call when all is closed calls it."""
        with self._finishing:
            if self.given_up or self._sending or self._receiving:
                return
            self.given_up = True
            self.give_up()

    def in_use(self) -> AbstractContextManager[object]:
        """Keep the descriptors from being given up, for a moment. Within it, given_up says whether they were."""
        return self._finishing

    def unblock(self) -> None:
        """End the calls that wait. The descriptors stay open until give_up."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Close the descriptors. Nobody uses them."""
        raise NotImplementedError
