"""What works with the official package works through the plugin in Envoy: run by the tests of the plugin, which have
started Envoy and tell in the environment where."""

import os

import openai

ASK = [{"role": "user", "content": "Is the gate open?"}]


def client(key):
    return openai.OpenAI(api_key=key, base_url=os.environ["BASE_URL"], max_retries=0)


def refused(kind, ask):
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"not refused by {kind}")


alice = client("tg_alice")

raw = alice.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
assert raw.parse().choices[0].message.content == "Yes.", raw.text
assert raw.parse()._request_id == raw.headers["x-request-id"] != ""
assert raw.headers["x-tollgate-upstream"] == "main"

chunks = list(alice.chat.completions.create(model="gpt-4o", messages=ASK, stream=True))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Yes."
assert all(chunk.usage is None for chunk in chunks), "nobody asked for the usage"

assert [model.id for model in alice.models.list()] == ["gpt-4o"]

error = refused(openai.AuthenticationError, lambda: client("tg_nobody").models.list())
assert error.code == "invalid_api_key"
error = refused(openai.NotFoundError, lambda: alice.chat.completions.create(model="gpt-5", messages=ASK))
assert error.code == "model_not_found"
error = refused(openai.BadRequestError, lambda: alice.chat.completions.create(model="gpt-4o", messages=ASK, n=0))
assert error.param == "n", error
print("all is well")
