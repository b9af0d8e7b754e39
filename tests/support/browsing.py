"""A real browser without network, and what it shows of a page."""

import io
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# One a test: while Playwright is there its event loop runs in this thread, and no other can start.
@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium to look with: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


# Forks of a process that has imported what the page needs, which takes eight seconds.
PAGES = multiprocessing.get_context("forkserver")
PAGES.set_forkserver_preload(
    [__name__, "latticescape.deploy.cli.browse", "latticescape.analysis.app.browser"]
)


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """The command in a process of its own, and the address it tells."""
    command = ["latticescape", "browse", *map(str, arguments), "--no-show", "--port", "0"]
    received, output = PAGES.Pipe(duplex=False)
    process = PAGES.Process(target=_browse, args=(command, output))
    process.start()
    output.close()
    try:
        with os.fdopen(os.dup(received.fileno())) as lines:
            yield lines.readline().strip()
    finally:
        received.close()
        process.terminate()
        process.join(timeout=300)
        assert process.exitcode == 128 + signal.SIGTERM


def _browse(command: list[str], output: Any) -> None:
    os.dup2(output.fileno(), 1)
    sys.argv = command
    from latticescape.deploy.cli.main import main

    main()


def screenshot(browser: Any, path: Path) -> Image.Image:
    """The whole page; it asks for nothing but itself, and meets no error."""
    context = browser.new_context(offline=True, viewport={"width": 1300, "height": 700})
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle")
    shot = page.screenshot(full_page=True)
    context.close()
    assert asked == [path.as_uri()]
    assert errors == []
    return Image.open(io.BytesIO(shot))


def assert_colourful(image: Image.Image) -> None:
    """Lines and areas are there: axes, text and an empty frame are all grey."""
    pixels = np.asarray(image.convert("RGB"), dtype=int).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels, axis=1) > 40]
    assert len(coloured) > 1000
    assert len(np.unique(coloured, axis=0)) > 20
