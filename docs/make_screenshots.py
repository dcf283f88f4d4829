"""Takes the pictures of the documentation from a real database.

    python docs/make_screenshots.py --storage sqlite:///runs/search.db --out docs/images/dashboard.png

Needs the packages of the `dev` extra and a Chromium (apt-get install chromium); downloads nothing.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from foundation.cli import progress, run
from foundation.errors import UserError

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_SECONDS = 60.0


def find_chromium() -> str | None:
    """Path of an installed Chromium."""
    return next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)


@contextmanager
def running_dashboard(url: str) -> Iterator[str]:
    """Start `python -m dashboard` on a free port; gives the address of the page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dashboard", "--storage", url, "--port", str(port)]
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_up(process, f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_up(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError("python -m dashboard ended at once; run it by hand to see why")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise UserError(f"the dashboard did not answer within {_START_SECONDS:g} s")


@click.command()
@click.option("--storage", "url", required=True, help="Database of a real search.")
@click.option("--study", default=None, help="Name of the study; default the newest.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG to write.")
@click.option("--height", default=1120, show_default=True, help="Pixels of the page to show.")
def screenshot(url: str, study: str | None, out: Path, height: int) -> None:
    """Take a picture of the dashboard."""
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        raise UserError("no Chromium found; install one, for example apt-get install chromium")
    with running_dashboard(url) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": height})
        page.goto(f"{address}/?study={study}" if study else address)
        page.wait_for_selector(".js-plotly-plot .scatterlayer", timeout=60_000)
        page.wait_for_selector("[data-testid=stDataFrame] canvas", timeout=60_000)
        page.wait_for_timeout(1500)  # the table draws itself after it has its data
        out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(out))
        browser.close()
    progress(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    run(screenshot, "python docs/make_screenshots.py")
