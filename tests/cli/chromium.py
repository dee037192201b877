"""A headless Chromium, driven through its DevTools pipe: one page, real pointer and keys, and a record of what went wrong.

The pipe (--remote-debugging-pipe) needs nothing beyond Python: messages are JSON, each ended by a zero byte, on the
browser's file descriptors 3 (in) and 4 (out).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

ANSWER_S = 60.0


def find():
    """The browser's program, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Chromium:
    def __init__(self, program, width, height):
        self.profile = tempfile.TemporaryDirectory(prefix="lorsa-chromium-")
        to_browser, self.into = os.pipe()
        self.out, from_browser = os.pipe()

        def place():  # in the child: 3 and 4 may be taken by the other ends, so both go out of the way first
            parked = [os.dup(to_browser), os.dup(from_browser)]
            parked = [os.dup2(fd, 20 + i, inheritable=False) for i, fd in enumerate(parked)]
            for fd, wanted in zip(parked, (3, 4)):
                os.dup2(fd, wanted, inheritable=True)

        command = [program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}",
                   "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                   "--hide-scrollbars", f"--window-size={width},{height}", "--force-color-profile=srgb", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        self.process = subprocess.Popen(command, preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.unread = b""
        self.number = 0
        self.session = None
        self.events = []    # what the page did since clear()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(domain + ".enable")
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.send("Browser.close")
            self.process.wait(20)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.into)
        os.close(self.out)
        self.profile.cleanup()

    # ---- Messages

    def read(self, deadline):
        """The next message, None if there is none by then."""
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.out], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            more = os.read(self.out, 1 << 20)
            if not more:
                raise RuntimeError("the browser has ended")
            self.unread += more
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.into, data):]
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = self.read(deadline)
            if answer is None:
                raise RuntimeError(f"no answer to {method} within {ANSWER_S:g} s")
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def clear(self):
        self.events = []

    def listen(self, seconds):
        """Takes events for so long."""
        deadline = time.monotonic() + seconds
        while (event := self.read(deadline)) is not None:
            self.events.append(event)

    # ---- The page

    def open(self, url):
        self.send("Page.navigate", url=url)

    def value(self, expression):
        """What a JavaScript expression comes to; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    def wait(self, expression, seconds=20.0):
        """Waits until the expression is true; False if it is not by then."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.value(f"Boolean({expression})"):
                return True
            self.listen(0.02)
        return False

    def point(self, x, y):
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x, y):
        self.point(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key):
        """A key as `event.key` names it; a single character also types itself."""
        names = {"ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, "Escape": 27, "Enter": 13, "Tab": 9}
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = names.get(key, ord(key[0].upper()))
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def prefer(self, scheme):
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    # ---- What went wrong

    def complaints(self):
        """Exceptions, warnings, errors and dialogs of the page since clear()."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:500])
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append("console: " + json.dumps(params["args"])[:500])
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
                found.append("log: " + json.dumps(params["entry"])[:500])
            elif event["method"] == "Page.javascriptDialogOpening":
                found.append("dialog: " + params["message"])
        return found

    def requests(self):
        """URLs that the page asked for since clear()."""
        return [event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"]
