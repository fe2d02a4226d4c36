"""`make screenshots`: the pictures of the README, taken from the running demo in Debian's Chromium.

Starts web, worker and beat on a data folder of its own, plays the first five minutes, and writes docs/screenshots/.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
PICTURES = PROJECT / "docs" / "screenshots"


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        os.environ |= {"FRONTDESK_DATA": data, "LOG_LEVEL": "ERROR"}
        manage("migrate", "--verbosity", "0")
        manage("seed_demo")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        celery = ("celery", "-q", "-A", "config.celery")
        processes = [
            start("web", "granian", "--interface", "wsgi", "--port", str(port), "config.wsgi:application"),
            start("worker", *celery, "worker", "-Q", "inbound,outbound,bulk", "--concurrency", "1", "-l", "error"),
            start("beat", *celery, "beat", "-s", f"{data}/schedule", "--pidfile=", "-l", "error"),
        ]  # fmt: skip
        try:
            wait_for(port)
            take(f"http://127.0.0.1:{port}", logins(Path(data)))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=20)


def take(base: str, passwords: dict[str, str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        desk = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        desk.goto(f"{base}/simulator/")
        for words in ("need ac repair asap", "1"):
            field = desk.locator("form:has(button[type=submit]) input[name=body], form textarea[name=body]").first
            field.fill(words)
            field.press("Enter")
            desk.wait_for_timeout(3000)
        desk.wait_for_timeout(5000)  # the alert rings on the owner's phone
        picture(desk, "simulator")
        sign_in(desk, f"{base}/accounts/login/", "owner@acme.example", passwords)
        desk.goto(f"{base}/app/")
        picture(desk, "today")
        desk.goto(f"{base}/app/t_acme/inbox/")
        desk.get_by_role("link", name=re.compile("Jane")).first.click()
        desk.wait_for_timeout(800)
        picture(desk, "thread")
        desk.goto(f"{base}/app/t_acme/leads/board/")
        picture(desk, "board")
        desk.get_by_role("link", name="Alma Restrepo").first.click()
        desk.wait_for_load_state("networkidle")
        picture(desk, "lead")
        phone = browser.new_context(
            viewport={"width": 360, "height": 740}, color_scheme="dark", device_scale_factor=2
        ).new_page()
        sign_in(phone, f"{base}/accounts/login/", "owner@acme.example", passwords)
        phone.goto(f"{base}/app/")
        picture(phone, "today-phone-dark")
        staff = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        sign_in(staff, f"{base}/admin/login/", "staff@frontdesk.example", passwords)
        staff.wait_for_timeout(500)
        picture(staff, "admin")
        staff.goto(f"{base}/admin/marketplace/stock/")
        picture(staff, "shelf")
        buyer = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        sign_in(buyer, f"{base}/accounts/login/", "owner@harbor.example", passwords)
        buyer.goto(f"{base}/app/harbor/buy/")
        picture(buyer, "buy-leads")
        browser.close()


def sign_in(page: Page, address: str, who: str, passwords: dict[str, str]) -> None:
    page.goto(address)
    page.fill("input[name=username]", who)
    page.fill("input[name=password]", passwords[who])
    page.press("input[name=password]", "Enter")
    page.wait_for_load_state("networkidle")


def picture(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png")
    print(f"docs/screenshots/{name}.png")


def logins(data: Path) -> dict[str, str]:
    return dict(re.findall(r"(\S+@\S+)\s+(\S+)", (data / "demo_login.txt").read_text()))


def manage(*arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


def start(process: str, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env=os.environ | {"FRONTDESK_PROCESS": process}
    )


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("The pages did not come up.")


if __name__ == "__main__":
    main()
