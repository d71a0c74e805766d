#!/usr/bin/env python3
"""Opens an audit report in headless Chromium and says, as one JSON object, what was seen.

    browse_report.py PAGE DIRECTORY

DIRECTORY gets screenshots (light, dark, print, narrow) and the browser's own files. ChromeDriver is
spoken to over loopback; the page itself has no network: requests that it tried are listed."""

import base64
import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

KEYS = {"tab": "\ue004", "enter": "\ue007", "escape": "\ue00c", "right": "\ue014"}
STATE = """
  const text = (node) => node ? node.textContent : null;
  const tables = {};
  for (const section of document.querySelectorAll('main section')) {
    const frame = section.querySelector(':scope > .frame');
    if (!frame) continue;
    tables[section.id] = {
      status: text(section.querySelector('.status')),
      heads: [...frame.querySelectorAll('th')].map((th) => th.getAttribute('aria-sort')),
      rows: [...frame.querySelectorAll('tbody tr')].slice(0, 60).map(
        (tr) => [...tr.cells].map((cell) => cell.textContent)),
    };
  }
  return {
    ready: document.documentElement.dataset.ready || null, title: document.title,
    job: text(document.getElementById('job')), verdict: text(document.getElementById('verdict')),
    findings: [...document.querySelectorAll('.findings li')].map(
      (li) => [li.className, li.textContent]),
    found: text(document.getElementById('found')), pwned: String(window.pwned),
    scripts: document.querySelectorAll('script').length,
    foreign: document.querySelectorAll('img, iframe, object, embed, svg, form').length,
    charts: document.querySelectorAll('canvas').length,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    background: getComputedStyle(document.body).backgroundColor,
    nav: getComputedStyle(document.querySelector('nav')).display, tables,
  };
"""


class Browser:
    def __init__(self, directory):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0", "--allowed-ips=127.0.0.1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            started = re.search(r"started successfully on port (\d+)", line)
            if started:
                break
        else:
            raise SystemExit("chromedriver did not start")
        self.base = f"http://127.0.0.1:{started[1]}"
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars", "--window-size=1280,1600", f"--user-data-dir={directory}/profile"]
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.base += "/session/" + made["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method,
                                         headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def script(self, text, *args):
        return self.call("POST", "/execute/sync", {"script": text, "args": list(args)})

    def find(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return list(found.values())[0]

    def type(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, key):
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [
            {"type": "key", "id": "keyboard", "actions": actions}]})

    def devtools(self, command, parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def screenshot(self, path):
        shot = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()


def media(browser, medium="", scheme="light", width=1280):
    browser.devtools("Emulation.setEmulatedMedia", {
        "media": medium, "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.devtools("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": False})
    time.sleep(0.2)


def search(browser, words):
    browser.script("document.getElementById('search').value = ''")
    browser.type("#search", words)
    time.sleep(0.4)
    return browser.script(STATE)


def keyboard(browser):
    """Where the keys lead, without a mouse."""
    active = "return document.activeElement.id || document.activeElement.className"
    seen = {}
    browser.call("POST", "/refresh", {})
    browser.press(KEYS["tab"])
    seen["first tab"] = browser.script(active)
    browser.press("/")
    seen["slash"] = browser.script(active)
    browser.press(KEYS["escape"])
    browser.script("document.querySelector('#syscalls th:nth-child(1) button').focus()")
    browser.press(KEYS["enter"])
    seen["enter sorts"] = browser.script(STATE)["tables"]["syscalls"]
    browser.script("document.querySelector('.chart').focus()")
    browser.press(KEYS["right"])
    seen["chart reads"] = browser.script("return document.querySelector('.reading').textContent")
    browser.press("+")
    time.sleep(0.2)
    seen["chart zooms"] = browser.script(STATE)["tables"]["events"]["status"]
    browser.press(KEYS["escape"])
    time.sleep(0.2)
    return seen


def requests(browser):
    """Addresses that the page asked for, but for itself and what it carries."""
    tried = []
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        # The browser's own pages ask for their parts as well.
        if (message["method"] == "Network.requestWillBeSent"
                and message["params"]["documentURL"].startswith("file:")):
            tried.append(message["params"]["request"]["url"])
    return tried


def browse(browser, page, directory):
    url = "file://" + str(pathlib.Path(page).resolve())
    browser.call("POST", "/url", {"url": url})
    media(browser)
    seen = {"start": browser.script(STATE)}
    browser.screenshot(f"{directory}/light.png")
    seen["search"] = search(browser, "getppid")
    seen["nothing"] = search(browser, "no such thing anywhere")
    browser.type("#search", KEYS["escape"])
    time.sleep(0.2)
    seen["cleared"] = browser.script(STATE)
    seen["keyboard"] = keyboard(browser)
    media(browser, scheme="dark")
    seen["dark"] = browser.script(STATE)["background"]
    browser.screenshot(f"{directory}/dark.png")
    media(browser, width=400)
    seen["narrow is wide"] = browser.script(STATE)["wide"]
    browser.screenshot(f"{directory}/narrow.png")
    media(browser, medium="print", scheme="dark")
    printed = browser.script(STATE)
    seen["print"] = {"background": printed["background"], "nav": printed["nav"]}
    browser.screenshot(f"{directory}/print.png")
    seen["requests"] = [tried for tried in requests(browser)
                        if tried != url and not tried.startswith("data:")]
    seen["console"] = [entry["message"] for entry in browser.log("browser")]
    return seen


def main():
    page, directory = sys.argv[1:]
    browser = Browser(directory)
    try:
        print(json.dumps(browse(browser, page, directory)))
    finally:
        browser.close()


if __name__ == "__main__":
    main()
