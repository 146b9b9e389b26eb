"""Keys made at run time let clients in, under limits that hold at once, and the books say what was used."""

from client import ask, until
from desk import at

KEYS, KEY, SCOPES, SCOPE = "/admin/v1/keys", "/admin/v1/keys/{name}", "/admin/v1/scopes", "/admin/v1/scopes/{name}"
LIMITS, CHARGES = f"{KEY}/limits", "/admin/v1/charges"
USED = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
HALF_A_YEN = 500_000_000


def test_a_new_key_lets_its_client_in_at_once(desk, name):
    status, answer = ask(desk.gateway, desk.new_key(name))
    assert (status, answer["usage"]) == (200, USED)


def test_a_key_is_shown_without_its_secret(desk, name):
    terms = {"models": ["gate"], "priority": "batch", "tags": ["batch-team", "eu:west"], "expires_ms": 4102444800000,
             "limits": {"requests": "10/1m", "tokens": "1000/1m", "concurrent": 2, "budgets": ["1 JPY/day"]}}
    desk.new_key(name, **terms)
    shown = desk.get(at(KEY, name)).value
    assert {field: shown[field] for field in terms} == terms
    assert (shown["name"], shown["revoked_ms"], len(shown["secrets"])) == (name, None, 1)
    assert shown in desk.get(KEYS).value["data"]
    names = [key["name"] for key in desk.get(KEYS).value["data"]]
    assert names == sorted(names)


def test_limits_of_a_key_hold_and_what_is_left_is_told(desk, name):
    secret = desk.new_key(name, limits={"requests": "1/1h", "budgets": ["3 JPY/month"]})
    assert ask(desk.gateway, secret, "dear")[0] == 200
    status, answer = ask(desk.gateway, secret, "dear")
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    left = {limit["limit"]: limit for limit in desk.get(at(LIMITS, name)).value["data"]}
    assert set(left) == {"1/1h", "3 JPY/month"}
    requests, budget = left["1/1h"], left["3 JPY/month"]
    assert (requests["unit"], requests["most"], requests["used"], requests["remaining"]) == ("requests", 1, 1, 0)
    assert 0 < requests["reset_ms"] <= 3_600_000 * 31 // 30
    assert (budget["unit"], budget["most"], budget["used"]) == ("nano", 3_000_000_000, HALF_A_YEN)
    assert budget["remaining"] == budget["most"] - budget["used"]
    assert {limit["scope"] for limit in left.values()} == {name}


def test_what_a_key_may_do_is_replaced_as_a_whole(desk, name):
    secret = desk.new_key(name, models=["gate"], tags=["eu"], limits={"requests": "1/1h"})
    assert ask(desk.gateway, secret, "dear")[1]["error"]["code"] == "model_not_found"
    replaced = desk.put(at(KEY, name), {"models": ["dear"]}).value
    assert (replaced["limits"], replaced["tags"]) == ({}, [])
    until(lambda: ask(desk.gateway, secret, "dear")[0] == 200)
    assert ask(desk.gateway, secret, "gate")[1]["error"]["code"] == "model_not_found"


def test_keys_of_a_scope_share_its_limits(desk, name):
    organisation, team, _ = name.split("/")
    assert desk.get(at(SCOPE, organisation)).value == {"name": organisation, "limits": {}}
    limited = {"name": organisation, "limits": {"requests": "2/1h"}}
    assert desk.put(at(SCOPE, organisation), limited["limits"]).value == limited
    assert limited in desk.get(SCOPES).value["data"]
    secrets = [desk.new_key(f"{organisation}/{team}/{key}") for key in ["one", "two", "three"]]
    assert [ask(desk.gateway, secret)[0] for secret in secrets] == [200, 200, 429]
    (left,) = desk.get(at(LIMITS, f"{organisation}/{team}/three")).value["data"]
    assert (left["scope"], left["used"], left["remaining"]) == (organisation, 2, 0)
    # An empty object takes the limits away.
    desk.put(at(SCOPE, organisation), {})
    assert organisation not in [scope["name"] for scope in desk.get(SCOPES).value["data"]]
    until(lambda: ask(desk.gateway, secrets[2])[0] == 200)


def test_limits_of_a_key_of_the_configuration_are_told_too(desk):
    limits = [limit["limit"] for limit in desk.get(at(LIMITS, "configured")).value["data"]]
    assert sorted(limits) == ["10/1m", "7 JPY/month"]


