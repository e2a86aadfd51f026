"""Servers on loopback that take messages: of JSON by HTTP, and of mail by as much of SMTP as one message needs."""

import json
import socketserver
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """What was received, and with which HTTP status or after how many seconds the next message is answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list = []
        self.status = 200
        self.seconds = 0.0


class _Http(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        receiver = self.server.receiver
        time.sleep(receiver.seconds)
        if receiver.status == 200:
            receiver.received.append(body)
        self.send_response(receiver.status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().strip():
            word = line.split()[0].upper()
            self.server.receiver.received.append(line.decode())
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (text := self.rfile.readline()) != b".\r\n":
                    self.server.receiver.received.append(text.decode().rstrip())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@contextmanager
def http_receiver(port: int = 0) -> Generator[Receiver]:
    """Answers POSTs; the body of one that is refused comes back, as servers do that quote what they do not like."""
    with _served(ThreadingHTTPServer, _Http, port) as receiver:
        yield receiver


@contextmanager
def smtp_receiver() -> Generator[Receiver]:
    """Takes every message; `received` holds the lines of the dialogue."""
    with _served(socketserver.ThreadingTCPServer, _Smtp, 0) as receiver:
        yield receiver


@contextmanager
def _served(server_class, handler, port: int) -> Generator[Receiver]:
    server_class.allow_reuse_address = True
    with server_class(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        server.receiver = Receiver(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        yield server.receiver
        server.shutdown()
        thread.join()
