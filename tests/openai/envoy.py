"""What works with the official package works through the plugin in Envoy: run by the tests of the plugin, which have
started Envoy and tell in the environment where."""

from through import ASK, check_refusals, client

alice = client("tg_alice")

raw = alice.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
assert raw.parse().choices[0].message.content == "Yes.", raw.text
assert raw.parse()._request_id == raw.headers["x-request-id"] != ""
assert raw.headers["x-tollgate-upstream"] == "main"

chunks = list(alice.chat.completions.create(model="gpt-4o", messages=ASK, stream=True))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Yes."
assert all(chunk.usage is None for chunk in chunks), "nobody asked for the usage"

assert [model.id for model in alice.models.list()] == ["gpt-4o"]

check_refusals(alice, "gpt-4o")
print("all is well")
