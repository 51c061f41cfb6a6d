"""Debian's Chromium on the cluster that `cluster/test` started."""
import pytest
from playwright.sync_api import sync_playwright

pytest_plugins = ["cluster_fixtures"]

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A fresh browser; whatever a page complains of, a broken policy among it, fails the test."""
    context = chromium.new_context(locale="en-GB")
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text)
            if message.type == "error" and "status of 4" not in message.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    yield page
    context.close()
    assert not complaints
