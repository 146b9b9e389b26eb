"""README's commands are run, in its order, as a reader would: what it shows is what happens.

Blocks marked `sh`, `python`, `toml` and `sql` are used; `sh not-run` are commands that build for release or run these
very tests, and `toml not-run` is for another shell. Two liberties are taken: servers listen on free ports instead of 8080
and 8081, and commands run in a folder of their own, which has the examples and a `tollgate.toml` that a server beside
them serves."""

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

from gateway import Gateway, free_address, run

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```([a-z][a-z -]*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
EXAMPLE = (ROOT / "examples/minimal.toml").read_text()
SHOWN_ADDRESS, SHOWN_OPERATORS = "127.0.0.1:8080", "127.0.0.1:8081"
UP = "cargo xtask up"


def blocks(mark):
    return [text.strip() for info, text in BLOCKS if info == mark]


class Demo:
    """`cargo xtask up`, running; what it printed, and an environment to run what follows in."""

    def __init__(self, folder):
        self.folder, self.address = folder, free_address()
        (folder / "examples").symlink_to(ROOT / "examples")
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        with self.stdout.open("w") as stdout, self.stderr.open("w") as stderr:
            command = [*shlex.split(UP), "--listen", self.address]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr)
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            raise
        key = re.search(r"\btg_[A-Za-z0-9_-]+", self.printed())[0]
        path = f"{Path(os.environ['TOLLGATE_BIN']).parent}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        self.env = {**kept, "PATH": path, "TOLLGATE_KEY": key, "no_proxy": "127.0.0.1"}

    def _wait(self):
        # Building is part of the command; everything is built already, unless only this test is run.
        for _ in range(1200):
            assert self.process.poll() is None, f"`{UP}` ended:\n{self.printed()}\n{self.stderr.read_text()}"
            try:
                urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5).close()
                if "curl" in self.printed() and "OpenAI" in self.printed():
                    return
            except OSError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"`{UP}` printed only:\n{self.printed()}\n{self.stderr.read_text()}")

    def printed(self):
        return self.stdout.read_text()

    def run(self, command):
        """Runs one shell command or block, and returns its output; it must succeed."""
        command = command.replace(SHOWN_ADDRESS, self.address)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, f"{command}\nexited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, text):
        """Runs a Python program with the official package at hand, and returns its output."""
        done = subprocess.run([sys.executable, "-c", text.replace(SHOWN_ADDRESS, self.address)], cwd=self.folder,
                              env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(timeout=30) == 0, demo.stderr.read_text()


@pytest.fixture
def server(demo):
    """The server beside the commands: `tollgate.toml` is the example and a listener for operators."""
    server = Gateway(demo.folder, f'[server]\nlisten = "ADDRESS"\n\n[admin]\nlisten = "OPERATORS"\n\n{EXAMPLE}')
    yield server
    server.stop()


def test_two_commands_lead_to_a_streamed_answer(demo):
    assert blocks("sh")[0] == UP
    curl = [line.strip() for line in demo.printed().splitlines() if line.strip().startswith("curl ")]
    assert len(curl) == 1, demo.printed()
    # README shows how the line begins.
    assert curl[0].startswith(blocks("text")[0].split("tg_")[0].replace(SHOWN_ADDRESS, demo.address))
    events = [line for line in demo.run(curl[0]).splitlines() if line.startswith("data: ")]
    assert len(events) > 3 and events[-1] == "data: [DONE]"


def test_the_snippet_it_prints_gets_a_streamed_answer(demo):
    printed = demo.printed()
    begin = re.search(r"^ *(from openai|import openai)", printed, re.M).start()
    lines = printed[begin:].splitlines()
    # The snippet ends where the text comes back to the left of it.
    indent = len(lines[0]) - len(lines[0].lstrip())
    inside = [line for line in lines if not line.strip() or line.startswith(" " * indent)]
    assert demo.python(textwrap.dedent("\n".join(inside))).strip()


def test_the_python_program_shown_gets_a_streamed_answer(demo):
    (program,) = blocks("python")
    assert demo.python(program).strip()


def test_every_other_command_shown_works(demo, server):
    for block in blocks("sh")[1:]:
        output = demo.run(block.replace(SHOWN_OPERATORS, server.operators))
        if "-D -" in block:
            assert " 200" in output.splitlines()[0]
        if "keys new" in block:
            assert re.search(r"\btg_", output)
            assert "--config" in block or re.search(r"\bsha256:[0-9a-f]{64}\b", output)


def test_the_questions_shown_are_answered_by_the_file_of_a_server(server):
    questions = [line for block in blocks("sql") for line in block.splitlines()]
    assert questions
    file = server.file.with_name("tollgate.db")
    books = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    for question in questions:
        books.execute(question).fetchall()
    books.close()


def test_the_configuration_shown_first_is_the_example():
    assert blocks("toml")[0] == EXAMPLE.strip()


def test_the_other_configuration_shown_fits_it(tmp_path):
    others = blocks("toml")[1:]
    assert others
    for number, text in enumerate(others):
        file = tmp_path / f"{number}.toml"
        file.write_text(f"{text}\n\n{EXAMPLE}")
        done = run("check", file, env={"REDIS_URL": "redis://127.0.0.1:6379"}, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_what_redis_must_allow_is_what_the_ledger_says():
    acl = [text for text in blocks("text") if text.startswith("ACL SETUSER")]
    source = (ROOT / "host/ledger/redis/src/lib.rs").read_text()
    said = re.findall(r"^//! (ACL SETUSER.*)\n//! (.*)$", source, re.M)
    assert [text.split() for text in acl] == [" ".join(lines).split() for lines in said] != []


def test_every_block_is_marked_for_what_it_is():
    assert {info for info, _ in BLOCKS} == {"sh", "sh not-run", "python", "toml", "toml not-run", "text", "sql"}
    fences = (ROOT / "README.md").read_text().count("\n```")
    assert fences == 2 * len(BLOCKS)
