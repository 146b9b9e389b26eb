"""The description says what the listener does: every operation, every answer, and nothing besides."""

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from description import FILE, ROOT, Description
from desk import at

OPERATIONS = Description().operations
KEYS, KEY = "/admin/v1/keys", "/admin/v1/keys/{name}"
ROTATE, REVOKE, LIMITS = f"{KEY}/rotate", f"{KEY}/revoke", f"{KEY}/limits"
SCOPES, SCOPE = "/admin/v1/scopes", "/admin/v1/scopes/{name}"
PAGE = {"origin": "http://127.0.0.1:8081"}

# How each operation succeeds. `name` is a key of the store.
GOOD = {
    "listKeys": lambda desk, name: desk.get(KEYS),
    "createKey": lambda desk, name: desk.post(KEYS, {
        "name": f"{name}-2", "models": ["gate"], "priority": "batch", "expires_ms": 4102444800000,
        "limits": {"requests": "10/1m", "tokens": "1000/1m", "concurrent": 2, "budgets": ["1 JPY/day", "9 JPY/month"]},
    }),
    "getKey": lambda desk, name: desk.get(at(KEY, name)),
    "setTerms": lambda desk, name: desk.put(at(KEY, name), {"models": ["gate"], "priority": "urgent"}),
    "rotateKey": lambda desk, name: desk.post(at(ROTATE, name), {"overlap_ms": 60000}),
    "revokeKey": lambda desk, name: desk.post(at(REVOKE, name)),
    "getLimits": lambda desk, name: desk.get(at(LIMITS, name)),
    "listScopes": lambda desk, name: desk.get(SCOPES),
    "getScope": lambda desk, name: desk.get(at(SCOPE, name.rsplit("/", 1)[0])),
    "setLimits": lambda desk, name: desk.put(at(SCOPE, name.split("/")[0]), {"requests": "5/1m"}),
    "listCharges": lambda desk, name: desk.get("/admin/v1/charges?limit=3&from_ms=0"),
    "getLedger": lambda desk, name: desk.get("/admin/v1/ledger"),
    "getDescription": lambda desk, name: desk.get("/admin/v1/openapi.json"),
    "getMetrics": lambda desk, name: desk.get("/metrics"),
}

# How each fails, and with what.
BAD = {
    "listKeys": (403, lambda desk, name: desk.get(KEYS, headers=PAGE)),
    "createKey": (409, lambda desk, name: desk.post(KEYS, {"name": name})),
    "getKey": (404, lambda desk, name: desk.get(at(KEY, "nobody"))),
    "setTerms": (422, lambda desk, name: desk.put(at(KEY, name), {"models": ["no-such-model"]})),
    "rotateKey": (404, lambda desk, name: desk.post(at(ROTATE, "nobody"))),
    "revokeKey": (404, lambda desk, name: desk.post(at(REVOKE, "nobody"))),
    "getLimits": (404, lambda desk, name: desk.get(at(LIMITS, "nobody"))),
    "listScopes": (403, lambda desk, name: desk.get(SCOPES, headers=PAGE)),
    "getScope": (422, lambda desk, name: desk.get(at(SCOPE, "a/b/c"))),
    "setLimits": (422, lambda desk, name: desk.put(at(SCOPE, "acme"), {"tokens": "many"})),
    "listCharges": (400, lambda desk, name: desk.get("/admin/v1/charges?from_ms=yesterday")),
    "getLedger": (403, lambda desk, name: desk.get("/admin/v1/ledger", headers=PAGE)),
    "getDescription": (403, lambda desk, name: desk.get("/admin/v1/openapi.json", headers=PAGE)),
    "getMetrics": (403, lambda desk, name: desk.get("/metrics", headers=PAGE)),
}


def test_the_description_is_valid_openapi(description):
    assert description.document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(description.document).validate()


def test_the_description_served_is_the_file(desk):
    assert desk.get("/admin/v1/openapi.json").body == FILE.read_bytes()


def test_objects_are_described_whole(description):
    """Else an answer with anything in it would be as described."""
    def objects(place, schema):
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                yield place, schema
            for name, inner in schema.items():
                yield from objects(f"{place}/{name}", inner)
        elif isinstance(schema, list):
            for inner in schema:
                yield from objects(place, inner)

    found = list(objects("", description.document["components"]["schemas"]))
    assert len(found) > 10
    assert not [place for place, schema in found if schema.get("additionalProperties") is not False]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_succeeds_as_described(desk, name, operation):
    desk.new_key(name)
    answer = GOOD[operation](desk, name)
    assert (answer.operation, answer.status // 100) == (operation, 2), answer.value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_fails_as_described(desk, name, operation):
    desk.new_key(name)
    status, call = BAD[operation]
    answer = call(desk, name)
    assert (answer.operation, answer.status) == (operation, status), answer.value
    assert answer.value["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_no_path_takes_a_method_that_is_not_described(desk, name, method):
    desk.new_key(name)
    taken = {path for its_method, path in OPERATIONS.values() if its_method == method}
    others = {path for _, path in OPERATIONS.values()} - taken
    assert others
    for path in others:
        answer = desk.call(method, at(path, name))
        allowed = {its_method for its_method, its_path in OPERATIONS.values() if its_path == path}
        assert answer.operation is None and answer.status == 405, path
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", [
    "/", "/admin", "/admin/v1", "/admin/v1/", "/admin/v2/keys", "/admin/v1/keys/", "/admin/v1/keys/a/b",
    "//admin/v1/keys", "/admin/v1/keys/{name}/secret", "/admin/v1/scopes/{name}/limits", "/admin/v1/charges/1",
    "/v1/models", "/healthz", "/metrics/", "/Metrics",
])
def test_there_is_nothing_beside_the_paths_described(desk, path):
    for method in ["GET", "POST", "PUT", "DELETE"]:
        answer = desk.call(method, at(path, "configured"))
        assert answer.status in (404, 405), (method, path)


def test_every_route_of_the_server_is_described(description):
    source = (ROOT / "host/src/admin/routes.rs").read_text()
    arms = re.findall(r"^ +\[(\"[^\]]+)\] if (\w+) =>", source, re.M)
    routes = set()
    for segments, method in arms:
        parts = [part.strip() for part in segments.split(",")]
        path = "".join("/" + (part.strip('"') if part.startswith('"') else "{" + part + "}") for part in parts)
        routes.add((method.upper(), path))
    assert routes == set(description.operations.values())
