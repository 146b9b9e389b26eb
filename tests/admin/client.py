"""A client of the gateway, as plain as can be: one request, its status and its document."""

import http.client
import json
import time

PATIENCE_S = 30


def ask(gateway, secret, model="gate", **changes):
    """Asks for a chat completion; returns the status and the answer."""
    body = {"model": model, "messages": [{"role": "user", "content": "Open?"}], "max_tokens": 5, **changes}
    connection = http.client.HTTPConnection(gateway.address, timeout=30)
    try:
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def until(condition):
    """Waits until something is so; a change of a key is in force everywhere within seconds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)
