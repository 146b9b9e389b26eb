"""`tollgate keys` and `tollgate ledger`, beside a server that runs, as an operator types them."""

import csv
import io
import json
import re
import tomllib

import pytest

from client import ask, until
from conftest import config
from desk import at, digest
from gateway import run

KEY, SCOPE = "/admin/v1/keys/{name}", "/admin/v1/scopes/{name}"


class Shell:
    """Runs commands on the configuration of a gateway that runs."""

    def __init__(self, desk):
        self.desk, self.file = desk, desk.gateway.file

    def keys(self, *args):
        """Runs a command that must succeed, and returns what it prints."""
        done = run("keys", *args, "--config", self.file, cwd=self.file.parent)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    def refused(self, *args):
        """Runs a command that must fail without printing anything, and returns why it says it did."""
        done = run("keys", *args, "--config", self.file, cwd=self.file.parent)
        assert (done.returncode, done.stdout) == (1, ""), done.stdout
        return done.stderr

    def secret(self, *args):
        """Runs a command that hands out a secret, which its first line is."""
        printed = self.keys(*args)
        secret, *rest = printed.splitlines()
        assert re.fullmatch(r"tg_[A-Za-z0-9_-]+", secret) and secret not in "\n".join(rest)
        assert "shown this once" in printed
        self.desk.secrets.append(secret)
        return secret

    def shown(self, *args):
        """What `keys show` and its like print: a name and a value on each line."""
        return dict(re.split(r" {2,}", line, maxsplit=1) for line in self.keys(*args).splitlines()
                    if not line.startswith("secret"))


@pytest.fixture
def shell(desk):
    return Shell(desk)


def test_a_key_made_beside_the_server_is_let_in_at_once(shell, desk, name):
    secret = shell.secret(
        "new", name, "--models", "gate, dear", "--requests", "9/1m", "--tokens", "900/1m", "--concurrent", "2",
        "--budget", "3 JPY/month", "--budget", "1 JPY/day", "--priority", "batch", "--expires", "90d")
    assert ask(desk.gateway, secret)[0] == 200
    key = desk.get(at(KEY, name)).value
    assert key["models"] == ["gate", "dear"] and key["priority"] == "batch"
    assert key["limits"] == {"requests": "9/1m", "tokens": "900/1m", "concurrent": 2,
                             "budgets": ["3 JPY/month", "1 JPY/day"]}
    # Ninety days from when the command was typed, which was a moment before the key was made.
    assert 89 * 86_400_000 < key["expires_ms"] - key["created_ms"] <= 90 * 86_400_000
    shown = shell.shown("show", name)
    assert shown["limits"] == "requests 9/1m, tokens 900/1m, concurrent 2, budget 3 JPY/month, budget 1 JPY/day"
    assert (shown["key"], shown["models"], shown["priority"]) == (name, "gate, dear", "batch")


@pytest.mark.parametrize(("when", "expires_ms"), [
    ("2100-01-01", 4102444800000), ("2100-01-01T12:00:00Z", 4102488000000), ("never", None),
])
def test_a_key_expires_when_it_is_told_to(shell, desk, name, when, expires_ms):
    shell.secret("new", name, "--expires", when)
    assert desk.get(at(KEY, name)).value["expires_ms"] == expires_ms


def test_keys_and_scopes_are_listed(shell, desk, name):
    organisation = name.split("/")[0]
    secret = shell.secret("new", name, "--requests", "7/1m")
    shell.keys("limit", organisation, "--scope", "--requests", "8/1m")
    lines = shell.keys("list").splitlines()
    assert [name, "normal", "requests", "7/1m"] in [line.split() for line in lines]
    assert [f"{organisation}/*", "scope", "requests", "8/1m"] in [line.split() for line in lines]
    keys = [json.loads(line) for line in shell.keys("list", "--json").splitlines()]
    (key,) = [key for key in keys if key["name"] == name]
    assert key["limits"] == {"requests": "7/1m"} and key["secrets"][0]["digest"] == digest(secret)
    assert secret not in json.dumps(keys)
    shell.keys("revoke", name)
    assert [name, "revoked", "requests", "7/1m"] in [line.split() for line in shell.keys("list").splitlines()]


