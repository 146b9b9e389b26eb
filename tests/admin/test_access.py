"""Who may come in: with a credential whoever has it, without one a program on this machine and no web page."""

import http.client
import json
import socket

import pytest

from conftest import TOKEN, config
from desk import Desk
from gateway import Gateway, run

KEYS = "/admin/v1/keys"


def test_without_a_credential_a_program_on_this_machine_comes_in(desk):
    assert desk.get(KEYS).status == 200
    port = desk.gateway.operators.split(":")[1]
    for host in [f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"]:
        assert desk.get(KEYS, headers={"host": host}).status == 200, host


@pytest.mark.parametrize("headers", [
    {"origin": "http://127.0.0.1:8081"},
    {"origin": "null"},
    {"host": "gateway.example"},
    {"host": "localhost.gateway.example:8081"},
    {"host": "192.0.2.1:8081"},
])
@pytest.mark.parametrize("path", [KEYS, "/metrics", "/admin/v1/openapi.json", "/no-such-path"])
def test_without_a_credential_a_web_page_does_not(desk, headers, path):
    assert desk.get(path, headers=headers).error == (403, "forbidden")


def test_a_body_that_a_web_page_can_send_is_refused(desk):
    for media_type in ["text/plain", "application/x-www-form-urlencoded", ""]:
        answer = desk.call("POST", KEYS, {"name": "from-a-page"}, headers={"content-type": media_type})
        assert answer.error == (400, "bad_request")
    assert desk.get(f"{KEYS}/from-a-page").status == 404


@pytest.mark.parametrize("path", [KEYS, "/metrics", "/admin/v1/openapi.json", "/no-such-path"])
@pytest.mark.parametrize("presented", [
    "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN.upper()}", "Bearer ",
])
def test_with_a_credential_nothing_else_comes_in(guarded, path, presented):
    answer = guarded.get(path, headers={"authorization": presented})
    assert answer.error == (401, "unauthorized")
    assert TOKEN.encode() not in answer.body


def test_with_a_credential_no_header_at_all_does_not_come_in(guarded):
    assert Desk(guarded.gateway, guarded.description).get(KEYS).error == (401, "unauthorized")


def test_with_a_credential_it_alone_counts(guarded):
    for headers in [{}, {"host": "gateway.example"}, {"origin": "https://gateway.example"}]:
        assert guarded.get(KEYS, headers=headers).status == 200, headers


def test_a_key_of_a_client_is_no_credential_of_an_operator(guarded, name):
    secret = guarded.new_key(name)
    assert guarded.get(KEYS, headers={"authorization": f"Bearer {secret}"}).error == (401, "unauthorized")


@pytest.mark.parametrize("path", [KEYS, "/admin/v1/openapi.json", "/metrics"])
def test_the_listener_for_clients_has_nothing_for_operators(desk, path):
    connection = http.client.HTTPConnection(desk.gateway.address, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 404
    assert json.loads(response.read())["error"]["code"] == "unknown_url"
    connection.close()


def test_a_head_that_two_readers_could_read_differently_is_refused(desk):
    host, port = desk.gateway.operators.split(":")
    lines = [
        f"POST {KEYS} HTTP/1.1\r\nhost: localhost\r\nhost: gateway.example\r\ncontent-length: 0\r\n",
        f"POST {KEYS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n",
    ]
    for head in lines:
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(f"{head}\r\n".encode())
            response = http.client.HTTPResponse(connection)
            response.begin()
            value = desk.description.check_answer(
                None, response.status, response.headers["content-type"], response.read())
            assert response.status in (400, 403) and value["error"]["message"]


def refused(folder, text, env=None):
    """Why a gateway does not start."""
    file = folder / "tollgate.toml"
    file.write_text(text.replace("ADDRESS", "127.0.0.1:0"))
    results = [run("serve", "--config", file, env=env, cwd=folder), run("check", file, env=env, cwd=folder)]
    for done in results:
        assert (done.returncode, done.stdout) == (78, ""), done.stderr
    served, checked = (done.stderr for done in results)
    assert served == checked
    assert not (folder / "tollgate.db").exists()
    return served


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:8081", "[::]:0"])
def test_where_others_can_reach_it_it_does_not_start_without_a_credential(tmp_path, listen):
    why = refused(tmp_path, config("http://127.0.0.1:9/v1").replace("OPERATORS", listen))
    assert "admin: " in why and "needs a credential" in why and "token" in why


@pytest.mark.parametrize(("token", "why"), [
    (None, "is not set"), ("", "is empty"), ("   ", "is empty"), ("fifteen-letters", "at least 16 characters"),
])
def test_it_does_not_start_with_a_weak_credential(tmp_path, token, why):
    text = config("http://127.0.0.1:9/v1", 'token = { env = "TOLLGATE_ADMIN_TOKEN" }')
    env = {} if token is None else {"TOLLGATE_ADMIN_TOKEN": token}
    told = refused(tmp_path, text.replace("OPERATORS", "127.0.0.1:0"), env)
    assert "admin.token: the environment variable TOLLGATE_ADMIN_TOKEN " in told and why in told
    assert not token or not token.strip() or token not in told


def test_a_credential_written_into_the_file_is_refused_and_not_repeated(tmp_path):
    told = refused(tmp_path, config("http://127.0.0.1:9/v1", f'token = "{TOKEN}"').replace("OPERATORS", "127.0.0.1:0"))
    assert "admin.token" in told and TOKEN not in told


def test_without_the_table_nobody_listens_for_operators(tmp_path):
    text = config("http://127.0.0.1:9/v1").replace('[admin]\nlisten = "OPERATORS"\n', "")
    assert "admin" not in text
    gateway = Gateway(tmp_path, text)
    gateway.stop()
    assert '"listening"' in gateway.written() and "operators" not in gateway.written()
