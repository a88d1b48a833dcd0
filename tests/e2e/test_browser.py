"""The UI in a real browser: the asset graph and a run, as an operator sees them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.product import ENVIRONMENTS, Ui

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module")
def shown() -> tuple[str, ...]:
    return ENVIRONMENTS


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1700,1350",
    "--force-device-scale-factor=1",
)
ZOOM_OUT = 6
SERVICES = (
    *("postgres", "redis", "qdrant", "minio"),
    *("vllm", "litellm"),
    *("multimodal-worker", "retrieval-proxy"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail("no chromium and chromedriver: install them with `make browser`")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    running = webdriver.Chrome(options=options, service=Service(driver))
    running.set_page_load_timeout(300)
    try:
        yield running
    finally:
        running.quit()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: to look at, or (MMSTACK_PICTURES) to put into the docs."""
    chosen = os.environ.get("MMSTACK_PICTURES")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def run(ui: Ui) -> str:
    """A finished start of development."""
    selector = {
        "repositoryLocationName": "development",
        "repositoryName": "__repository__",
        "pipelineName": "start_environment",
    }
    launched = ui.launch(selector)
    ui.wait_for(launched, "SUCCESS")
    return launched


def _wait_for_texts(browser: webdriver.Chrome, *texts: str) -> None:
    """Wait until the page shows every text."""

    def all_there(driver: webdriver.Chrome) -> bool:
        body = driver.find_element(By.TAG_NAME, "body").text
        return all(text in body for text in texts)

    WebDriverWait(browser, 300).until(all_there, f"not all of {texts} on {browser.current_url}")


def test_the_asset_graph_shows_stacks_and_services(
    browser: webdriver.Chrome, ui: Ui, run: str, pictures: Path
) -> None:
    # Services only: backups have a graph of their own behind each.
    wanted = 'code_location:"development" and tag:"wanted"="yes" and kind:"docker"'
    selection = quote(wanted, safe="")
    expanded = quote(",".join(f"global@global:{stack}" for stack in ("core", "inference", "ai")))
    browser.get(f"{ui.url}/asset-groups~{selection}?expanded={expanded}")
    _wait_for_texts(browser, "2 / 2 Passed", "Materialized")
    # The graph fits the window's width only, and nodes out of sight aren't rendered.
    for _ in range(ZOOM_OUT):
        browser.find_element(By.CSS_SELECTOR, "[aria-label=zoom_out]").click()
        time.sleep(0.7)
    _wait_for_texts(browser, *SERVICES)
    assert browser.save_screenshot(str(pictures / "asset-graph.png"))


def test_a_run_page_shows_what_happened(
    browser: webdriver.Chrome, ui: Ui, run: str, pictures: Path
) -> None:
    browser.get(f"{ui.url}/runs/{run}")
    # The log begins at its end; the materializations stand further up.
    _wait_for_texts(browser, "start_environment", "bring_up", "check_core")
    assert browser.save_screenshot(str(pictures / "run.png"))


def test_an_asset_page_shows_its_metadata(
    browser: webdriver.Chrome, ui: Ui, run: str, pictures: Path
) -> None:
    browser.get(f"{ui.url}/assets/development/core/postgres")
    _wait_for_texts(browser, "seconds_to_healthy", "container_id")
    assert browser.save_screenshot(str(pictures / "asset.png"))
