"""Waiting for what the SDK does on threads of its own."""

import time

PATIENCE = 120


def wait(what, until):
    started = time.monotonic()
    while not until():
        assert time.monotonic() - started < PATIENCE, f"waited in vain for {what}"
        time.sleep(0.01)
