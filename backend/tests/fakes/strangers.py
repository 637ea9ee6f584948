"""A server that a user names: it says what it is told to say, in clear text or over TLS."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WELL = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "model": "llama",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "well"}}
        ],
    }
).encode()


class Stranger(ThreadingHTTPServer):
    """On a free port of 127.0.0.1.

    Attributes:
        reply: Its answer to every request: the status, the headers, the body in parts.
        hosts: The names that it was asked under, and ``names`` those that it was asked for by TLS.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: tuple[int, dict[str, str], Iterable[bytes]] = (200, {}, [WELL])
        self.hosts: list[str] = []
        self.paths: list[str] = []
        self.names: list[str] = []
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.names.append(name)
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that hangs up is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = cast("Stranger", self.server)
        self.rfile.read(int(self.headers["Content-Length"]))
        server.hosts.append(self.headers["Host"])
        server.paths.append(self.path)
        status, headers, parts = server.reply
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            for part in parts:
                self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def running(server: Stranger) -> Iterator[Stranger]:
    """``server``, while it serves."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def certificate(name: str, folder: Path) -> Path:
    """A new certificate for ``name``, which signs itself, with its key, in one file."""
    key, subject, now = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
        datetime.now(UTC),
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file
