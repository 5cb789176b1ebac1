"""A headless Chromium, driven through two pipes by its DevTools protocol: for tests of pages."""

import base64
import json
import os
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
]  # fmt: skip


class Browser:
    """One page. To be used as a context manager. profile: a folder that the browser may write to."""

    def __init__(self, profile, width=1500, height=1000):
        down, self._write = os.pipe()
        self._read, up = os.pipe()
        # Chromium reads commands from its descriptor 3 and writes answers to 4, each closed by a zero byte.
        command = ["bash", "-c", f'exec "$@" 3<&{down} 4>&{up}', "bash", CHROMIUM, *FLAGS]
        command += [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            command, pass_fds=(down, up), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(down)
        os.close(up)
        self._buffer, self._count, self._session = b"", 0, None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._write)
        os.close(self._read)

    def open(self, url, *texts, seconds=120):
        """Load a page and wait until it shows all texts. Returns what a reader sees."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)
        end = time.monotonic() + seconds
        while True:
            seen = self.ask("document.body ? document.body.innerText : ''")
            lacking = [text for text in texts if text not in seen]
            if not lacking:
                return seen
            assert time.monotonic() < end, f"{url} does not show {lacking}:\n{seen}"
            time.sleep(0.5)

    def ask(self, expression):
        """The value of an expression of JavaScript."""
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, path):
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self):
        while b"\0" not in self._buffer:
            read = os.read(self._read, 1 << 16)
            assert read, "the browser has ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)
