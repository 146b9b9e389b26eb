"""What the tests share: one gateway in front of a provider of our own, and clients of the official package."""

import os
import time

import httpx2
import openai
import pytest

from gateway import Gateway, new_key
from provider import Provider

# What a developer's shell may hold for real work must not decide what these tests do.
for _name in [name for name in os.environ if name.startswith("OPENAI_") or name.lower().endswith("_proxy")]:
    del os.environ[_name]

# Prices in yen for a million tokens: an answer of the provider (5 output tokens) costs half a yen of `dear`.
CONFIG = """
[server]
listen = "ADDRESS"

[retry]
backoff = "20ms"
max_backoff = "50ms"

[upstreams.loopback]
base_url = "{base_url}"

[upstreams.shaky]
base_url = "{base_url}"

[[models]]
name = "gate"
targets = [{{ upstream = "loopback", model = "provider-gate" }}]
price = {{ currency = "JPY", input = 2.5, output = 10 }}

[[models]]
name = "dear"
targets = [{{ upstream = "loopback" }}]
price = {{ currency = "JPY", input = 0, output = 100000 }}

[[models]]
name = "vendor/words"
targets = [{{ upstream = "loopback" }}]
price = "free"
endpoints = ["embeddings"]

[[models]]
name = "too-long"
targets = [{{ upstream = "loopback" }}]
price = "free"

[[models]]
name = "chatty"
targets = [{{ upstream = "loopback" }}]
price = "free"
output_slice = 16

[[models]]
name = "broken"
targets = [{{ upstream = "shaky" }}]
price = "free"

[[models]]
name = "flaky"
targets = [{{ upstream = "loopback" }}]
price = "free"

[[models]]
name = "gold"
targets = [{{ upstream = "loopback", when = {{ header = {{ "x-tier" = "gold" }} }} }}]
price = "free"
parameters = {{ temperature = {{ max = 1 }}, logprobs = "refuse", seed = "drop" }}
"""

KEYS = {
    "alice": 'requests = "1000/1m"\ntokens = "1000000/1m"\nbudget = "1000 JPY/month"',
    "narrow": 'models = ["gate"]',
    "slow": 'requests = "1/2s"',
    "small": 'tokens = "100/2s"',
    "brief": 'tokens = "80/1h"',
    "poor": 'budget = "1 JPY/month"',
}


class Site:
    """A gateway, the provider behind it, and the keys it knows by name."""

    def __init__(self, gateway, provider, keys):
        self.gateway, self.provider, self.keys = gateway, provider, keys

    def client(self, key="alice", **options):
        """A client with a key by name, or, if there is none of that name, with that very text as its key."""
        return openai.OpenAI(api_key=self.keys.get(key, key), base_url=self.gateway.base_url, **options)

    def watched(self, key, **options):
        """A client, and the list of what it goes through on the wire as it happens."""
        log = Log()
        hooks = {"request": [log.request], "response": [log.response]}
        client = self.client(key, http_client=httpx2.Client(event_hooks=hooks), **options)
        return client, log


class Log:
    """When each request left and each answer came, with the answer's status and headers."""

    def __init__(self):
        self.sent, self.answers = [], []

    def request(self, _request):
        self.sent.append(time.monotonic())

    def response(self, response):
        self.answers.append((time.monotonic(), response.status_code, response.headers))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder, provider = tmp_path_factory.mktemp("site"), Provider()
    keys, text = {}, CONFIG.format(base_url=provider.base_url)
    for name, limits in KEYS.items():
        keys[name], digest = new_key()
        text += f'\n[[keys]]\nname = "{name}"\ndigest = "{digest}"\n{limits}\n'
    gateway = Gateway(folder, text)
    yield Site(gateway, provider, keys)
    gateway.stop()
    provider.stop()
    # Whatever happened above, a key is nowhere in what the gateway wrote.
    assert not [name for name, key in keys.items() if key in gateway.written()]


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("demo"))
    yield gateway
    gateway.stop()

