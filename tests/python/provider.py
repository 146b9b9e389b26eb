"""A provider on loopback that answers in OpenAI's shape, by the model asked for, and remembers what it was sent.

Written apart from the gateway, so that a misreading of the protocol there is not repeated here."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ["The", " gate", " is", " open", "."]
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
CALL = {"name": "weather", "arguments": '{"city": "京都"}'}


class Provider:
    """Serves on a free port until `stop`; `seen` holds each request's path, headers and body."""

    def __init__(self):
        self.seen = []
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def bodies(self, model):
        """The bodies that asked for a model, as the provider knows it."""
        return [body for _, _, body in self.seen if body.get("model") == model]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.provider.seen.append((self.path, dict(self.headers), body))
        if self.path == "/v1/embeddings":
            return self.document(200, _embeddings(body))
        if body["model"] == "too-long":
            error = {"message": "This model's maximum context length is 8 tokens.", "type": "invalid_request_error",
                     "param": "messages", "code": "context_length_exceeded"}
            return self.document(400, {"error": error})
        asked = len(self.provider.bodies(body["model"]))
        if body["model"] == "broken" or (body["model"] == "flaky" and asked % 2 == 1):
            return self.document(500, {"error": {"message": "oops", "type": "server_error", "param": None, "code": None}})
        if body.get("stream"):
            return self.events(_chunks(body))
        return self.document(200, _completion(body))

    def document(self, status, document):
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def events(self, chunks):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for data in [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]:
            event = f"data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        """Says nothing: a failed test shows what was seen."""


def _completion(body):
    message, reason = {"role": "assistant", "content": "".join(WORDS)}, "stop"
    if body.get("tools"):
        call = {"id": "call_1", "type": "function", "function": CALL}
        message, reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": body["model"],
            "choices": [choice], "usage": USAGE}


def _chunks(body):
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": body["model"]}
    asked = (body.get("stream_options") or {}).get("include_usage")
    # OpenAI writes `usage: null` into every chunk but the last, if it was asked for usage.
    usage = {"usage": None} if asked else {}
    if body.get("tools"):
        half = len(CALL["arguments"]) // 2
        pieces = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": CALL["name"], "arguments": ""}},
                  {"index": 0, "function": {"arguments": CALL["arguments"][:half]}},
                  {"index": 0, "function": {"arguments": CALL["arguments"][half:]}}]
        deltas, reason = [{"tool_calls": [piece]} for piece in pieces], "tool_calls"
    else:
        times = 100 if body["model"] == "chatty" else 1
        deltas, reason = [{"content": word} for word in WORDS * times], "stop"
    for delta in [{"role": "assistant"}, *deltas]:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **usage}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **usage}
    if asked:
        yield {**head, "choices": [], "usage": USAGE}


def _embeddings(body):
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": i, "embedding": [0.5, -0.25, float(i)]} for i, _ in enumerate(inputs)]
    return {"object": "list", "data": data, "model": body["model"],
            "usage": {"prompt_tokens": 3 * len(inputs), "total_tokens": 3 * len(inputs)}}
