"""Sign-up, applications, OAuth, sessions, profile."""
import base64
import hashlib
import secrets
import urllib.parse

from people import OUT_OF_BAND, PHOTO, Browser, eventually


def authorize_url(site, application, redirect=OUT_OF_BAND, **more):
    query = {"client_id": application["client_id"], "response_type": "code",
             "redirect_uri": redirect, "scope": "read write", **more}
    return f"{site.url}/oauth/authorize?{urllib.parse.urlencode(query)}"


def exchange(site, application, code, redirect=OUT_OF_BAND, expect=(200,), **more):
    return site.call("POST", "/oauth/token", expect=expect, data={
        "grant_type": "authorization_code", "code": code, "redirect_uri": redirect,
        "client_id": application["client_id"], "client_secret": application["client_secret"],
        "scope": "read write", **more})


def test_a_new_person_may_use_the_token_of_the_sign_up(site):
    person = site.person()

    account = person.get("/api/v1/accounts/verify_credentials")

    assert account["username"] == account["acct"] == person.name
    assert account["source"]["privacy"] == "public"


def test_a_name_is_given_once_whatever_its_case(site, ana):
    taken = {"username": ana.name.upper(), "email": f"{secrets.token_hex(4)}@example.org",
             "password": "another long password", "agreement": True, "locale": "en"}

    answer = site.call("POST", "/api/v1/accounts", token=site.application_token(), json=taken,
                       expect=(422,))

    assert answer.json()["details"]["username"]


def test_a_sign_up_says_all_that_is_wrong(site):
    answer = site.call(
        "POST", "/api/v1/accounts", token=site.application_token(), expect=(422,),
        json={"username": "no spaces", "email": "nowhere", "password": "x", "agreement": False,
              "locale": "en"})

    assert {"username", "email", "password", "agreement"} <= answer.json()["details"].keys()


def test_a_sign_up_sent_twice_with_its_key_makes_one_account(site):
    name = f"k{secrets.token_hex(5)}"
    body = {"username": name, "email": f"{name}@example.org", "password": "a long password",
            "agreement": True, "locale": "en"}
    token, key = site.application_token(), secrets.token_hex(8)

    first = site.call("POST", "/api/v1/accounts", token=token, key=key, json=body)
    second = site.call("POST", "/api/v1/accounts", token=token, key=key, json=body)

    ids = {site.call("GET", "/api/v1/accounts/verify_credentials",
                     token=answer.json()["access_token"]).json()["id"]
           for answer in (first, second)}
    assert len(ids) == 1


def test_an_out_of_band_code_becomes_a_token_once(site, ana):
    application = site.register()
    code = Browser(site).authorize(authorize_url(site, application), ana)

    token = exchange(site, application, code).json()["access_token"]

    assert site.call("GET", "/api/v1/accounts/verify_credentials", token=token).json()["id"] == ana.id
    assert exchange(site, application, code, expect=(400,)).json()["error"] == "invalid_grant"


def test_a_redirect_carries_code_and_state(site, ana):
    redirect = "https://client.example/callback"
    application = site.register(redirect=redirect)
    url = authorize_url(site, application, redirect, state="tile")

    code = Browser(site).authorize(url, ana)

    assert exchange(site, application, code, redirect).json()["token_type"] == "Bearer"


def test_a_proof_key_must_match(site, ana):
    application = site.register()
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    url = authorize_url(
        site, application, code_challenge=challenge, code_challenge_method="S256")

    wrong = exchange(site, application, Browser(site).authorize(url, ana),
                     code_verifier=secrets.token_urlsafe(48), expect=(400,))
    right = exchange(site, application, Browser(site).authorize(url, ana), code_verifier=verifier)

    assert wrong.json()["error"] == "invalid_grant"
    assert right.json()["access_token"]


def test_an_unknown_redirect_is_shown_to_nobody(site):
    application = site.register()
    url = authorize_url(site, application, "https://thief.example/")

    answer = site.session.get(url, allow_redirects=False, timeout=20)

    assert answer.status_code == 400
    assert "Location" not in answer.headers


def test_the_authorisation_server_describes_itself_over_https(site, cluster):
    path = "/.well-known/oauth-authorization-server"

    answer = site.session.get(
        cluster.secure_url + path, verify=str(cluster.authority), timeout=20)

    assert answer.status_code == 200
    description = answer.json()
    assert description["issuer"] == cluster.secure_url
    assert description["token_endpoint"] == cluster.secure_url + "/oauth/token"
    assert description["code_challenge_methods_supported"] == ["S256"]
    # Clients refuse a description without https, so there is none.
    site.call("GET", path, expect=(404,))


def test_a_wrong_password_gives_no_code(site, ana):
    ana.password = "not the password"

    try:
        Browser(site).authorize(authorize_url(site, site.register()), ana)
    except AssertionError:
        return
    raise AssertionError("a code was given for a wrong password")


def test_a_revoked_token_is_refused(site, ana):
    application = site.register()
    code = Browser(site).authorize(authorize_url(site, application), ana)
    token = exchange(site, application, code).json()["access_token"]
    site.call("GET", "/api/v1/accounts/verify_credentials", token=token)

    site.call("POST", "/oauth/revoke", data={
        "client_id": application["client_id"], "client_secret": application["client_secret"],
        "token": token})

    # Nodes keep the state of a session for at most ten seconds.
    eventually(lambda: site.call("GET", "/api/v1/accounts/verify_credentials", token=token,
                                 expect=None).status_code == 401, "refusal of the token", 12)


def test_an_applications_token_stands_for_nobody(site):
    answer = site.call("GET", "/api/v1/timelines/home", token=site.application_token(),
                       expect=(401, 403, 422))

    assert answer.json()["error"]


def test_a_profile_is_what_its_owner_wrote(site, ana, ben):
    with open(PHOTO, "rb") as photo:
        ana.call("PATCH", "/api/v1/accounts/update_credentials",
                 data={"display_name": "Ana of the tiles", "note": "mosaics <b>only</b>"},
                 files={"avatar": ("a.jpg", photo, "image/jpeg")})

    seen = ben.get(f"/api/v1/accounts/{ana.id}")

    assert seen["display_name"] == "Ana of the tiles"
    assert "<b>" not in seen["note"] and "mosaics" in seen["note"]
    picture = site.session.get(seen["avatar"], timeout=20)
    assert picture.status_code == 200 and picture.headers["Content-Type"].startswith("image/")


def test_a_person_is_found_by_name(site, ana):
    found = site.call("GET", f"/api/v1/accounts/lookup?acct={ana.name}").json()

    assert found["id"] == ana.id
    site.call("GET", "/api/v1/accounts/lookup?acct=nobody-of-that-name", expect=(404,))
