"""The gateway as a process: started, waited for, stopped. `TOLLGATE_BIN` names the binary."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

BINARY = os.environ.get("TOLLGATE_BIN")
READY_WITHIN_S = 30


def run(*args, env=None, cwd=None):
    """Runs a command of the binary to its end; whatever that is, the caller judges it."""
    command = [BINARY, *(str(arg) for arg in args)]
    return subprocess.run(command, env={**os.environ, **(env or {})}, cwd=cwd, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def new_key():
    """A key for a configuration file, and its digest."""
    done = run("keys", "new")
    assert done.returncode == 0, done.stderr
    return re.search(r"\btg_[A-Za-z0-9_-]+", done.stdout)[0], re.search(r"\bsha256:[0-9a-f]{64}\b", done.stdout)[0]


def free_address():
    """An address of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


class Gateway:
    """`tollgate serve`, ready when this returns: with a configuration, or the demo.

    `ADDRESS` and `OPERATORS` in the configuration are replaced by addresses for clients and for operators."""

    def __init__(self, folder, config=None, env=None):
        self.address, self.operators = free_address(), free_address()
        args = ["--demo", "--listen", self.address]
        if config is not None:
            self.file = folder / "tollgate.toml"
            self.file.write_text(config.replace("ADDRESS", self.address).replace("OPERATORS", self.operators))
            args = ["--config", str(self.file)]
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        with self.stdout.open("w") as stdout, self.stderr.open("w") as stderr:
            self.process = subprocess.Popen([BINARY, "serve", *args], stdout=stdout, stderr=stderr, cwd=folder,
                                            env={**os.environ, **(env or {})})
        self.base_url = f"http://{self.address}/v1"
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            raise

    def written(self):
        """Everything it has written so far."""
        return self.stdout.read_text() + self.stderr.read_text()

    def _wait(self):
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until:
            assert self.process.poll() is None, f"the gateway ended:\n{self.stderr.read_text()}"
            try:
                with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError(f"not ready within {READY_WITHIN_S} s:\n{self.stderr.read_text()}")

    def stop(self):
        """Asks it to end, and insists that it ends well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert code == 0, f"exit code {code}:\n{self.stderr.read_text()}"
