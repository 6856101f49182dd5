"""A page of a real server in Chromium, with both of ComfyUI's renderers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_client import ComfyClient
from comfy_server import ComfyServer
from playwright.sync_api import Browser
from support.browser_page import Page, chromium, configure, post


@pytest.fixture(scope="module")  # not session: no other event loop can run in this thread meanwhile
def browser() -> Iterator[Browser]:
    try:
        with chromium() as browser:
            yield browser
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["canvas", "nodes 2.0"])
def renderer(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def language(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "en")


@pytest.fixture(scope="module")
def loaded_page(browser: Browser, server: ComfyServer, renderer: str, language: str) -> Iterator[Page]:
    """The page of a returning user. Loading it takes longer than most tests."""
    configure(server.client, nodes_2=renderer == "nodes 2.0", language=language)
    context = browser.new_context(
        viewport={"width": 1500, "height": 1000}, permissions=["clipboard-read", "clipboard-write"]
    )
    yield Page(context.new_page(), server.client, renderer.replace(" ", "_"))
    context.close()


@pytest.fixture
def page(loaded_page: Page) -> Iterator[Page]:
    """The page with a new, empty workflow."""
    post(f"{loaded_page.client.url}/free", {"free_memory": True})  # else results cached by other tests are reused
    loaded_page.start_over()
    yield loaded_page
    loaded_page.screenshot("last")
    assert not loaded_page.errors, "\n".join(loaded_page.errors)


@pytest.fixture
def red_square(client: ComfyClient, tmp_path: Path) -> str:
    """An SVG file in the server's input folder."""
    body = '<rect width="96" height="96" fill="#fff"/><rect x="28" y="28" width="40" height="40" fill="#e33"/>'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">{body}</svg>'
    (tmp_path / "red_square.svg").write_text(drawing)
    return client.upload_image(tmp_path / "red_square.svg")
