"""What goes wrong raises the exception the official package's users expect, with its fields filled."""

import openai
import pytest

ASK = [{"role": "user", "content": "Is the gate open?"}]


def chat(client, **changes):
    return client.chat.completions.create(**{"model": "gate", "messages": ASK, **changes})


def test_an_unknown_key_is_an_authentication_error(site):
    client, log = site.watched("tg_nobody-knows-this-one")
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client)
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.type == "invalid_request_error"
    assert "nobody-knows" not in caught.value.message
    assert len(log.sent) == 1


def test_a_key_in_azures_header_is_told_where_it_belongs(site):
    client = site.client(default_headers={"authorization": "", "api-key": site.keys["alice"]})
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client)
    assert "Bearer" in caught.value.message and site.keys["alice"] not in caught.value.message


@pytest.mark.parametrize("key", ["alice", "narrow"])
def test_a_model_that_is_unknown_or_not_allowed_is_not_found(site, key):
    model = "no-such-model" if key == "alice" else "dear"
    for call in [lambda: chat(site.client(key), model=model), lambda: site.client(key).models.retrieve(model)]:
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert (caught.value.status_code, caught.value.code) == (404, "model_not_found")
    assert caught.value.request_id


def test_an_unknown_path_is_not_found(site):
    with pytest.raises(openai.NotFoundError) as caught:
        site.client().files.list()
    assert caught.value.code == "unknown_url"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"model": ""}, "model"),
        ({"extra_body": {"stream": "yes"}}, "stream"),
        ({"extra_body": {"Max_Tokens": 5}}, "Max_Tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "a"}]}, "messages[0].tool_call_id"),
        ({"model": "gold"}, "model"),
    ],
)
def test_a_bad_request_names_its_param(site, changes, param):
    client, log = site.watched("alice")
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, **changes)
    assert (caught.value.status_code, caught.value.type) == (400, "invalid_request_error")
    assert caught.value.param == param
    assert len(log.sent) == 1


def test_what_the_provider_refuses_is_passed_on(site):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(site.client(), model="too-long")
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


def test_what_a_model_does_not_take_is_told(site):
    def ask(**changes):
        return chat(site.client(), model="gold", extra_headers={"x-tier": "gold"}, **changes)

    assert ask(temperature=1, seed=5).choices[0].message.content == "The gate is open."
    assert "seed" not in site.provider.bodies("gold")[-1]
    for changes, param, code in [
        ({"temperature": 1.5}, "temperature", "decimal_above_max_value"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    ]:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(**changes)
        assert (caught.value.param, caught.value.code) == (param, code)


def test_what_fails_once_is_tried_again_here(site):
    client, log = site.watched("alice")
    assert chat(client, model="flaky").choices[0].message.content == "The gate is open."
    assert len(log.sent) == 1
    assert log.answers[0][2]["x-tollgate-attempts"] == "2"


def test_what_breaks_at_the_provider_is_raised_and_then_left_alone(site):
    client, log = site.watched("alice", max_retries=0)
    before = len(site.provider.bodies("broken"))
    raised = []
    for _ in range(4):
        with pytest.raises(openai.InternalServerError) as caught:
            chat(client, model="broken")
        raised.append(caught.value.status_code)
    assert (raised[0], raised[-1]) == (500, 503)
    assert len(site.provider.bodies("broken")) - before == 5
    assert 0 < int(log.answers[-1][2]["retry-after"]) <= 60
    # The others go on.
    assert chat(client).choices
