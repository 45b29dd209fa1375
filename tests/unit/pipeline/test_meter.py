"""What a process says of itself is its own, not that of whoever started it."""

import subprocess
import sys

ROOM = 256 << 20


def test_peak_memory_is_not_the_parents() -> None:
    held = bytearray(ROOM)
    held[::4096] = b"x" * len(held[::4096])
    own = "from pipeline.meter import peak_rss_bytes; print(peak_rss_bytes())"
    child = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, check=True)
    assert 0 < int(child.stdout) < ROOM
    greedy = f"held = bytearray(b'x' * {ROOM}); {own}"
    child = subprocess.run([sys.executable, "-c", greedy], capture_output=True, text=True, check=True)
    assert int(child.stdout) > ROOM
    assert len(held) == ROOM
