"""Install what uv.lock pins into the environment whose Python runs this; `make setup` calls it. Standard library only.

Indexes and proxies are the user's: what pip and uv read from variables and files of theirs stays as it is, and where
only pip's index is set, uv is given the same. Certificates are the system's, since a company's proxy signs with its
own. Without a network it ends within seconds and says what is missing.
"""

import http.client
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_INDEX = "https://pypi.org/simple"
PROBE_SECONDS = 4.0
# Where systems keep their certificates in one file, if OpenSSL's own setting does not tell.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
UV_FILES = (Path.home() / ".config/uv/uv.toml", Path("/etc/uv/uv.toml"), REPOSITORY / "uv.toml")


def main() -> int:
    """Install uv and what the lock file names, from the index of the user's settings; returns the exit status."""
    settings = pip_settings()
    index = os.environ.get("PIP_INDEX_URL") or settings.get("index-url") or os.environ.get("UV_DEFAULT_INDEX")
    environment = os.environ | certificates(settings)
    if index:
        environment.setdefault("PIP_INDEX_URL", index)
        if not uv_has_index():
            environment["UV_DEFAULT_INDEX"] = index
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    uv_index = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or index or DEFAULT_INDEX
    wanted = re.search(r'"uv==([^"]+)"', (REPOSITORY / "pyproject.toml").read_text())[1]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", f"uv=={wanted}"]
    if installed_uv() != wanted and not run(pip, environment, index or DEFAULT_INDEX, settings):
        return 1
    uv = str(Path(sys.executable).parent / "uv")
    requirements = Path(sys.prefix) / "requirements.txt"
    export = ["export", "--quiet", "--frozen", "--group", "dev", "--no-emit-project", "--output-file"]
    subprocess.run([uv, *export, str(requirements)], cwd=REPOSITORY, env=environment, check=True)
    sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", sys.executable, str(requirements)]
    # Compiled once here: where Python may not write bytecode, every start would compile half a million lines anew.
    sync.append("--compile-bytecode")
    # What earlier installations left in uv's cache needs no index.
    cached = subprocess.run([*sync, "--offline"], cwd=REPOSITORY, env=environment, capture_output=True, check=False)
    return 0 if cached.returncode == 0 or run(sync, environment, uv_index, settings) else 1


def pip_settings() -> dict[str, str]:
    """What pip reads from its files and variables, by the name of the option."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed, re.M)
    return dict(found)


def certificates(settings: dict[str, str]) -> dict[str, str]:
    """Variables that make pip and uv trust what the system trusts, where the user has not said whom to trust."""
    own = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    bundle = next((path for path in (own, *BUNDLES) if path and Path(path).is_file()), None)
    found = {}
    if bundle and "cert" not in settings and not os.environ.keys() & {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}:
        found["PIP_CERT"] = bundle
    if bundle and not os.environ.keys() & {"UV_SYSTEM_CERTS", "UV_NATIVE_TLS"}:
        found["UV_SYSTEM_CERTS"] = "true"
    return found


def uv_has_index() -> bool:
    """Whether the user has told uv itself where packages come from."""
    if os.environ.keys() & {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_CONFIG_FILE"}:
        return True
    return any("index" in path.read_text() for path in UV_FILES if path.is_file())


def installed_uv() -> str | None:
    """Version of uv in this environment; None: there is none."""
    try:
        return version("uv")
    except PackageNotFoundError:
        return None


def run(command: list[str], environment: dict[str, str], index: str, settings: dict[str, str]) -> bool:
    """Run an installer; when it fails, say what to do.

    An index that does not answer is asked once all the same: packages may lie in a folder of the user's settings.
    """
    remedy = why_not_reached(index, environment, settings)
    if remedy:
        seconds = str(int(PROBE_SECONDS))
        environment = environment | {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": seconds}
        environment |= {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": seconds}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        output = re.sub(r"://[^/@\s]+@", "://", done.stdout + done.stderr).strip()
        print(remedy or output, file=sys.stderr)
    return done.returncode == 0


def why_not_reached(index: str, environment: dict[str, str], settings: dict[str, str]) -> str | None:
    """What to do when an index gives no answer, be it an error; None when it does, or is a folder."""
    address = urlsplit(index)
    if address.scheme not in ("http", "https"):
        return None
    place = address._replace(netloc=address.netloc.rpartition("@")[2], path=address.path.rstrip("/") + "/uv/").geturl()
    trusted = settings.get("cert") or environment.get("REQUESTS_CA_BUNDLE") or environment.get("PIP_CERT")
    handlers = [urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=trusted))]
    if "proxy" in settings:
        handlers.append(urllib.request.ProxyHandler({"http": settings["proxy"], "https": settings["proxy"]}))
    try:
        urllib.request.build_opener(*handlers).open(place, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
            return (
                f"The certificate of {address.hostname} is signed by nobody whom this system trusts. Behind a proxy of "
                "a company, have its certificate added to the system's, or name the file that holds it: "
                "SSL_CERT_FILE=path make setup"
            )
        return (
            f"The installation needs a package index once, and {address.hostname} cannot be reached. Connect this "
            "machine to the network, or name an index that it reaches: PIP_INDEX_URL=https://… make setup (through a "
            "proxy: HTTPS_PROXY=http://…). Afterwards no command needs the network."
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
