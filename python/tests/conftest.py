"""For all tests."""

from __future__ import annotations

import signal

# Who was started in the background by a shell has Ctrl-C ignored, and so have its children; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
