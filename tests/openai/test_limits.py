"""A refusal for now is waited for exactly as long as it says; a refusal for good is not tried again."""

import openai
import pytest

ASK = [{"role": "user", "content": "Is the gate open?"}]

# A window of two seconds forgets a unit at most a thirtieth of it late; waits are whole milliseconds.
LONGEST_WAIT_S = 2 + 2 / 30 + 0.001


def chat(client, **changes):
    return client.chat.completions.create(**{"model": "gate", "messages": ASK, **changes})


def told_wait(headers):
    """What a refusal told, in seconds; its two headers must agree."""
    exact_ms, whole_s = int(headers["retry-after-ms"]), int(headers["retry-after"])
    assert whole_s == max(1, -(-exact_ms // 1000))
    return exact_ms / 1000


# Of `small`'s 100 tokens an answer takes 17; a second request would hold more than the 83 that are left.
@pytest.mark.parametrize(("key", "kind", "changes"), [
    ("slow", "requests", {}),
    ("small", "tokens", {"max_tokens": 80}),
])
def test_a_rate_limit_is_raised_at_once_or_waited_for_and_then_succeeds(site, key, kind, changes):
    chat(site.client(key), **changes)

    # Without retries the refusal is an exception that says how long to wait.
    with pytest.raises(openai.RateLimitError) as caught:
        chat(site.client(key, max_retries=0), **changes)
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (429, "rate_limit_exceeded", kind)
    assert 0 < told_wait(caught.value.response.headers) <= LONGEST_WAIT_S

    # With retries the package waits what it was told, and one wait is enough.
    client, log = site.watched(key, max_retries=2)
    assert chat(client, **changes).choices
    (refused_at, status, headers), (_, final, _) = log.answers
    assert (status, final) == (429, 200)
    assert log.sent[1] - refused_at >= told_wait(headers)


def test_a_spent_budget_is_not_tried_again(site):
    # A request of at most 8 tokens holds 0.8 yen; the answer's 5 tokens cost 0.5 yen of the one there is.
    chat(site.client("poor"), model="dear", max_tokens=8)
    client, log = site.watched("poor", max_retries=5)
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, model="dear", max_tokens=8)
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(log.sent) == 1
    # What is left is not lost: a smaller request still fits.
    assert chat(site.client("poor"), model="dear", max_tokens=5).choices


def test_a_stream_ends_where_its_limit_does(site):
    ask = {"model": "chatty", "messages": ASK, "stream": True}
    whole = list(site.client().chat.completions.create(**ask))
    assert (len(whole), whole[-1].choices[0].finish_reason) == (502, "stop")

    # Some 15 tokens of input and four slices of 16 fit in its 80.
    chunks = list(site.client("brief").chat.completions.create(**ask, stream_options={"include_usage": True}))
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == "length"
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert 48 < usage.usage.completion_tokens <= 64
    with pytest.raises(openai.RateLimitError) as caught:
        site.client("brief", max_retries=0).chat.completions.create(**ask)
    assert caught.value.type == "tokens"


def test_what_will_never_fit_is_not_tried_again(site):
    client, log = site.watched("small", max_retries=5)
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, max_tokens=5000)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in caught.value.response.headers
    assert len(log.sent) == 1
