"""Services apart: one that is gone takes its own feature away and nothing else; pools change while they are used."""
import io
import secrets

import pytest
import requests

from people import PHOTO, eventually
from traffic import Traffic

# A service that is gone or hangs is known to be within this; the call of a picture takes at most 8 s before that.
SLOWEST_ANSWER = 12


def search(person, expect=(200,)):
    return person.call("GET", "/api/v2/search", params={"q": person.name, "type": "accounts"}, expect=expect)


def change_picture(person, expect=(200,)):
    with open(PHOTO, "rb") as photo:
        return person.call(
            "PATCH", "/api/v1/accounts/update_credentials", expect=expect, key=secrets.token_hex(8),
            files={"avatar": ("a.jpg", io.BytesIO(photo.read()), "image/jpeg")})


def rename(person):
    person.call("PATCH", "/api/v1/accounts/update_credentials", data={"display_name": "Somebody"})


def everything_of_core(person):
    person.home()
    person.publish("still here")
    rename(person)


def test_services_are_on_nodes_of_their_own_and_the_balancer_knows_which(cluster, site, ana):
    search_port, core_port = cluster.process("search1")["port"], cluster.process("app1")["port"]

    assert search(ana).json()["accounts"][0]["id"] == ana.id
    there = site.at(f"http://127.0.0.1:{search_port}")
    assert there.call("GET", "/api/v2/search", params={"q": ana.name}).status_code == 200
    there.call("GET", "/api/v1/timelines/home", token=ana.token, expect=(503,))
    elsewhere = site.at(f"http://127.0.0.1:{core_port}")
    elsewhere.call("GET", "/api/v2/search", params={"q": ana.name}, expect=(503,))
    paths = site.call("GET", "/openapi.json").json()["paths"]
    assert {"/api/v2/search", "/api/v2/media", "/api/v1/timelines/home"} <= set(paths)
    assert not [path for path in paths if path.startswith("/internal")]


@pytest.mark.parametrize("path", ["/internal/media/v1/images", "//internal/media/v1/images",
                                  "/%69nternal/media/v1/images"])
def test_what_nodes_ask_each_other_is_not_for_the_world(cluster, site, path):
    for url in (site.url, f"http://127.0.0.1:{cluster.process('media1')['port']}",
                f"http://127.0.0.1:{cluster.process('app1')['port']}"):
        for secret in (None, "k1.AAAA", "k1"):
            headers = {"X-Tessera-Peer": secret} if secret else {}
            request = requests.Request("POST", url, headers=headers, data=b"x").prepare()
            request.url = url + path + "?use=avatar&owner=1"
            with requests.Session() as session:
                answer = session.send(request, timeout=20)
            assert answer.status_code in (404, 503) and "url" not in answer.json()


GONE = {"search": "/api/v2/search?q=somebody", "notifications": "/api/v1/notifications",
        "streaming": "/api/v1/streaming/health", "media": "/media/nothing/here.jpg"}


def test_services_that_are_gone_are_missed_by_nobody_else(cluster, site, ana):
    def answer(name):
        return ana.call("GET", GONE[name], expect=None)

    there = {name: answer(name).status_code for name in GONE}
    with Traffic(lambda: everything_of_core(ana.elsewhere()), threads=2) as traffic:
        for name in GONE:
            cluster.stop(f"{name}1")
        try:
            for name in GONE:
                eventually(lambda name=name: answer(name).status_code == 503, f"the balancer's word that {name} is gone")
            gone = {name: answer(name) for name in GONE}
        finally:
            for name in GONE:
                cluster.start(f"{name}1")
        for name in GONE:
            eventually(lambda name=name: answer(name).status_code == there[name], f"{name} again")

    for name, refused in gone.items():
        assert refused.json()["service"] == name and refused.headers["Retry-After"]
        assert refused.json()["error"].endswith("is unavailable for a moment")
    assert not traffic.failures and traffic.results


def test_a_service_that_hangs_is_waited_for_only_by_who_needs_it(cluster, site, ana, ben):
    change_picture(ben)
    cluster.pause("media1")
    try:
        with Traffic(lambda: everything_of_core(ana.elsewhere()), threads=2) as traffic:
            refused = change_picture(ben, expect=(503,))
            again = change_picture(ben, expect=(503,))
            rename(ben)
    finally:
        cluster.resume("media1")

    assert max(answer.elapsed.total_seconds() for answer in (refused, again)) < SLOWEST_ANSWER
    assert refused.headers["Retry-After"] and "pictures" in refused.json()["error"]
    assert not traffic.failures and traffic.results
    eventually(lambda: change_picture(ben, expect=None).status_code == 200, "pictures again")


def test_a_pool_grows_restarts_and_shrinks_while_it_is_used(cluster, site, ana):
    with Traffic(lambda: search(ana.elsewhere()).status_code, threads=2, pause=0.02) as searches:
        with Traffic(lambda: everything_of_core(ana.elsewhere()), threads=1) as others:
            cluster.command("restart", "search")
            alone = cluster.names("search")
            cluster.command("scale", "search", "2")
            grown = cluster.names("search")
            cluster.command("scale", "search", "1")

    assert alone == ["search1"] and grown == ["search1", "search2"] and cluster.names("search") == ["search1"]
    assert not searches.failures and not others.failures and searches.results and others.results


def test_a_pool_that_cannot_be_so_large_is_refused_before_anything_changes(cluster):
    before = cluster.listing()["pools"]

    for words in (("search", "0"), ("search", "99"), ("nothing", "1"), ("search", "many")):
        cluster.command("scale", *words, expect=(2, 64))

    assert [pool["nodes"] for pool in cluster.listing()["pools"]] == [pool["nodes"] for pool in before]
