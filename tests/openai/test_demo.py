"""The demo is a provider, a gateway and a key that work without an account, a network or a file."""

import re

import openai
import pytest


@pytest.fixture(scope="module")
def client(demo):
    key = re.search(r"\btg_[A-Za-z0-9_-]+", demo.stdout.read_text())[0]
    return openai.OpenAI(api_key=key, base_url=demo.base_url)


def test_every_model_of_the_demo_answers(client):
    models = [model.id for model in client.models.list()]
    assert models
    for model in models:
        try:
            completion = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
            assert completion.choices[0].message.content and completion.usage.completion_tokens > 0
        except openai.BadRequestError:
            assert client.embeddings.create(model=model, input="Hello").data[0].embedding


def test_the_demo_streams(client):
    model = next(iter(client.models.list())).id
    stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert len(pieces) > 1
