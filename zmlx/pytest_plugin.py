"""pytest: checks the Metal kernels that tests launch, without a Mac.

    pytest --zmlx-sanitize                  every test
    def test_mine(sanitize_kernels): …      one test; the fixture is the session, with .reports, .kernels and .launches

Kernels of mx.fast.metal_kernel run in the simulator then, and zmlx's own go to the target metal-sim. A test fails with what
was reported while it ran.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

_KEY = pytest.StashKey[Any]()
_TOTALS = pytest.StashKey[list[int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("zmlx").addoption("--zmlx-sanitize", action="store_true", help="check every Metal kernel that a test launches")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TOTALS] = [0, 0]


@contextmanager
def _sanitised(item: pytest.Item) -> Iterator[Any]:
    """Collects for a test what the simulator reports meanwhile."""
    from zmlx import simulator
    from zmlx.runtime import device

    with simulator.installed(sanitize=True, on_report="collect", pretend=True) as session, device.default("metal-sim"):
        item.stash[_KEY] = session
        try:
            yield session
        finally:
            totals = item.config.stash[_TOTALS]
            totals[0] += session.kernels
            totals[1] += session.launches


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    with ExitStack() as stack:
        if item.config.getoption("zmlx_sanitize"):
            stack.enter_context(_sanitised(item))
        yield


@pytest.fixture
def sanitize_kernels(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Checks every Metal kernel that the test launches; the test fails with what was reported."""
    item = request.node
    if _KEY in item.stash:  # --zmlx-sanitize
        yield item.stash[_KEY]
        return
    with _sanitised(item) as session:
        yield session


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    _settle(item, outcome, "call")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    _settle(item, outcome, "teardown")


def _settle(item: pytest.Item, outcome: Any, when: str) -> None:
    """Makes a phase fail that ended well though there are reports; beside another failure they are shown with it."""
    session = item.stash.get(_KEY, None)
    if session is None or not session.reports:
        return
    text = "\n\n".join(map(str, session.reports))
    session.reports.clear()
    if outcome.excinfo is None:
        outcome.force_exception(pytest.fail.Exception(text, pytrace=False))
    else:
        item.add_report_section(when, "zmlx sanitize", text)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist tells the process that prints
        session.config.workeroutput["zmlx"] = session.config.stash[_TOTALS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    totals = node.config.stash[_TOTALS]
    for i, n in enumerate(getattr(node, "workeroutput", {}).get("zmlx", ())):
        totals[i] += n


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("zmlx_sanitize"):
        kernels, launches = config.stash[_TOTALS]
        terminalreporter.write_line(f"zmlx sanitize: {kernels} kernels, {launches} launches checked")
