"""The dashboard on a real socket, and a real browser to look at it."""

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from service.settings import Settings
from service.store.store import Store
from service.web.app import create_app
from tests.browser import seed

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)


PATIENCE = 30.0
"""Seconds that a page may take to show what a test expects: machines may be busy."""

expect.set_options(timeout=1000 * PATIENCE)


@dataclass(frozen=True)
class Site:
    """A served dashboard with its store."""

    url: str
    store: Store
    discovery: str
    """A discover job that has succeeded."""

    def job(self, job_id: str) -> str:
        """Return a job's page."""
        return f"{self.url}/jobs/{job_id}"


def serve(store: Store) -> Iterator[str]:
    """Serve the application on a free port."""
    app = create_app(store, Settings(port=0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="warning",
            timeout_graceful_shutdown=1,
            ws="none",
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    app.state.stopping.set()
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A dashboard with a finished discover job; tests start further jobs of their own."""
    path: Path = tmp_path_factory.mktemp("site") / "rulesmith.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    discovery = seed.finished_discovery(store)
    for url in serve(store):
        yield Site(url, store, discovery)
    store.close()


@pytest.fixture(scope="package")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard over a store without jobs."""
    path: Path = tmp_path_factory.mktemp("empty") / "rulesmith.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    yield from serve(store)
    store.close()


@pytest.fixture
def http(site: Site) -> Iterator[httpx.Client]:
    """A client that does not follow redirects."""
    with httpx.Client(base_url=site.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium; skips where the machine has none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile whose pages must not print an error: a blocked script or style is one."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    opened.on("weberror", lambda error: errors.append(str(error.error)))
    opened.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    yield opened
    opened.close()
    assert errors == []
