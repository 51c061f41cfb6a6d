"""What holds for the whole API: description, errors, request ids, health, TLS."""
import ssl
import urllib.request

import pytest


def test_the_description_is_openapi_and_names_the_routes(site):
    document = site.call("GET", "/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    for path in ("/api/v1/apps", "/oauth/token", "/api/v1/accounts", "/api/v2/media",
                 "/api/v1/statuses", "/api/v1/timelines/home"):
        assert path in document["paths"], path
    operations = [operation["operationId"] for path in document["paths"].values()
                  for method, operation in path.items()
                  if method in ("get", "post", "put", "patch", "delete")]
    assert len(operations) == len(set(operations))


def test_an_unknown_path_is_a_problem_document(site):
    answer = site.call("GET", "/api/v1/nothing-here", expect=(404,))

    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["status"] == 404 and answer.json()["error"]


def test_a_wrong_method_names_the_right_ones(site):
    answer = site.call("DELETE", "/api/v1/instance", expect=(405,))

    assert "GET" in answer.headers["Allow"]


def test_a_request_id_goes_through(site):
    named = site.call("GET", "/api/v1/instance", headers={"X-Request-Id": "tile-0123456789"})
    given = site.call("GET", "/api/v1/instance")

    assert named.headers["X-Request-Id"] == "tile-0123456789"
    assert len(given.headers["X-Request-Id"]) >= 16


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_needs_no_token(site, path):
    site.call("GET", path)
    site.call("HEAD", path)


@pytest.mark.parametrize("path", ["/api/v1/instance", "/api/v2/instance", "/api/v1/instance/",
                                  "/api/v2/instance/"])
def test_the_instance_describes_itself(site, path):
    assert site.call("GET", path).json()["configuration"]["statuses"]["max_characters"] > 0


def test_https_is_served_with_the_installations_certificate(cluster):
    context = ssl.create_default_context(cafile=str(cluster.authority))

    with urllib.request.urlopen(f"{cluster.secure_url}/livez", context=context) as answer:
        assert answer.status == 200


def test_every_node_shows_metrics(cluster):
    for row in cluster.listing()["processes"]:
        if row["metrics_port"]:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{row['metrics_port']}/metrics", timeout=5) as answer:
                assert b"# TYPE" in answer.read(), row["name"]


def test_metrics_are_not_public(site):
    site.call("GET", "/metrics", expect=(404,))
