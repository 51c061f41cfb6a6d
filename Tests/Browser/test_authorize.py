"""The pages on which people log in and let applications in."""
import http.server
import threading
import urllib.parse

import pytest
from playwright.sync_api import expect

from people import OUT_OF_BAND


class Callback:
    """An application that waits for its code on a port of its own."""

    def __init__(self):
        self.queries = []
        callback = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                callback.queries.append(urllib.parse.urlsplit(self.path).query)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<link rel=icon href=data:,><p>welcome back</p>")

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/callback"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self):
        return urllib.parse.parse_qs(self.queries[-1])

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def callback():
    callback = Callback()
    yield callback
    callback.close()


def address(site, application, redirect=OUT_OF_BAND, **more):
    query = {"client_id": application["client_id"], "response_type": "code",
             "redirect_uri": redirect, "scope": "read write", **more}
    return f"{site.url}/oauth/authorize?{urllib.parse.urlencode(query)}"


def log_in(page, person, password=None):
    page.get_by_label("Username or e-mail address").fill(person.name)
    page.get_by_label("Password").fill(password or person.password)
    page.get_by_role("button", name="Log in").click()


def token(site, application, code, redirect=OUT_OF_BAND):
    return site.call("POST", "/oauth/token", data={
        "grant_type": "authorization_code", "code": code, "redirect_uri": redirect,
        "client_id": application["client_id"], "client_secret": application["client_secret"],
    }).json()["access_token"]


def test_a_person_logs_in_agrees_and_copies_the_code(site, ana, page):
    application = site.register()

    page.goto(address(site, application))
    log_in(page, ana)
    expect(page.get_by_text(f"@{ana.name}")).to_be_visible()
    page.get_by_role("button", name="Authorise").click()
    code = page.get_by_label("Authorisation code").input_value()

    me = site.call("GET", "/api/v1/accounts/verify_credentials",
                   token=token(site, application, code)).json()
    assert me["id"] == ana.id


def test_a_wrong_password_is_told_and_may_be_corrected(site, ana, page):
    page.goto(address(site, site.register()))

    log_in(page, ana, "not the password")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("Username or e-mail address")).to_have_value(ana.name)
    log_in(page, ana)

    expect(page.get_by_role("button", name="Authorise")).to_be_visible()


def test_the_browser_is_led_back_to_the_application(site, ana, page, callback):
    application = site.register(redirect=callback.url)

    page.goto(address(site, application, callback.url, state="tile & mosaic"))
    log_in(page, ana)
    page.get_by_role("button", name="Authorise").click()

    expect(page.get_by_text("welcome back")).to_be_visible()
    answer = callback.answer()
    assert answer["state"] == ["tile & mosaic"]
    assert token(site, application, answer["code"][0], callback.url)


def test_who_refuses_gives_nothing(site, ana, page, callback):
    application = site.register(redirect=callback.url)

    page.goto(address(site, application, callback.url))
    log_in(page, ana)
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("welcome back")).to_be_visible()
    assert callback.answer()["error"] == ["access_denied"]
    assert "code" not in callback.answer()


def test_the_next_application_asks_for_consent_only(site, ana, page):
    page.goto(address(site, site.register()))
    log_in(page, ana)

    page.goto(address(site, site.register()))
    expect(page.get_by_role("button", name="Authorise")).to_be_visible()
    page.get_by_role("button", name="Use another account").click()

    expect(page.get_by_label("Password")).to_be_visible()


def test_the_keyboard_is_enough(site, ana, page):
    page.goto(address(site, site.register()))
    # What is typed before the page has focused its first field goes nowhere.
    expect(page.locator("input:focus")).to_have_count(1)

    page.keyboard.type(ana.name)
    page.keyboard.press("Tab")
    page.keyboard.type(ana.password)
    page.keyboard.press("Enter")
    page.wait_for_selector("button[value=allow]")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_label("Authorisation code")).to_be_focused()


def test_a_hostile_application_is_only_text(site, ana, page):
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    application = site.call("POST", "/api/v1/apps", json={
        "client_name": hostile, "redirect_uris": OUT_OF_BAND, "scopes": "read write"}).json()

    page.goto(address(site, application, state="\"><script>alert(3)</script>"))
    expect(page.get_by_text(hostile)).to_be_visible()
    log_in(page, ana)

    expect(page.get_by_role("heading", name=hostile)).to_be_visible()
    assert page.locator("script, img").count() == 0


def test_no_other_page_may_frame_the_log_in(site, chromium, callback):
    target = address(site, site.register())
    page = chromium.new_page()

    page.goto(callback.url)
    page.evaluate(
        """async (target) => {
            const frame = document.createElement("iframe");
            frame.src = target;
            document.body.append(frame);
            await new Promise((done) => frame.addEventListener("load", done));
        }""", target)

    assert page.frames[1].url.startswith("chrome-error://")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone(site, ana, page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 640})

    page.goto(address(site, site.register(), scope="read write follow"))
    log_in(page, ana)
    expect(page.get_by_role("button", name="Authorise")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 320
