"""What people are told of, through the balancer."""
from people import eventually


def kinds(person, **parameters):
    return [(one["type"], one["account"]["id"]) for one in
            person.get("/api/v1/notifications", **parameters)]


def test_a_like_an_answer_and_their_end(ana, ben):
    post = ana.publish("Look")
    ben.post(f"/api/v1/statuses/{post['id']}/favourite")
    answer = ben.publish("Nice", in_reply_to_id=post["id"])

    wanted = {("favourite", ben.id), ("mention", ben.id)}
    eventually(lambda: wanted <= set(kinds(ana)), "the like and the answer in the list")
    listed = ana.get("/api/v1/notifications")
    mention = next(one for one in listed if one["type"] == "mention")
    assert mention["status"]["id"] == answer["id"]
    assert ana.get(f"/api/v1/notifications/{mention['id']}")["id"] == mention["id"]
    assert ana.get("/api/v1/notifications/unread_count")["count"] >= 2
    assert kinds(ben) == []

    ben.post(f"/api/v1/statuses/{post['id']}/unfavourite")
    eventually(lambda: ("favourite", ben.id) not in kinds(ana), "the end of the like")
    ana.post(f"/api/v1/notifications/{mention['id']}/dismiss")
    assert ("mention", ben.id) not in kinds(ana)


def test_likes_of_one_post_are_one_group(site, ana):
    post = ana.publish("Popular")
    fans = site.people(3)
    for fan in fans:
        fan.post(f"/api/v1/statuses/{post['id']}/favourite")

    def group():
        answer = ana.get("/api/v2/notifications", **{"types[]": "favourite"})
        found = [one for one in answer["notification_groups"]
                 if one["status_id"] == post["id"] and one["notifications_count"] == 3]
        return found and (found[0], answer)

    found, answer = eventually(group, "three likes in one group")
    assert set(found["sample_account_ids"]) == {fan.id for fan in fans}
    assert {one["id"] for one in answer["accounts"]} >= {fan.id for fan in fans}
    assert [one["id"] for one in answer["statuses"]] == [post["id"]]


def test_marks_are_the_same_on_every_device(ana):
    assert ana.get("/api/v1/markers", **{"timeline[]": "home"}) == {}
    post = ana.publish("Read this")

    ana.post("/api/v1/markers", home={"last_read_id": post["id"]})

    marks = ana.get("/api/v1/markers", **{"timeline[]": ["home", "notifications"]})
    assert marks["home"]["last_read_id"] == post["id"]
    assert "notifications" not in marks


def test_who_is_muted_is_not_heard_of(site, ana, ben):
    cas = site.person()
    post = ana.publish("Quiet")
    ana.post(f"/api/v1/accounts/{ben.id}/mute", notifications=True)

    ben.post(f"/api/v1/statuses/{post['id']}/favourite")
    cas.post(f"/api/v1/statuses/{post['id']}/favourite")

    eventually(lambda: ("favourite", cas.id) in kinds(ana), "the like of who is not muted")
    assert ("favourite", ben.id) not in kinds(ana)
