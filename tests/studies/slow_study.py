"""Studies whose trainings only wait, in a module that another process can import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synthbook.store import cached


class Slow:
    """A study of five trainings, which say in a file who did them.

    One may fail in other processes; the first process may wait until another has done one.
    """

    def __init__(self, p: Any, device: str) -> None:
        self.p, self.device = p, device
        self.jobs = [(p.first_seed, name) for name in "abcde"]

    def learned(self, seed: int, name: str) -> Path:
        def build(folder: Path) -> None:
            if name == self.p.failing and os.getpid() != self.p.parent:
                raise RuntimeError("not here")
            log, end = Path(self.p.log), time.monotonic() + self.p.seconds
            if os.getpid() == self.p.parent and self.p.patient:  # for another process
                while time.monotonic() < end and not log.exists():
                    time.sleep(0.05)
            elif os.getpid() != self.p.parent and not self.p.patient:
                time.sleep(self.p.seconds)
            with log.open("a", encoding="utf-8") as stream:
                stream.write(f"{name} {os.getpid()}\n")
            (folder / "result").write_text(f"{seed} {name}")

        return cached("slow", {"job": [seed, name], "log": self.p.log}, build, self.device)

    def rows(self, seed: int, name: str) -> Iterator[dict[str, Any]]:
        yield {"result": (self.learned(seed, name) / "result").read_text()}


class ByRows:
    """One that has no ``learned``: a job is done by its rows."""

    def __init__(self, p: Any, device: str) -> None:
        self.slow = Slow(p, device)
        self.jobs = self.slow.jobs

    def rows(self, seed: int, name: str) -> Iterator[dict[str, Any]]:
        yield from self.slow.rows(seed, name)
