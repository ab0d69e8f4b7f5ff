#!/usr/bin/env python3
"""Where the engines' notifications land: an HTTP server on loopback, and the notification command that posts to it.

    with NotificationSink() as sink:
        engine.notify_with(sink.command)
        sink.wait(1, 20)

The command (this file, run by the engine as a program of its own with Debian's python3) takes the text from
environment macros: Nagios sets them with enable_environment_macros=1, Icinga by the `env` of a NotificationCommand.
Unlike `$SERVICEOUTPUT$` on a command line they lose none of ``` ` ~ $ & | ' " < > ``` (measured with Nagios 4.4.6).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

MACROS = (
    "NOTIFICATIONTYPE",
    "HOSTNAME",
    "SERVICEDESC",
    "SERVICESTATE",
    "SERVICEOUTPUT",
    "LONGSERVICEOUTPUT",
    "SERVICEPERFDATA",
    "SERVICENOTESURL",
)
"""What a notification carries; the variables are named NAGIOS_ and one of these."""


@dataclass(frozen=True)
class Notification:
    """One message as a contact gets it. `received` is time.monotonic() of its arrival."""

    received: float
    kind: str
    host: str
    service: str
    state: str
    output: str
    long_output: str
    perfdata: str
    notes_url: str

    @property
    def word(self) -> str:
        """FIRING, WARNING or RESOLVED, as teams call it; any other kind of notification under its own name."""
        if self.kind == "PROBLEM":
            return "WARNING" if self.state == "WARNING" else "FIRING"
        return "RESOLVED" if self.kind == "RECOVERY" else self.kind

    def __str__(self) -> str:
        return f"{self.word} {self.service}"


class NotificationSink:
    """The server. `url` is where to post, `received` what has come so far, in order of arrival."""

    def __init__(self) -> None:
        self.received: list[Notification] = []
        self._news = threading.Condition()
        sink = self

        class Post(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                sink._take(Notification(time.monotonic(), *(body.get(macro, "") for macro in MACROS)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output free of requests."""

        class Patient(ThreadingHTTPServer):
            request_queue_size = 1024  # a storm comes at once, and none of it may be lost here

        self._server = Patient(("127.0.0.1", 0), Post)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> NotificationSink:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, notification: Notification) -> None:
        with self._news:
            self.received.append(notification)
            self._news.notify_all()

    def of(self, host: str) -> list[Notification]:
        """What has been said about one host so far."""
        with self._news:
            return [item for item in self.received if item.host == host]

    def wait(self, host: str, text: str, seconds: float, since: float = 0.0) -> Notification:
        """The first message of a host received after `since` that reads `text`, such as "FIRING SenseLockKeyStatus".

        AssertionError if none comes within `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for item in self.received:
                    if item.host == host and item.received > since and str(item) == text:
                        return item
                left = deadline - time.monotonic()
                if left <= 0:
                    said = [str(item) for item in self.received if item.host == host]
                    raise AssertionError(f"no '{text}' about {host} within {seconds:g} s; so far: {said}")
                self._news.wait(left)


def post(url: str) -> None:
    """Send the notification that stands in the environment."""
    body = {macro: os.environ.get(f"NAGIOS_{macro}", "") for macro in MACROS}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).read()


if __name__ == "__main__":
    post(sys.argv[1])
