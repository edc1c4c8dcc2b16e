"""Flavors with and without a page of their own."""

from __future__ import annotations

import sys

from recorder import Recorder

from trackyard.contract import flavor, hookimpl

SERVER = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the page")
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Page).serve_forever()
"""


@flavor
class Serving(Recorder):
    """Has a page of its own."""

    ui_port: int = 0

    @hookimpl
    def tracker_ui_command(self, host, port):
        return [sys.executable, "-c", SERVER, host, str(port)]


@flavor
class Broken(Recorder):
    """Has a server that ends at once."""

    ui_port: int = 5999

    @hookimpl
    def tracker_ui_command(self, host, port):
        code = "import sys; print('starting'); print('no such store'); sys.exit(7)"
        return [sys.executable, "-c", code]


@flavor
class Silent(Recorder):
    """Has a server that never answers."""

    ui_port: int = 5999

    @hookimpl
    def tracker_ui_command(self, host, port):
        return [sys.executable, "-c", "import signal; signal.pause()"]


class Unserving(Recorder):
    """Cannot say how its page is served."""

    @hookimpl
    def tracker_ui_command(self, host, port):
        raise OSError("no page today")


class Missing(Recorder):
    """Names a command that is not there."""

    @hookimpl
    def tracker_ui_command(self, host, port):
        return ["/not/there"]
