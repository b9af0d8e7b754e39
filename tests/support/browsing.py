"""A real browser without network, and what it shows of a page."""

import io
import shutil
import signal
import subprocess
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


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """The command, and the address it tells."""
    command = [sys.executable, "-m", "latticescape", "browse", *map(str, arguments)]
    process = subprocess.Popen(
        [*command, "--no-show", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM


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
