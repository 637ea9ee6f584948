from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import HTTPConnection

from backend.routers.origins import PublicUrlMiddleware, is_cross_origin_write, service_base_url

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


def asked(
    method: str = "POST", scheme: str = "http", server: Any = ("127.0.0.1", 8000), **headers: str
) -> Any:
    told = {"host": "here:8000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    scope = {
        "type": "http",
        "method": method,
        "scheme": scheme,
        "server": server,
        "headers": raw,
        "path": "/",
    }
    return HTTPConnection(scope)


@pytest.mark.parametrize("origin", ["http://here:8000", "HTTP://HERE:8000"])
def test_a_page_of_its_own_may_do_more_than_read(origin: str) -> None:
    assert not is_cross_origin_write(asked(origin=origin))


@pytest.mark.parametrize(
    "origin",
    [
        "https://here:8000",
        "http://here",
        "http://here:8001",
        "http://here.evil:8000",
        "null",
        "",
        "http://[",
        "http://here:x",
    ],
)
def test_another_scheme_host_or_port_is_foreign(origin: str) -> None:
    assert is_cross_origin_write(asked(origin=origin))


def test_the_default_port_may_be_left_out() -> None:
    assert not is_cross_origin_write(asked(origin="http://here", host="here:80"))


async def test_behind_a_proxy_the_origin_is_the_configured_one() -> None:
    seen: list[HTTPConnection] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(HTTPConnection(scope))

    behind = asked(origin="https://patchbay.example", host="127.0.0.1:8000", x_forwarded_proto="https")
    await PublicUrlMiddleware(app, "https://patchbay.example/")(behind.scope, _unused, _unused)

    assert is_cross_origin_write(behind)
    assert not is_cross_origin_write(seen[0])
    assert service_base_url(seen[0]) == "https://patchbay.example"


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_request_without_an_origin_is_foreign_if_the_browser_says_so(site: str) -> None:
    assert is_cross_origin_write(asked(sec_fetch_site=site))


@pytest.mark.parametrize("said", [{"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}, {}])
def test_request_without_an_origin_or_from_our_own_page_is_not_foreign(said: dict[str, str]) -> None:
    assert not is_cross_origin_write(asked(**said))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_anybodys_page_may_have_something_read(method: str) -> None:
    assert not is_cross_origin_write(asked(method, origin="http://elsewhere"))


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (("127.0.0.1", 8000), "http://127.0.0.1:8000"),
        (("127.0.0.1", 80), "http://127.0.0.1"),
        (("::1", 8000), "http://[::1]:8000"),
    ],
)
def test_no_header_changes_the_base_url(server: Any, url: str) -> None:
    assert service_base_url(asked(server=server, host="evil.example", x_forwarded_host="evil.example")) == url


async def _unused(*_: Any) -> Any:
    raise AssertionError
