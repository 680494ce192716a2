"""Debian's Chromium without a window, for tests of pages and for pictures of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

from workers import guardian

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en",
)


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[WebDriver]:
    """Run a browser with a profile of its own; what its console says is kept (`console`)."""
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with guardian.scratch("chromium") as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
        driver.set_page_load_timeout(30)
        try:
            yield driver
        finally:
            driver.quit()


def console(driver: WebDriver) -> list[str]:
    """Return what the console has said since this was asked last."""
    return [f"{each['level']}: {each['message']}" for each in driver.get_log("browser")]


def emulate(driver: Any, width: int, height: int, scheme: str = "light", scale: float = 1) -> None:
    """Have the page shown as on a screen of `width` by `height`, in a light or dark `scheme`."""
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def tree(driver: Any) -> list[tuple[str, str]]:
    """Return role and name of every node of the accessibility tree that is not ignored."""
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [
        (node.get("role", {}).get("value", ""), node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored")
    ]


def requests_of(driver: WebDriver) -> list[str]:
    """Return the URLs that pages have asked for since this was asked last."""
    said = (json.loads(each["message"])["message"] for each in driver.get_log("performance"))
    return [
        each["params"]["request"]["url"]
        for each in said
        if each["method"] == "Network.requestWillBeSent"
    ]
