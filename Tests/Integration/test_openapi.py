"""The description of the API beside the running server: neither says more than the other does."""
import re

import pytest

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="session")
def document(site):
    return site.call("GET", "/openapi.json").json()


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield path, method, item[method]


def concrete(path):
    """The path with an id that nobody has in every place."""
    return re.sub(r"{[^}]+}", "1", path)


def test_the_description_is_valid(document):
    validator = pytest.importorskip("openapi_spec_validator")

    validator.validate(document)


def test_every_declared_operation_is_served_and_refuses_as_declared(site, document):
    for path, method, operation in operations(document):
        answer = site.call(method.upper(), concrete(path), expect=None, allow_redirects=False)

        declared = set(operation["responses"])
        status = str(answer.status_code)
        assert status in declared or answer.status_code >= 400, (method, path, status)
        assert answer.status_code not in (405, 500, 501), (method, path, answer.text[:300])
        if answer.status_code == 404:
            assert "nothing at this path" not in answer.text, (method, path)
        if answer.status_code >= 400 and not path.startswith("/oauth/authorize"):
            assert answer.headers["Content-Type"] == "application/problem+json", (method, path)
            assert answer.json()["error"], (method, path)
        if operation["security"] and {} not in operation["security"]:
            assert answer.status_code == 401, (method, path, status)


def test_the_server_allows_what_is_declared_and_no_more(site, document):
    for path, item in document["paths"].items():
        answer = site.call("OPTIONS", concrete(path), expect=(204,))

        allowed = {method.strip().lower() for method in answer.headers["Allow"].split(",")}
        declared = METHODS & set(item)
        assert allowed - {"options", "head"} == declared, path


def test_every_answer_may_be_read_by_any_page_and_guessed_by_none(site):
    for path in ("/api/v2/instance", "/nothing", "/api/v1/lists"):
        answer = site.call("GET", path, expect=None)

        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_answers_fit_their_schemas(site, document, ana, ben):
    """The schemas are learnt from samples; real answers hold every key that they require."""
    validator = pytest.importorskip("jsonschema")
    post = ana.publish("schema")
    ben.follow(ana)

    for schema, path in (("CredentialAccount", "/api/v1/accounts/verify_credentials"),
                         ("Account", f"/api/v1/accounts/{ana.id}"),
                         ("Status", f"/api/v1/statuses/{post['id']}"),
                         ("Context", f"/api/v1/statuses/{post['id']}/context"),
                         ("Instance", "/api/v2/instance"), ("InstanceV1", "/api/v1/instance"),
                         ("Search", f"/api/v2/search?q={ana.name}")):
        answer = site.call("GET", path, token=ben.token).json()

        whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
        validator.validate(answer, whole, cls=validator.Draft202012Validator)
