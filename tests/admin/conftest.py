"""What the tests share: gateways with a listener for operators, without and with a credential."""

import itertools
import os

import pytest

from description import Description
from desk import Desk
from gateway import Gateway
from provider import Provider

# What a developer's shell may hold for real work must not decide what these tests do.
for _name in [name for name in os.environ if name.startswith("TOLLGATE_") and name != "TOLLGATE_BIN"]:
    del os.environ[_name]

TOKEN = "operators-only-4f1d9a"

# An answer of the provider has 12 input and 5 output tokens: of `gate` it costs 0.00008 yen, of `dear` half a yen.
CONFIG = """
[server]
listen = "ADDRESS"

[admin]
listen = "OPERATORS"
{token}

[upstreams.loopback]
base_url = "{base_url}"

[[models]]
name = "gate"
targets = [{{ upstream = "loopback" }}]
price = {{ currency = "JPY", input = 2.5, output = 10 }}

[[models]]
name = "dear"
targets = [{{ upstream = "loopback" }}]
price = {{ currency = "JPY", input = 0, output = 100000 }}

[[keys]]
name = "configured"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
requests = "10/1m"
budget = "7 JPY/month"
"""


def config(base_url, token=""):
    return CONFIG.format(base_url=base_url, token=token)


@pytest.fixture(scope="session")
def description():
    return Description()


@pytest.fixture(scope="session")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


def _desk(folder, description, text, headers=None):
    # All that can be logged is logged, so that a secret in any line would be found.
    env = {"TOLLGATE_ADMIN_TOKEN": TOKEN, "TOLLGATE_LOG": "trace"}
    gateway = Gateway(folder, text, env)
    desk = Desk(gateway, description, headers)
    yield desk
    gateway.stop()
    written = gateway.written()
    assert "listening for operators" in written
    assert not [secret for secret in [*desk.secrets, TOKEN] if secret in written]


@pytest.fixture(scope="session")
def desk(tmp_path_factory, provider, description):
    """An operator without a credential, on the same machine."""
    yield from _desk(tmp_path_factory.mktemp("open"), description, config(provider.base_url))


@pytest.fixture(scope="session")
def guarded(tmp_path_factory, provider, description):
    """An operator with the credential that the listener asks for."""
    text = config(provider.base_url, 'token = { env = "TOLLGATE_ADMIN_TOKEN" }')
    headers = {"authorization": f"Bearer {TOKEN}"}
    yield from _desk(tmp_path_factory.mktemp("guarded"), description, text, headers)


_numbers = itertools.count(1)


@pytest.fixture
def name():
    """A key's name that nothing else uses, in an organisation and a team of its own."""
    number = next(_numbers)
    return f"org{number}/team/key"
