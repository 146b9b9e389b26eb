"""What works with the official package works through the component for Spin: run by the tests of the application, which
have started it with its simulated provider and tell in the environment where."""

from through import ASK, check_refusals, client

MODEL = "gpt-4o-mini"

demo = client("tg_demo")

raw = demo.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
whole = raw.parse()
assert whole.choices[0].message.content and whole.usage.completion_tokens > 0, raw.text
assert whole._request_id == raw.headers["x-request-id"] != ""

chunks = list(demo.chat.completions.create(model=MODEL, messages=ASK, stream=True))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
assert all(chunk.usage is None for chunk in chunks), "nobody asked for the usage"
*_, last = demo.chat.completions.create(model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True})
assert last.usage.completion_tokens == whole.usage.completion_tokens

assert MODEL in [model.id for model in demo.models.list()]

check_refusals(demo, MODEL)
print("all is well")
