"""Take the pictures in docs/screenshots/ anew: of a real farm with jobs of the digits model.

make screenshots          # two minutes; needs Chromium, RabbitMQ, SeaweedFS as the tests do
"""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.services.browser import chromium, console, emulate
from tests.services.farm import farm
from tinymlaas import Client
from workers import guardian

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "screenshots"
DIGITS = ROOT / "examples" / "digits"
BOARDS = (
    "nucleo-f446re",
    "nucleo-f746zg",
    "nucleo-l4r5zi",
    "rpi-pico2",
    "nrf5340dk",
    "stm32f4-discovery",
    "frdm-kl25z",
)
DIGITS_JOB: dict[str, Any] = {
    "model": DIGITS / "digits.onnx",
    "calibration": DIGITS / "calibration_digits.npz",
    "data": DIGITS / "test_digits.npz",
    "name": "digits",
}
TOKEN = "a-token-for-the-pictures"  # noqa: S105 - of a farm that lives for minutes
MOST_BYTES = 150_000
WIDTH, HEIGHT = 1200, 860
PATIENCE = 240.0


def main() -> int:
    """Take all pictures; return the process's status."""
    only = sys.argv[1:]
    with guardian.scratch("pictures") as folder:
        pools = ["cmsis-nn", "tflm", "tvm"]
        with (
            farm(folder / "farm", pools, TINYMLAAS_STATUS_TOKEN=TOKEN) as running,
            chromium(WIDTH, HEIGHT) as browser,
        ):
            for name, value in running.environment.items():
                if name.startswith(("AWS_", "TINYMLAAS_")):
                    os.environ[name] = value
            url = running.schedulers[0].url
            browser.get(f"{url}/login")
            emulate(browser, WIDTH, HEIGHT)
            browser.find_element("id", "token").send_keys(TOKEN, "\n")
            take(browser, url, only)
    return 0


def take(browser: Any, url: str, only: list[str]) -> None:
    """Have jobs run, and take a picture of each page as it comes about."""

    def shown(name: str, scheme: str = "light", width: int = WIDTH, height: int = HEIGHT) -> None:
        emulate(browser, width, height, scheme)
        picture(browser, name)
        emulate(browser, WIDTH, HEIGHT)

    with Client(tenant="acme") as acme, Client(tenant="lab") as lab:
        done = acme.submit(**DIGITS_JOB, board=BOARDS[0])
        browser.get(f"{url}/jobs/acme/{done.id}")
        until(lambda: (done.status().candidates_done or 0) >= 4)
        until(lambda: "Log of what runs now" in browser.page_source)
        shown("job-running")
        done.result(PATIENCE)
        for number, objective in enumerate(("flash", "ram", "latency", "flash", "latency")):
            who = lab if number % 2 else acme  # all of it is there: only the choice is made anew
            who.submit(**DIGITS_JOB, board=BOARDS[0], objective=objective).result(PATIENCE)
        lab.submit(DIGITS / "digits.onnx", "arduino-uno", name="digits_uno").result(PATIENCE)
        for number in range(8):
            who = lab if number % 3 else acme
            who.submit(**DIGITS_JOB, board=BOARDS[1 + number % (len(BOARDS) - 1)], priority=number)
        browser.get(url)
        until(lambda: len(browser.find_elements("css selector", "td.progress .stage")) >= 3)
        shown("overview")
        browser.get(f"{url}/jobs/acme/{done.id}")
        shown("job-done")
        shown("job-done-dark", "dark")
        shown("job-done-phone", "light", 360, 780)
    if said := console(browser):
        raise SystemExit("\n".join(said))


def until(holds: Callable[[], bool]) -> None:
    """Return when it holds; where it never does there is nothing to be pictured."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("what the picture is to show did not come about")
        time.sleep(0.2)


def picture(browser: Any, name: str) -> None:
    """Keep what the browser shows."""
    time.sleep(0.3)  # until what is drawn is drawn
    data = base64.b64decode(browser.get_screenshot_as_base64())
    if len(data) > MOST_BYTES:
        raise SystemExit(f"{name} has {len(data):,} bytes, more than {MOST_BYTES:,}")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(data)
    print(f"{name}.png: {len(data):,} bytes")


if __name__ == "__main__":
    sys.exit(main())