def test_a_limit_that_is_not_named_stays_and_none_takes_it_away(shell, desk, name):
    shell.secret("new", name, "--requests", "9/1m", "--tokens", "900/1m", "--budget", "3 JPY/month", "--models", "gate")
    assert shell.shown("limit", name, "--concurrent", "4")["limits"] == (
        "requests 9/1m, tokens 900/1m, concurrent 4, budget 3 JPY/month")
    shown = shell.shown("limit", name, "--requests", "none", "--budget", "none")
    assert shown["limits"] == "tokens 900/1m, concurrent 4"
    shown = shell.shown("limit", name, "--tokens", "none", "--concurrent", "none", "--models", "all",
                        "--priority", "urgent")
    assert (shown["limits"], shown["models"], shown["priority"]) == ("none", "all", "urgent")
    assert desk.get(at(KEY, name)).value["limits"] == {}


def test_tags_are_set_as_a_whole_and_none_takes_them_away(shell, desk, name):
    shell.secret("new", name, "--tag", "batch-team", "--tag", "eu:west")
    assert shell.shown("show", name)["tags"] == "batch-team, eu:west"
    assert shell.shown("limit", name, "--requests", "9/1m")["tags"] == "batch-team, eu:west"
    assert shell.shown("limit", name, "--tag", "eu")["tags"] == "eu"
    assert desk.get(at(KEY, name)).value["tags"] == ["eu"]
    assert "tags" not in shell.shown("limit", name, "--tag", "none")
    assert "a scope has limits only" in shell.refused("limit", "acme", "--scope", "--tag", "eu")


def test_limits_of_a_scope_are_set_and_shown(shell, desk, name):
    team = "/".join(name.split("/")[:2])
    assert shell.shown("show", team, "--scope") == {"scope": team, "limits": "none"}
    shell.keys("limit", team, "--scope", "--budget", "9 JPY/month", "--concurrent", "3")
    assert shell.shown("show", team, "--scope")["limits"] == "concurrent 3, budget 9 JPY/month"
    assert desk.get(at(SCOPE, team)).value["limits"] == {"concurrent": 3, "budgets": ["9 JPY/month"]}
    assert shell.shown("limit", team, "--scope", "--budget", "none", "--concurrent", "none")["limits"] == "none"


def test_a_rotated_key_has_another_secret_and_a_revoked_one_none(shell, desk, name):
    first = shell.secret("new", name)
    second = shell.secret("rotate", name, "--overlap", "1h")
    assert [ask(desk.gateway, secret)[0] for secret in [first, second]] == [200, 200]
    third = shell.secret("rotate", name, "--overlap", "0")
    until(lambda: [ask(desk.gateway, secret)[0] for secret in [first, second, third]] == [401, 401, 200])
    assert name in shell.keys("revoke", name)
    until(lambda: ask(desk.gateway, third)[0] == 401)
    assert "was revoked" in shell.refused("rotate", name)
    assert "was revoked" in shell.refused("limit", name, "--requests", "1/1m")
    assert "revoked" in shell.shown("show", name)


@pytest.mark.parametrize(("args", "why"), [
    (["--requests", "often"], ["limits.requests: must be a number and a duration such as `100/1m`"]),
    (["--requests", "x", "--tokens", "x", "--models", "no-such-model"],
     ["limits.requests: ", "limits.tokens: ", "models[0]: there is no model `no-such-model`; there are "]),
    (["--concurrent", "many"], ["`--concurrent many` must be a whole number or `none`"]),
    (["--concurrent", "0"], ["limits.concurrent: must be from 1 "]),
    (["--budget", "5 JPY"], ["limits.budgets[0]: must be an amount, a currency and a calendar period"]),
    (["--budget", "5 USD/month"], ["limits.budgets[0]: the budget is in USD, but model `gate` is priced in JPY"]),
    (["--budget", "5 JPY/day", "--budget", "6 JPY/day"], ["limits.budgets[1]: is a second budget"]),
    (["--priority", "high"], ["`--priority high` must be urgent, normal or batch"]),
    (["--tag", "ok", "--tag", "not ok", "--tag", "ok", "--requests", "x"],
     ["tags[1]: a tag has 1 to 64 of the characters", "tags[2]: is listed twice", "limits.requests: "]),
    ([word for number in range(17) for word in ["--tag", str(number)]], ["tags: must be at most 16 tags"]),
    (["--expires", "soon"], ["`soon` is neither a moment such as 2027-01-01", "nor a duration such as 90d"]),
])
def test_what_cannot_be_right_is_said_and_nothing_is_kept(shell, desk, name, args, why):
    told = shell.refused("new", name, *args)
    assert not [text for text in why if text not in told], told
    assert desk.get(at(KEY, name)).status == 404
    shell.secret("new", name)
    assert shell.refused("limit", name, *args) == told
    assert desk.get(at(KEY, name)).value["limits"] == {}


