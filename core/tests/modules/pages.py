"""Flavors with and without a page of their own."""

from __future__ import annotations

import sys

from recorder import Recorder

from trackyard import hookimpl


class Serving(Recorder):
    """Has a page of its own."""

    @hookimpl
    def tracker_ui_command(self, host, port):
        code = "import sys; print('serving', *sys.argv[1:]); sys.exit(7)"
        return [sys.executable, "-c", code, host, str(port)]


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
