"""Trainings side by side: more processes do the jobs of a study, ahead of the run that waits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from synthbook.errors import InputError
from synthbook.machine import prepare

_MADE: dict[type, Any] = {}  # the study that this process works for


class Study(Protocol):
    """What is made of a chapter's parameters and a device, and has the chapter's trainings.

    All that is expensive is in the cache. A job is done by ``learned``, or where a study has no
    such method by ``rows``.
    """

    jobs: list[tuple[Any, ...]]


@contextmanager
def ahead(study: Study, p: Any) -> Iterator[None]:
    """Have ``p.workers`` processes do the trainings of a study while the block asks for them.

    This one is the first of them. The others begin with the last job, and leave what they learn in
    the cache (`store.cached`), where this one finds it, or waits for it; so rows, and their order,
    are the same with any number of them. What fails in another process fails in this one too, when
    it comes to that job, and is told there. When the block ends, or this process does, they end.

    Args:
        study: its class makes it of ``p`` and a device (`machine.prepare`).
        p: the chapter's parameters: ``workers``, ``device`` and ``threads`` among them.

    Raises:
        InputError: the study's class is in no module, where another process would find it.
    """
    others = min(p.workers, len(study.jobs)) - 1
    if others < 1:
        yield
        return
    kind, module = type(study), sys.modules.get(type(study).__module__)
    if kind.__module__ == "__main__" or getattr(module, kind.__qualname__, None) is not kind:
        raise InputError(
            f"workers {p.workers}: other processes find no study {kind.__name__}, which a notebook"
            " or a function defines; put it into a module, or set workers to 1"
        )
    # A process that is forked would hold the locks, GPU and threads of this one.
    pool = multiprocessing.get_context("spawn").Pool(others, _begin)
    try:
        jobs = [(kind, p, job) for job in reversed(study.jobs)]
        pool.map_async(_do, jobs, chunksize=1)
        yield
    finally:
        pool.terminate()
        pool.join()


def _begin() -> None:
    """Be silent, and end with the process that began this one, which alone heeds Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # a kernel's are its notebook
        os.dup2(nowhere, stream)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _do(asked: tuple[type, Any, tuple[Any, ...]]) -> None:
    """Do a job of a study, whose result the cache keeps."""
    kind, p, job = asked
    if kind not in _MADE:
        _MADE[kind] = kind(p, prepare(p.device, p.threads))
    study = _MADE[kind]
    if hasattr(study, "learned"):
        study.learned(*job)
    else:
        for _ in study.rows(*job):
            pass
