"""A real Chromium, and Alice's shop on a real server. The clock is real, so tests promise nothing about dates."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.pages import Life, live

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


# Per module, not per session: while Playwright is open its event loop counts as running; other tests must not see it.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not os.path.exists(CHROMIUM):
        pytest.skip("Chromium is not installed")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the ORM refuses to work in a thread with a running loop
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Desk:
    """Somebody at a screen. `complaints` are errors in the console, among them refusals of the security policy."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def sign_in(self, email: str = "alice@example.com") -> None:
        self.open("/")
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password").fill("correct horse battery")
        self.page.get_by_role("button", name="Sign in").click()

    @property
    def scrolls_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.fixture
def sit_down(chromium, live_server):
    """sit_down(width=…, scheme=…, script=…): a fresh browser window at the shop's server."""
    contexts = []

    def sit(*, width: int = 1280, scheme: str = "light", script: bool = True) -> Desk:
        look = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        context = chromium.new_context(java_script_enabled=script, **look)
        contexts.append(context)
        desk = Desk(page=context.new_page(), url=live_server.url)
        desk.page.set_default_timeout(15_000)

        def listen(message: ConsoleMessage) -> None:
            if message.type == "error":
                desk.complaints.append(message.text)

        desk.page.on("console", listen)
        desk.page.on("pageerror", lambda error: desk.complaints.append(str(error)))
        return desk

    yield sit
    for context in contexts:
        context.close()


@pytest.fixture
def life(transactional_db, cast) -> Life:
    """Jane wrote a few minutes ago, so an answer to her goes out at any hour; her visit is on the next free day."""
    now = timezone.now()
    visit = (now + timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    return live(cast.shop, user=cast.alice, now=now, visit_at=visit, wrote_before=timedelta(minutes=5))
