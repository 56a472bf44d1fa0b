"""A process of its own that trains and is killed by a real SIGKILL at a stated moment: WHEN COUNT OPTIONS..."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from fastgan.cli import app
from fastgan.trainers import checkpoint
from fastgan.trainers.sngan import SNGAN


def _kill_at_call(count: int, function: Any) -> Any:
    calls = 0

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return wrapped


if __name__ == "__main__":
    when, count, *options = sys.argv[1:]
    if when == "mid-step":
        # After the discriminator's updates, before the generator's.
        SNGAN.generator_loss = _kill_at_call(int(count), SNGAN.generator_loss)
    elif when == "mid-write":
        # The temporary file has been cut to half of what it will be, and has no name yet.
        save_file = checkpoint.save_file
        kill = _kill_at_call(int(count), lambda: None)

        def save_half(tensors: Any, path: Path, metadata: Any) -> None:
            save_file(tensors, path, metadata)
            size = path.stat().st_size
            os.truncate(path, size // 2)
            kill()
            os.truncate(path, 0)
            save_file(tensors, path, metadata)

        checkpoint.save_file = save_half
    app(options)
