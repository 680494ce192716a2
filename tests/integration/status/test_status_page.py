"""The status page as a person sees it: Debian's Chromium, a real farm, one real job after another.

The tests go on from one another, as a person would: one farm and one browser serve them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.integration.status.conftest import TOKEN, Place
from tests.services.browser import console, emulate, requests_of, tree
from tests.services.stub_compiler import FAST, model
from tinymlaas import Client
from tinymlaas.client import Job

SECONDS = 60.0


def until(holds: Callable[[], Any], said: str = "it did not come about") -> Any:
    """Return what `holds` does as soon as it is anything; a page may go away while it looks."""
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(StaleElementReferenceException, NoSuchElementException):
            if found := holds():
                return found
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def submit(client: Client, name: str, does: str = "work", milliseconds: int = 0) -> Job:
    options = {"does": does, "milliseconds": str(milliseconds)}
    return client.submit(model(), board=FAST, compiler="stub", options=options, name=name)


def text(browser: WebDriver) -> str:
    return str(browser.execute_script("return document.querySelector('main')?.innerText ?? ''"))


def press(browser: WebDriver, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def focused(browser: WebDriver) -> str:
    script = "const e = document.activeElement; return `${e?.localName} ${e?.innerText}`"
    return str(browser.execute_script(script)).strip()


def unfinished(browser: WebDriver) -> list[str]:
    """Return the ids of the unfinished jobs, as far as they are shown, all at one moment."""
    shown = browser.execute_script(
        "return [...document.querySelectorAll('[aria-labelledby=jobs-title] tbody th')]"
        ".map(e => e.textContent)"
    )
    return [each.strip().removesuffix("…") for each in shown]


def tab_to(browser: WebDriver, wanted: str) -> None:
    """Press Tab until `wanted` has the focus, and see that one can see it there."""
    for _ in range(60):
        press(browser, Keys.TAB)
        if focused(browser) == wanted:
            script = "return getComputedStyle(document.activeElement).outlineStyle"
            ring = browser.execute_script(script)
            assert ring != "none", f"nobody sees that {wanted} has the focus"
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


def overflow(browser: WebDriver) -> list[str]:
    """Return what is wider than the screen."""
    return browser.execute_script(
        "const wide = document.documentElement.clientWidth;"
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('pre') &&"
        " !e.closest('.hidden, thead') && e.getBoundingClientRect().right > wide + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
        ".concat(document.documentElement.scrollWidth > wide ? ['the page'] : [])"
    )


def test_the_way_of_a_job_by_keyboard_alone(
    place: Place, client: Client, browser: WebDriver
) -> None:
    """Sign in, see jobs appear and go on live; see one end, read its table, fetch its module."""
    downloads = place.running.folder / "downloads"
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
    )
    browser.get(place.active)
    assert browser.current_url.endswith("/login?next=/")
    assert focused(browser) == "input", "one can type at once"
    press(browser, "not-the-token-of-it", Keys.ENTER)
    until(lambda: "This is not the token." in text(browser))
    assert [role for role, _ in tree(browser)].count("alert") == 1
    console(browser)  # Chromium notes the 403
    press(browser, TOKEN, Keys.ENTER)
    until(lambda: "No job is unfinished." in text(browser))
    assert TOKEN not in browser.current_url
    browser.execute_script("window.sameDocument = true")

    long = submit(client, "keyword", "print", 60_000)
    until(lambda: long.id[:12] in text(browser), "the job does not appear by itself")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".badge.compiling"))
    assert browser.execute_script("return window.sameDocument"), "the page was not loaded anew"
    tab_to(browser, f"a {long.id[:12]}…")
    press(browser, Keys.ENTER)
    until(lambda: "keyword on" in text(browser))
    first = until(lambda: _line(text(browser)), "no log is shown")
    until(lambda: _line(text(browser)) not in {"", first}, "the log does not grow")
    long.cancel()
    ends = ("cancelled", "done")  # the latter where all this took a minute
    until(lambda: any(end in browser.find_element(By.ID, "state").text for end in ends))

    tab_to(browser, "a Farm")
    press(browser, Keys.ENTER)
    until(lambda: "No job is unfinished." in text(browser))
    browser.execute_script("window.sameDocument = true")
    hold = submit(client, "hold", milliseconds=600_000)  # keeps the one worker, until cancelled
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".badge.compiling"))
    short, job = submit(client, "wake"), submit(client, "gesture")
    until(lambda: {short.id[:12], job.id[:12]} <= set(unfinished(browser)))
    tab_to(browser, f"a {job.id[:12]}…")
    short.cancel()
    until(lambda: short.id[:12] not in unfinished(browser))
    assert focused(browser) == f"a {job.id[:12]}…", "focus is lost when the page changes"
    assert browser.execute_script("return window.sameDocument")
    press(browser, Keys.ENTER)
    until(lambda: "gesture on" in text(browser))
    until(lambda: "Waits for" in text(browser))
    browser.execute_script("window.sameDocument = true")
    hold.cancel()
    until(lambda: "done" in browser.find_element(By.ID, "state").text)
    assert browser.execute_script("return window.sameDocument")
    assert job.result().status == "done"

    until(lambda: "Download the module" in text(browser))
    heard = tree(browser)
    headings = {name for role, name in heard if role == "columnheader"}
    assert {"candidate", "status", "flash B", "RAM B", "instructions", "error"} <= headings
    assert any(role == "rowheader" and name.startswith("stub") for role, name in heard)
    shown = browser.find_elements(By.CSS_SELECTOR, "#candidates tbody tr")
    assert len(shown) == 1
    row = [cell.text for cell in shown[0].find_elements(By.CSS_SELECTOR, "th, td")]
    assert row[0].startswith("stub")
    assert "built" in row[1]
    assert row[2].replace(",", "").isdecimal(), "flash, in bytes"
    assert "linked" in text(browser), "and how it is known"

    tab_to(browser, "a Download the module")
    press(browser, Keys.ENTER)
    archive = downloads / f"gesture-{FAST}.zip"
    until(archive.is_file)
    until(lambda: not list(downloads.glob("*.crdownload")))
    record = job.status()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert record.module == f"tenants/acme/modules/{digest}/module.zip"
    assert console(browser) == []


def _line(page: str) -> str:
    return next((line for line in reversed(page.splitlines()) if line.startswith("line ")), "")


def test_one_in_standby_shows_the_same(place: Place, client: Client, browser: WebDriver) -> None:
    job = submit(client, "elsewhere", milliseconds=2000)
    browser.get(place.standby)
    until(lambda: job.id[:12] in text(browser))
    footer = browser.find_element(By.TAG_NAME, "footer").text
    says, _, reads = footer.partition(" Read from ")
    assert f"/{place.scheduler('active').pid} said at" in says
    assert f"/{place.scheduler('standby').pid}." in reads
    job.result()
    until(
        lambda: (
            "elsewhere"
            in browser.find_element(By.CSS_SELECTOR, "[aria-labelledby=ended-title]").text
        )
    )
    assert console(browser) == []


def test_a_narrow_screen_needs_no_scrolling_to_the_side(
    place: Place, client: Client, browser: WebDriver
) -> None:
    running = submit(client, "n" * 48, "print", 2000)
    try:
        for path in ("/", f"/jobs/acme/{running.id}", "/tenants/acme"):
            emulate(browser, 360, 740)
            browser.get(place.active + path)
            assert overflow(browser) == []
            emulate(browser, 360, 740, "dark")
            assert overflow(browser) == []
        running.result()
        browser.get(f"{place.active}/jobs/acme/{running.id}")
        assert overflow(browser) == []
        roles = [role for role, _ in tree(browser)]
        assert "table" in roles, "a table stays one for who reads by ear"
        assert "rowheader" in roles
    finally:
        emulate(browser, 1280, 900)
    assert console(browser) == []


def test_why_a_job_failed(place: Place, client: Client, browser: WebDriver) -> None:
    job = submit(client, "refused", "refuse")
    job.result()
    browser.get(f"{place.active}/jobs/acme/{job.id}")
    shown = text(browser)
    assert "rejected" in shown
    assert "the stub was told to refuse" in shown
    assert "Download" not in shown
    browser.get(f"{place.active}/")
    find = browser.find_element(By.NAME, "job")
    tenant = browser.find_element(By.NAME, "tenant")
    tenant.clear()
    tenant.send_keys("acme")
    find.send_keys(job.id, Keys.ENTER)
    until(lambda: "the stub was told to refuse" in text(browser))
    assert console(browser) == []


def test_nothing_comes_from_elsewhere(place: Place, browser: WebDriver) -> None:
    requests_of(browser)
    browser.get(place.active)
    asked: list[str] = []

    def has_script() -> bool:
        asked.extend(requests_of(browser))
        return any("live.js" in url for url in asked)

    until(has_script)
    assert [url for url in asked if not url.startswith((place.active, "data:"))] == []


def test_without_javascript_there_is_all_of_it(place: Place, browser: WebDriver) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(place.active)
        assert "Last results" in browser.page_source
        assert 'http-equiv="refresh"' in browser.page_source
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_who_is_signed_out_meanwhile_is_asked_for_the_token(
    place: Place, browser: WebDriver
) -> None:
    browser.get(f"{place.active}/tenants/acme")
    until(lambda: "Last results" in text(browser))
    console(browser)
    browser.delete_all_cookies()
    until(lambda: browser.current_url.endswith("/login?next=/tenants/acme"))
    console(browser)  # Chromium notes the 401


@pytest.mark.parametrize("page", ["/metrics", "/healthz", "/readyz"])
def test_probes_need_no_token(place: Place, page: str) -> None:
    with urllib.request.urlopen(place.active + page, timeout=SECONDS) as answer:
        assert answer.status == 200


def test_no_log_has_the_token(place: Place) -> None:
    logs = [Path(each.log).read_text() for each in place.running.processes()]
    assert all(TOKEN not in log for log in logs)
    assert not [
        line for log in logs for line in log.splitlines() if "a page could not be made" in line
    ]
