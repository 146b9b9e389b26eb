"""What cannot be right is refused with every problem and its place, and changes nothing."""

import json

import pytest

from desk import at

KEYS, KEY, SCOPE = "/admin/v1/keys", "/admin/v1/keys/{name}", "/admin/v1/scopes/{name}"
CHARGES = "/admin/v1/charges"


@pytest.mark.parametrize("body", [
    b"{", b"name", b"\xff\xfe", b'{"name":"a"} x', b"null", b"7", b'"a"', b'{"name":"a","name":"b"}', b'{"name":7}',
    b"{}", b"[]", b'["a"]', b'{"name":"a","limits":["1/1m"]}',
])
def test_a_body_that_is_no_document_of_this_kind_is_refused(desk, body):
    answer = desk.post(KEYS, body=body)
    assert answer.error == (400, "bad_request")
    assert "the body cannot be read" in answer.value["error"]["message"]


def test_a_body_that_is_too_large_is_refused(desk, name):
    desk.new_key(name)
    document = {"models": ["gate"] * 10_000}
    assert len(json.dumps(document)) > 65536
    answer = desk.put(at(KEY, name), document)
    assert answer.error == (413, "too_large")
    assert desk.get(at(KEY, name)).value["models"] is None


@pytest.mark.parametrize(("operation", "method", "path", "document"), [
    ("createKey", "POST", KEYS, {"name": "a", "budget": "1 JPY/day"}),
    ("createKey", "POST", KEYS, {"name": "a", "limits": {"request": "1/1m"}}),
    ("createKey", "POST", KEYS, {"name": "a", "priority": "high"}),
    ("createKey", "POST", KEYS, {"name": "a", "tags": "eu"}),
    ("createKey", "POST", KEYS, {"name": "a", "expires_ms": -1}),
    ("createKey", "POST", KEYS, {"name": "a", "expires_ms": 1.5}),
    ("createKey", "POST", KEYS, {"name": "a", "limits": {"concurrent": "2"}}),
    ("createKey", "POST", KEYS, {"name": "a", "limits": {"budgets": "1 JPY/day"}}),
    ("setTerms", "PUT", KEY, {"name": "a"}),
    ("setTerms", "PUT", KEY, {"secrets": []}),
    ("setTerms", "PUT", KEY, {"models": "gate"}),
    ("rotateKey", "POST", f"{KEY}/rotate", {"overlap": "1h"}),
    ("rotateKey", "POST", f"{KEY}/rotate", {"overlap_ms": -1}),
    ("setLimits", "PUT", SCOPE, {"limits": {}}),
    ("setLimits", "PUT", SCOPE, {"requests": 5}),
])
def test_what_the_description_does_not_know_is_refused(desk, name, operation, method, path, document):
    assert not desk.description.accepts(operation, document)
    desk.new_key(name)
    path = at(path, name if path.startswith(KEY) else name.split("/")[0])
    assert desk.call(method, path, document).error == (400, "bad_request")
    assert desk.get(f"{KEYS}/a").status == 404


def test_every_problem_is_told_at_once_with_its_place(desk):
    answer = desk.post(KEYS, {
        "name": "acme/new",
        "models": ["gate", "no-such-model"],
        "tags": ["eu", "not ok", "eu"],
        "limits": {"requests": "often", "tokens": "0/1m", "concurrent": 0, "budgets": ["1 JPY/month", "1 JPY/hour"]},
    })
    assert answer.error == (422, "invalid")
    problems = answer.problems
    assert set(problems) == {"models[1]", "tags[1]", "tags[2]", "limits.requests", "limits.tokens", "limits.concurrent",
                             "limits.budgets[1]"}
    assert "no-such-model" in problems["models[1]"] and "`100/1m`" in problems["limits.requests"]
    assert desk.get(at(KEY, "acme/new")).status == 404


def test_a_budget_in_a_currency_that_nothing_is_priced_in_is_refused(desk, name):
    secret = desk.new_key(name, limits={"budgets": ["3 JPY/month"]})
    calls = {
        "limits.budgets[0]": [
            lambda limits: desk.post(KEYS, {"name": f"{name}-2", "limits": limits}),
            lambda limits: desk.put(at(KEY, name), {"limits": limits}),
        ],
        "scopes[0].limits.budgets[0]": [lambda limits: desk.put(at(SCOPE, name.split("/")[0]), limits)],
    }
    for place, changes in calls.items():
        for change in changes:
            answer = change({"budgets": ["5 USD/month"]})
            assert answer.error == (422, "invalid")
            assert "USD" in answer.problems[place] and "JPY" in answer.problems[place]
    assert desk.get(at(KEY, name)).value["limits"] == {"budgets": ["3 JPY/month"]}
    assert secret


@pytest.mark.parametrize("wrong", ["", "a//b", "/a", "a/", "a/b/c/d", "a b", "日本", "a" * 65, "a\n"])
def test_a_name_that_is_no_name_is_refused(desk, wrong):
    answer = desk.post(KEYS, {"name": wrong})
    assert answer.error == (422, "invalid") and "parts" in answer.problems["name"]


def test_a_name_is_given_once(desk, name):
    desk.new_key(name)
    for taken in [name, "configured"]:
        assert desk.post(KEYS, {"name": taken}).error == (409, "exists")


def test_nothing_lies_below_a_key_of_the_configuration(desk):
    assert desk.post(KEYS, {"name": "configured/below"}).error == (422, "invalid")
    assert desk.put(at(SCOPE, "configured"), {"requests": "1/1m"}).error == (409, "exists")


def test_a_path_is_a_key_or_a_scope_never_both(desk, name):
    organisation = name.split("/")[0] + "-apart"
    desk.new_key(f"{organisation}/inner")
    assert desk.post(KEYS, {"name": organisation}).error == (422, "invalid")
    assert desk.post(KEYS, {"name": f"{organisation}/inner/deep"}).error == (422, "invalid")
    assert desk.put(at(SCOPE, f"{organisation}/inner"), {"requests": "1/1m"}).error == (409, "exists")
    assert desk.put(at(SCOPE, f"{organisation}/team"), {"requests": "1/1m"}).status == 200
    assert desk.post(KEYS, {"name": f"{organisation}/team"}).error == (422, "invalid")


def test_a_key_of_the_configuration_is_not_changed_here(desk):
    assert desk.get(at(KEY, "configured")).error == (404, "not_found")
    assert desk.put(at(KEY, "configured"), {}).error == (404, "not_found")
    for what in ["rotate", "revoke"]:
        assert desk.post(at(f"{KEY}/{what}", "configured")).error == (404, "not_found")


@pytest.mark.parametrize("query", [
    "from_ms=x", "to_ms=-1", "limit=ten", "limit=1.5", "limit=0", "limit=10001",
    "after=7", "after=x,req", "before_ms=1", "from_ms", "scope=%FF",
])
def test_a_question_that_cannot_be_read_is_refused(desk, query):
    assert desk.get(f"{CHARGES}?{query}").error == (400, "bad_request")


def test_a_path_that_is_no_text_is_refused(desk):
    assert desk.get(f"{KEYS}/%FF").error == (400, "bad_request")
