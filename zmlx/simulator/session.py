"""How kernels run now: checked or not, and what becomes of reports. Sessions nest; the innermost decides."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from typing import Literal

from zmlx import knobs
from zmlx.simulator.diagnostics import SanitizerError
from zmlx.simulator.report import Report

OnReport = Literal["raise", "collect", "warn"]
TIME_LIMIT = 60.0  # seconds of a launch; an endless loop is stopped then


class SanitizerWarning(UserWarning):
    """A report, in a session with on_report="warn"."""


@dataclass
class Session:
    """What kernels did between the start and the end of a `with installed(…)`."""

    sanitize: bool | None = None  # None: as outside
    on_report: OnReport = "raise"
    time_limit: float | None = None
    reports: list[Report] = field(default_factory=list)
    launches: int = 0
    _kernels: set[int] = field(default_factory=set, repr=False)

    @property
    def kernels(self) -> int:
        """Distinct kernels launched; each combination of dtypes and template arguments is one."""
        return len(self._kernels)


@dataclass
class Trace:
    """A thread of the grid that is followed, and what it did."""

    thread: tuple[int, int, int]
    kernel: str | None
    echo: bool
    lines: list[str]


_lock = threading.Lock()
_sessions: list[Session] = []
_traces: list[Trace] = []


def push(session: Session) -> None:
    with _lock:
        _sessions.append(session)


def pop(session: Session) -> None:
    with _lock:
        _sessions[:] = [s for s in _sessions if s is not session]


def begin_trace(trace: Trace) -> None:
    with _lock:
        _traces.append(trace)


def end_trace(trace: Trace) -> None:
    with _lock:
        _traces[:] = [t for t in _traces if t is not trace]


def sanitizing() -> bool:
    """Whether a launch is checked that does not say so itself."""
    for session in reversed(_sessions):
        if session.sanitize is not None:
            return session.sanitize
    return knobs.SANITIZE.get() == "1"


def time_limit() -> float:
    for session in reversed(_sessions):
        if session.time_limit is not None:
            return session.time_limit
    return TIME_LIMIT


def tracing(kernel: str) -> Trace | None:
    return next((t for t in reversed(_traces) if t.kernel in (None, kernel)), None)


def count(program: int) -> None:
    """Notes a launch of the program with this hash."""
    with _lock:
        for session in _sessions[-1:]:
            session.launches += 1
            session._kernels.add(program)


def settle(reports: list[Report], lost: int) -> None:
    """Raises, collects or warns, as the innermost session says; without one, raises."""
    if not reports:
        return
    with _lock:
        session = _sessions[-1] if _sessions else None
        if session is not None:
            session.reports += reports
    if session is None or session.on_report == "raise":
        raise SanitizerError(reports, lost)
    if session.on_report == "warn":
        for report in reports:
            warnings.warn(str(report), SanitizerWarning, stacklevel=4)
