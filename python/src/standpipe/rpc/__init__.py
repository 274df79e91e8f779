"""Calls and streams over a connection, both ways. spec/wire.md, section 3, has the bytes."""
