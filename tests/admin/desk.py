"""An operator over HTTP: every answer is held against the description, and searched for secrets."""

import hashlib
import http.client
import json


class Answer:
    """An answer: to which operation (none: to nothing that is described), its status and headers, and its body, raw and read."""

    def __init__(self, operation, response, body, value=None):
        self.operation, self.status, self.headers = operation, response.status, response.headers
        self.body, self.value = body, value

    @property
    def error(self):
        """Its status, and the error's code."""
        return self.status, self.value["error"]["code"]

    @property
    def problems(self):
        """What was wrong with what was sent, by its place."""
        return {problem["at"]: problem["message"] for problem in self.value["error"]["problems"]}


class Desk:
    """Calls a gateway's operators' listener. `secrets` are all that were ever handed out by it."""

    def __init__(self, gateway, description, headers=None):
        self.gateway, self.description, self.headers = gateway, description, headers or {}
        self.secrets = []

    def call(self, method, target, document=None, headers=None, body=None):
        """Sends a document as JSON, or a body as it is; `headers` come on top of those that are always sent."""
        sent = {**self.headers, **(headers or {})}
        if document is not None:
            body = json.dumps(document).encode()
        if body is not None:
            sent.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection(self.gateway.operators, timeout=30)
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return self._read(method, target, response, response.read())
        finally:
            connection.close()

    def get(self, target, **options):
        return self.call("GET", target, **options)

    def post(self, target, document=None, **options):
        return self.call("POST", target, document, **options)

    def put(self, target, document=None, **options):
        return self.call("PUT", target, document, **options)

    def new_key(self, name, **terms):
        """Makes a key, and returns its secret."""
        answer = self.post("/admin/v1/keys", {"name": name, **terms})
        assert answer.status == 201, answer.value
        return answer.value["secret"]

    def _read(self, method, target, response, body):
        operation = self.description.find(method, target)
        for secret in self.secrets:
            assert secret.encode() not in body and digest(secret).encode() not in body
        if method == "HEAD":
            assert response.status >= 400 and not body
            return Answer(operation, response, body)
        media_type = response.headers["content-type"]
        value = self.description.check_answer(operation, response.status, media_type, body)
        if "secret" in value:
            assert digest(value["secret"]).encode() not in body
            self.secrets.append(value["secret"])
        return Answer(operation, response, body, value)


def digest(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


def at(path, name):
    """A path with a name in it; `/` in a name is written as `%2F`."""
    return path.replace("{name}", name.replace("/", "%2F"))
