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


def new_key():
    """A key and its digest."""
    done = subprocess.run([BINARY, "keys", "new"], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return re.search(r"\btg_[A-Za-z0-9_-]+", done.stdout)[0], re.search(r"\bsha256:[0-9a-f]{64}\b", done.stdout)[0]


class Gateway:
    """`tollgate serve`, ready when this returns: with a configuration (`ADDRESS` in it is replaced), or the demo."""

    def __init__(self, folder, config=None):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        args = ["--demo", "--listen", self.address]
        if config is not None:
            file = folder / "tollgate.toml"
            file.write_text(config.replace("ADDRESS", self.address))
            args = ["--config", str(file)]
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        with self.stdout.open("w") as stdout, self.stderr.open("w") as stderr:
            self.process = subprocess.Popen([BINARY, "serve", *args], stdout=stdout, stderr=stderr, cwd=folder)
        self.base_url = f"http://{self.address}/v1"
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            raise

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