def test_what_is_not_there_or_there_already_is_said(shell, name):
    for command in ["show", "rotate", "revoke", "limit"]:
        assert shell.refused(command, name) == f"there is no `{name}` in the store\n"
    shell.secret("new", name)
    assert shell.refused("new", name) == f"there is a key named `{name}` already\n"
    assert shell.refused("new", "configured") == "there is a key named `configured` already\n"
    assert "`soon` is not a duration" in shell.refused("rotate", name, "--overlap", "soon")
    assert "a scope has limits only" in shell.refused("limit", "acme", "--scope", "--priority", "batch")
    assert "parts" in shell.refused("new", "a/b/c/d") and "parts" in shell.refused("limit", "a/b/c", "--scope")


def test_a_key_for_a_configuration_file_is_printed_as_toml(tmp_path):
    done = run("keys", "new", "acme/ml/alice", cwd=tmp_path)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    secret, _, text = done.stdout.partition("\n")
    (key,) = tomllib.loads(text[text.index("[[keys]]"):])["keys"]
    assert key == {"name": "acme/ml/alice", "digest": f"sha256:{digest(secret)}"}
    for wrong in ["a/b/c/d", "a b", ""]:
        done = run("keys", "new", wrong, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "") and "parts" in done.stderr
    # Limits go where the key goes, into the file.
    done = run("keys", "new", "acme/ml/alice", "--requests", "1/1m", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "") and "--config" in done.stderr


def test_rows_are_exported_as_json_and_for_spreadsheets(desk, name):
    organisation, folder = name.split("/")[0], desk.gateway.file.parent
    secret = desk.new_key(name)
    for model in ["dear", "gate"]:
        assert ask(desk.gateway, secret, model)[0] == 200
    path = f"/admin/v1/charges?scope={organisation}"
    until(lambda: len(desk.get(path).value["data"]) == 2)
    rows = desk.get(path).value["data"]

    def export(*args):
        done = run("ledger", "export", "--config", desk.gateway.file, "--scope", organisation, *args, cwd=folder)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    assert [json.loads(line) for line in export().splitlines()] == rows
    assert [json.loads(line) for line in export("--format", "jsonl").splitlines()] == rows
    lines = list(csv.DictReader(io.StringIO(export("--format", "csv"))))
    assert [line["request_id"] for line in lines] == [row["request_id"] for row in rows]
    assert [int(line["charge_nano"]) for line in lines] == [row["charge"] for row in rows] == [500_000_000, 80_000]
    assert (lines[0]["key"], lines[0]["currency"], lines[0]["price_output_pico"]) == (name, "JPY", "100000000000")
    assert (lines[0]["estimated"], lines[0]["first_byte_ms"]) == ("false", "")
    assert export("--to", "2020-01-01") == "" and export("--from", "2100-01-01") == ""
    assert len(export("--from", "2020-01-01", "--to", "2100-01-01T00:00:00Z").splitlines()) == 2


def test_an_export_that_cannot_be_is_said(desk, tmp_path):
    done = run("ledger", "export", "--config", desk.gateway.file, "--from", "soon")
    assert (done.returncode, done.stdout) == (1, "") and "`soon` is neither a moment" in done.stderr
    done = run("ledger", "export", "--config", tmp_path / "none.toml")
    assert (done.returncode, done.stdout) == (1, "") and "none.toml" in done.stderr


@pytest.mark.parametrize("command", [["keys", "list"], ["ledger", "export"]])
def test_books_in_memory_are_out_of_reach_and_it_says_where_they_are(tmp_path, command):
    file = tmp_path / "tollgate.toml"
    text = config("http://127.0.0.1:9/v1").replace("ADDRESS", "127.0.0.1:0").replace("OPERATORS", "127.0.0.1:0")
    file.write_text(f'{text}\n[ledger]\nstore = "memory"\n')
    done = run(*command, "--config", file, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "") and "`[admin]` listener" in done.stderr


@pytest.mark.parametrize("command", [["keys", "list"], ["ledger", "export"], ["keys", "new", "a"]])
def test_a_configuration_with_problems_is_refused_as_by_the_server(tmp_path, command):
    file = tmp_path / "tollgate.toml"
    file.write_text("[server]\nlisten = 7\n")
    done = run(*command, "--config", file, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "") and "server.listen" in done.stderr
