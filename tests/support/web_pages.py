"""Web pages under test: what one would load and shows, and what Chromium makes of it where there is one."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
ENVIRONMENT = {"git_commit": "0123abcd", "packages": {"torch": "2.11.0"}}


class Page(HTMLParser):
    """Collects what a browser would load, whether tags are balanced, and the visible text."""

    VOID = {"meta", "link", "input", "br", "wbr", "img"}
    LOADS = {"src", "srcset", "href", "data", "poster", "action", "xlink:href"}

    def __init__(self, text):
        super().__init__()
        self.open_tags, self.loads, self.tags, self.texts = [], [], set(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.loads += [value for name, value in attributes if name in self.LOADS]
        if tag not in self.VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def dump_dom(path, folder) -> tuple[str, str]:
    """What Chromium makes of a page, and what it says on the console."""
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
    ]
    flags += [f"--user-data-dir={folder / 'profile'}", "--window-size=1500,900", "--virtual-time-budget=2000", "--dump-dom"]
    result = subprocess.run([CHROMIUM, *flags, path.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout, "\n".join(line for line in result.stderr.splitlines() if "CONSOLE" in line)


def browser_width(folder, width: int) -> tuple[int, str]:
    """The width that folder/report.html takes in a frame of some width, and what it says on the console."""
    script = "document.title = frames[0].document.documentElement.scrollWidth + ' wide'"
    frame = folder / "frame.html"
    frame.write_text(f'<iframe src="report.html" width="{width}" height="800" style="border:0" onload="{script}"></iframe>')
    text, console = dump_dom(frame, folder)
    return int(re.search(r"<title>(\d+) wide</title>", text)[1]), console
