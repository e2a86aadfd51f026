"""`make setup` on a fresh machine: whose index and certificates it takes, and what it says without a network."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dagster_project.settings import REPOSITORY

# What a machine of a company or of a developer may have set, and a fresh one has not.
OWN = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def checkout(tmp_path):
    """The files that an installation reads."""
    folder = tmp_path / "checkout"
    (folder / "dbt").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / ".ci", folder / ".ci")
    return folder


def install(checkout, **variables: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(OWN)}
    # A file of pip's settings, or a folder of packages, is the machine's own: a fresh one has none.
    fresh = {"PIP_CONFIG_FILE": "/dev/null", "UV_CACHE_DIR": str(checkout / "cache"), "HOME": str(checkout)}
    return subprocess.run(
        ["make", f"PYTHON={sys.base_prefix}/bin/python3.11", ".venv/.installed"],
        cwd=checkout,
        env=kept | fresh | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        yield taken.getsockname()[1]


def test_without_a_network_it_says_that_an_index_is_needed_once_and_which(checkout, closed_port):
    done = install(checkout, PIP_INDEX_URL=f"http://reader:s3cret@127.0.0.1:{closed_port}/simple")
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "needs a package index once, and 127.0.0.1 cannot be reached" in told
    assert "PIP_INDEX_URL=" in told
    assert "Retrying" not in told
    assert "s3cret" not in told


class Index(BaseHTTPRequestHandler):
    """An index that has nothing, and remembers what it was asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def company(tmp_path):
    """An index behind a certificate that only a company's own bundle knows."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate, and there is none")
    key, certificate = tmp_path / "key.pem", tmp_path / "company.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.asked, server.certificate = [], certificate
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()


def test_the_certificates_of_the_system_are_trusted(checkout, company):
    index = f"https://localhost:{company.server_address[1]}/simple"
    done = install(checkout, PIP_INDEX_URL=index, PIP_RETRIES="0", SSL_CERT_FILE=str(company.certificate))
    assert "/simple/uv/" in company.asked
    assert "CERTIFICATE_VERIFY_FAILED" not in done.stdout + done.stderr


def test_a_certificate_that_nobody_trusts_is_told_with_the_remedy(checkout, company):
    index = f"https://localhost:{company.server_address[1]}/simple"
    done = install(checkout, PIP_INDEX_URL=index, PIP_RETRIES="0")
    assert done.returncode != 0
    assert company.asked == []
    assert "SSL_CERT_FILE=path make setup" in done.stderr