def test_a_secret_stays_valid_for_the_overlap_and_not_longer(desk, name):
    first = desk.new_key(name)
    answer = desk.post(at(f"{KEY}/rotate", name), {"overlap_ms": 3_600_000})
    second, secrets = answer.value["secret"], answer.value["key"]["secrets"]
    assert (len(secrets), secrets[0]["ends_ms"]) == (2, None)
    assert secrets[1]["ends_ms"] == secrets[0]["created_ms"] + 3_600_000
    assert [ask(desk.gateway, secret)[0] for secret in [first, second]] == [200, 200]
    third = desk.post(at(f"{KEY}/rotate", name)).value["secret"]
    until(lambda: [ask(desk.gateway, secret)[0] for secret in [first, second, third]] == [401, 401, 200])


def test_a_revoked_key_is_refused_for_ever(desk, name):
    secret = desk.new_key(name)
    assert ask(desk.gateway, secret)[0] == 200
    revoked = desk.post(at(f"{KEY}/revoke", name)).value
    assert revoked["revoked_ms"] >= revoked["created_ms"]
    until(lambda: ask(desk.gateway, secret)[0] == 401)
    # Again, it is the same; changed it cannot be any more.
    assert desk.post(at(f"{KEY}/revoke", name)).value == revoked
    assert desk.post(at(f"{KEY}/rotate", name)).error == (409, "revoked")
    assert desk.put(at(KEY, name), {}).error == (409, "revoked")
    assert desk.post(KEYS, {"name": name}).error == (409, "exists")


def test_a_key_that_has_expired_is_refused(desk, name):
    assert desk.post(KEYS, {"name": name, "expires_ms": 1}).error == (422, "invalid")
    secret = desk.new_key(name)
    assert desk.put(at(KEY, name), {"expires_ms": 1}).status == 200
    status, answer = ask(desk.gateway, secret)
    assert (status, answer["error"]["code"]) == (401, "invalid_api_key")


def test_every_exchange_has_a_row_with_what_it_cost(desk, name):
    secret = desk.new_key(name, limits={"budgets": ["9 JPY/month"]})
    for model in ["dear", "gate", "dear"]:
        assert ask(desk.gateway, secret, model)[0] == 200
    # An answer may reach its client before its row is in the file.
    until(lambda: len(rows(desk, name)) == 3)
    first, second, third = rows(desk, name)
    assert [row["model"] for row in (first, second, third)] == ["dear", "gate", "dear"]
    assert (first["key"], first["upstream"], first["upstream_model"]) == (name, "loopback", "dear")
    assert (first["input_tokens"], first["output_tokens"], first["estimated"]) == (12, 5, False)
    assert (first["charge"], first["currency"], first["outcome"]) == (HALF_A_YEN, "JPY", "completed")
    assert first["price"] == {
        "input": 0, "cached_input": 0, "cache_write": 0, "output": 100_000_000_000, "reasoning": 100_000_000_000,
        "since_ms": None, "source": None,
    }
    assert second["charge"] == 80_000
    # conservation: what the budget has used is the sum of the rows.
    (budget,) = desk.get(at(LIMITS, name)).value["data"]
    assert budget["used"] == sum(row["charge"] for row in (first, second, third))


def test_rows_are_found_by_scope_time_and_exchange_and_come_in_pages(desk, name):
    organisation = name.split("/")[0]
    secret = desk.new_key(name)
    for _ in range(3):
        assert ask(desk.gateway, secret)[0] == 200
    until(lambda: len(rows(desk, organisation)) == 3)
    everything = rows(desk, organisation)
    assert rows(desk, "/".join(name.split("/")[:2])) == everything
    # A scope is a whole part of a name, not any beginning of it.
    assert not [row for row in rows(desk, organisation[:-1]) if row in everything]
    first, last = everything[0], everything[-1]
    assert desk.get(f"{CHARGES}?request_id={last['request_id']}").value["data"] == [last]
    assert rows(desk, organisation, f"&to_ms={first['at_ms']}") == []
    assert rows(desk, organisation, f"&from_ms={first['at_ms']}&to_ms={last['at_ms'] + 1}") == everything
    page = rows(desk, organisation, "&limit=2")
    rest = rows(desk, organisation, f"&limit=2&after={page[-1]['at_ms']},{page[-1]['request_id']}")
    assert page + rest == everything


def test_the_ledger_says_how_it_is(desk):
    assert desk.get("/admin/v1/ledger").value == {"condition": "sound", "reason": None}
    lines = desk.get("/metrics").value.splitlines()
    assert 'tollgate_ledger_condition{condition="sound"} 1' in lines
    assert 'tollgate_ledger_condition{condition="down"} 0' in lines


def rows(desk, scope, more=""):
    return desk.get(f"{CHARGES}?scope={scope.replace('/', '%2F')}{more}").value["data"]
