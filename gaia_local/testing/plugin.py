"""A pytest plugin for code that uses Gaia: the fixtures `gaia` and `gaia_client`.

Each pytest run of an environment with this package loads it, so it imports the engine only for a
test that asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gaia_local.testing import GaiaFixture

_fixture = pytest.StashKey["GaiaFixture"]()
_may_leave_running = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings of the ini file."""
    parser.addini(
        "gaia_runtime",
        "How Steps of the fixture gaia run: process, docker or auto.",
        default="process",
    )
    parser.addini(
        "gaia_reuse",
        "Give Steps of the fixture gaia the results of equal ones that ran before, in the same"
        " test.",
        type="bool",
        default=False,
    )
    parser.addini(
        "gaia_alias",
        "Let `import gaia` mean gaia-local in the whole run.",
        type="bool",
        default=False,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """With `gaia_alias`, make `gaia` importable before any conftest or test module imports it."""
    if early_config.getini("gaia_alias"):
        from gaia_local.compat import reserve

        reserved = contextlib.ExitStack()
        reserved.enter_context(reserve())
        early_config.add_cleanup(reserved.close)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "gaia(runtime=..., workers=..., buckets=..., leave_running=False): configure the fixture"
        " gaia with the keys of "
        "Gaia's configuration; buckets may be a list of names; leave_running allows Steps that run"
        " when the test ends.",
    )


@pytest.fixture
def gaia(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GaiaFixture]:
    """A `gaia_local.Gaia` in a temporary root, with `put`, `get` and `run`.

    Steps run as local processes by default. The test fails if Steps still run at its end.
    See `gaia_local.testing.GaiaFixture`.
    """
    from gaia_local.errors import InvalidInput
    from gaia_local.testing.fixture import fresh

    node = request.node
    with contextlib.ExitStack() as opened:
        try:
            config, node.stash[_may_leave_running] = _asked(node)
            found = node.stash[_fixture] = opened.enter_context(
                fresh(tmp_path_factory.mktemp("gaia"), config)
            )
        except InvalidInput as error:
            pytest.fail(str(error), pytrace=False)
        try:
            yield found
        finally:
            del node.stash[_fixture]
            try:
                opened.close()
            except AssertionError as error:
                pytest.fail(str(error), pytrace=False)


@pytest.fixture
def gaia_client(gaia: GaiaFixture) -> Iterator[GaiaFixture]:
    """The fixture `gaia`, while `import gaia` and `gaia.client` mean the same engine.

    So code under test that makes its own `Gaia()` runs offline, even if it imported the published
    client before.
    """
    from gaia_local.compat import install

    alias = install(gaia.config)
    try:
        yield gaia
    finally:
        alias.close(wait=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Report the workflows' states when a test fails, and fail one that leaves Steps running."""
    __tracebackhide__ = True
    try:
        yield
    except BaseException as error:
        if _fixture in item.stash and (report := item.stash[_fixture].report()) not in str(error):
            item.add_report_section("call", "gaia", report)
        raise
    if _fixture in item.stash and not item.stash[_may_leave_running]:
        unfinished = item.stash[_fixture].unfinished()
        if unfinished:
            pytest.fail(
                "the test ended while Steps were running; wait for them (gaia.run, gaia.wait),"
                " halt them, or mark it "
                "with @pytest.mark.gaia(leave_running=True):\n  " + "\n  ".join(unfinished),
                pytrace=False,
            )


def _asked(node: pytest.Item) -> tuple[dict[str, Any], bool]:
    """The configuration from settings and markers, and whether Steps may be left running."""
    from gaia_local.errors import InvalidInput, shown
    from gaia_local.testing.fixture import check_marker

    asked: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("gaia"))):  # the nearest one wins
        if mark.args:
            raise InvalidInput(
                "pytest.mark.gaia",
                f"it was given {shown(mark.args[0])}",
                "name it: runtime=…, workers=…",
            )
        asked |= mark.kwargs
    check_marker(asked)
    leave_running = asked.pop("leave_running", False)
    settings = {key: node.config.getini(f"gaia_{key}") for key in ("runtime", "reuse")}
    return {**settings, **asked}, bool(leave_running)
