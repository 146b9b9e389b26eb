"""What works with the official package works through the gateway."""

import asyncio

import openai
import pytest

from provider import CALL, USAGE, WORDS

ASK = [{"role": "user", "content": "Is the gate open?"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
ANSWER = "".join(WORDS)


def test_a_chat_completion_is_answered_and_its_model_is_renamed_for_the_provider(site):
    completion = site.client().chat.completions.create(model="gate", messages=ASK, temperature=0.2)
    assert completion.choices[0].message.content == ANSWER
    assert completion.usage.total_tokens == USAGE["total_tokens"]
    body = site.provider.bodies("provider-gate")[-1]
    assert body == {"model": "provider-gate", "messages": ASK, "temperature": 0.2}


def test_the_key_never_reaches_the_provider(site):
    site.client().chat.completions.create(model="gate", messages=ASK)
    assert all(site.keys["alice"] not in str(headers) for _, headers, _ in site.provider.seen)


def test_an_answer_carries_its_request_id_and_what_is_left(site):
    raw = site.client().chat.completions.with_raw_response.create(model="gate", messages=ASK)
    assert raw.parse()._request_id == raw.headers["x-request-id"] != ""
    assert raw.headers["x-ratelimit-limit-requests"] == "1000"
    assert 0 <= int(raw.headers["x-ratelimit-remaining-requests"]) < 1000
    assert raw.headers["x-tollgate-upstream"] == "loopback"


def test_a_stream_comes_in_chunks_and_hides_the_usage_nobody_asked_for(site):
    chunks = list(site.client().chat.completions.create(model="gate", messages=ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert site.provider.bodies("provider-gate")[-1]["stream_options"] == {"include_usage": True}


def test_a_stream_shows_the_usage_that_was_asked_for(site):
    options = {"include_usage": True}
    stream = site.client().chat.completions.create(model="gate", messages=ASK, stream=True, stream_options=options)
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert last.choices == [] and last.usage.completion_tokens == USAGE["completion_tokens"]


def test_a_stream_is_read_by_the_streaming_helper(site):
    with site.client().chat.completions.stream(model="gate", messages=ASK) as stream:
        assert stream.get_final_completion().choices[0].message.content == ANSWER


def test_a_client_that_leaves_a_stream_leaves_the_gateway_well(site):
    client = site.client()
    with client.chat.completions.create(model="gate", messages=ASK, stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(model="gate", messages=ASK).choices[0].message.content == ANSWER


def test_a_tool_call_comes_back_whole(site):
    completion = site.client().chat.completions.create(model="gate", messages=ASK, tools=[TOOL])
    call = completion.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == (CALL["name"], CALL["arguments"])
    assert completion.choices[0].finish_reason == "tool_calls"
    assert site.provider.bodies("provider-gate")[-1]["tools"] == [TOOL]


def test_a_tool_call_comes_back_in_chunks(site):
    arguments = ""
    for chunk in site.client().chat.completions.create(model="gate", messages=ASK, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            arguments += call.function.arguments or ""
    assert arguments == CALL["arguments"]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_answered(site, encoding):
    # The package asks for base64 by itself; the provider answers with numbers, which it takes as well.
    answer = site.client().embeddings.create(model="vendor/words", input=["one", "two"], encoding_format=encoding)
    assert [item.embedding for item in answer.data] == [[0.5, -0.25, 0.0], [0.5, -0.25, 1.0]]
    assert answer.usage.prompt_tokens == 6


def test_models_are_listed_and_found_even_with_a_slash_in_the_name(site):
    listed = {model.id for model in site.client().models.list()}
    assert listed == {"gate", "dear", "vendor/words", "too-long", "chatty", "broken", "flaky", "gold"}
    assert site.client().models.retrieve("vendor/words").id == "vendor/words"


def test_models_a_key_may_not_use_are_not_listed(site):
    assert [model.id for model in site.client("narrow").models.list()] == ["gate"]


def test_many_streams_at_once_each_get_their_own_answer(site):
    async def one(client):
        stream = await client.chat.completions.create(model="gate", messages=ASK, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def many():
        async with openai.AsyncOpenAI(api_key=site.keys["alice"], base_url=site.gateway.base_url) as client:
            return await asyncio.gather(*(one(client) for _ in range(30)))

    assert asyncio.run(many()) == [ANSWER] * 30
