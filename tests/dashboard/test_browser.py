"""The real page in a real browser: started as a person starts it, drawn by Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def served(demo_url):
    port = free_port()
    command = [sys.executable, "-m", "dashboard", "--storage", demo_url, "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert process.poll() is None, process.stderr.read()
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except urllib.error.URLError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


def test_chart_table_and_details_are_drawn_and_nothing_calls_home(served, browser):
    address = served
    page = browser.new_page(viewport={"width": 1280, "height": 2200})
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".js-plotly-plot .scatterlayer .trace", timeout=60_000)
    page.wait_for_selector("[data-testid=stDataFrame] canvas", timeout=60_000)
    text = page.inner_text("body")
    for said in (
        "YOLOv6 search",
        "Best AP within the limit",
        "8.8 ms",
        "Trials",
        "read-only",
        "not comparable",
    ):
        assert said in text
    legend = page.text_content(".js-plotly-plot .legend")
    assert "deployed (this machine)" in legend and "official variant (measured here)" in legend
    assert page.locator(".js-plotly-plot .scatterlayer .trace .point").count() >= 25
    # the table is a canvas; its accessible twin holds the words
    grid = page.locator("[data-testid=stDataFrame] canvas table").first
    assert "YOLOv6-N" in grid.inner_text() and "finished" in grid.inner_text()

    box = page.locator("[data-testid=stDataFrame]").first.bounding_box()
    page.mouse.click(box["x"] + 17, box["y"] + 52)  # the box before the first row
    page.wait_for_selector("text=Trial 0: YOLOv6-N", timeout=30_000)
    page.get_by_role("tab", name="Candidate").click()
    page.wait_for_selector("text=box_loss", timeout=30_000)

    hosts = {
        urlparse(one).hostname for one in asked if urlparse(one).scheme in ("http", "https", "ws", "wss")
    }
    assert hosts == {"127.0.0.1"}
    assert complaints == []
    page.close()


def test_address_of_the_page_names_the_study(served, browser):
    address = served
    page = browser.new_page()
    page.goto(f"{address}/?study=older")
    page.wait_for_selector("[data-testid=stDataFrame] canvas", timeout=60_000)
    assert "older" in page.locator("[data-testid=stSelectbox]").inner_text() + page.content()
    assert page.url.endswith("study=older")
    page.close()


def test_taken_port_is_said_in_one_line(served, demo_url):
    port = served.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "dashboard", "--storage", demo_url, "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr and done.stderr.count("\n") == 1
