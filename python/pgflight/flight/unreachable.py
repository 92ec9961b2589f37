"""Why no server answers at an address, from gRPC's own words, and what to do about it."""

from __future__ import annotations

import os
import urllib.request
from typing import Optional, Tuple
from urllib.parse import urlsplit

#: gRPC's messages, in one release or another, when it cannot connect.
_CANNOT_CONNECT = ("failed to connect", "dns resolution failed", "errors resolving")

#: Words in a message in lower case, what to do, and whether the same call may succeed later. The first match counts.
_CAUSES = (
    (
        "wrong version number",
        "the server there speaks no TLS, or is no pgflight server: use grpc://, or another port",
        False,
    ),
    ("certificate has expired", "renew the server's certificate", False),
    (
        "not in peer certificate",
        "connect by a name that the server's certificate holds",
        False,
    ),
    (
        "hostname verification",
        "connect by a name that the server's certificate holds",
        False,
    ),
    (
        "certificate",
        "pass the authority that signed the server's certificate as tls_root_certs",
        False,
    ),
    ("http1.x", "another program answers there: check the port", True),
    ("settings frame", "another program answers there: check the port", True),
    ("domain name not found", "check the name of the host", True),
    ("dns resolution failed", "check the name of the host", True),
    ("errors resolving", "check the name of the host", True),
    (
        "socket closed",
        "check the port, and use grpc+tls:// if the server there has a certificate",
        True,
    ),
)
_NO_SERVER = "check the address, and that `pgflight serve` runs there"


def why(message: str, url: str) -> Optional[Tuple[str, str, bool]]:
    """Explains why a call could not reach a server.

    Args:
        message: gRPC's message.
        url: The address, as grpc://host:port.

    Returns:
        The cause, what to do, and whether the same call may succeed later. None if there was a connection.
    """
    lower = message.lower()
    if not any(words in lower for words in _CANNOT_CONNECT):
        return None
    cause = message.rsplit(": ", 1)[-1].rstrip("]")
    for words, hint, retryable in _CAUSES:
        if words in lower:
            return cause, hint, retryable
    proxy = _proxy(url)
    if proxy is not None:
        host = urlsplit(url).hostname
        return (
            cause,
            f"the variable {proxy} sends the call to a proxy: add {host} to no_proxy",
            True,
        )
    return cause, _NO_SERVER, True


def _proxy(url: str) -> Optional[str]:
    """Returns the environment variable that names the proxy of an address, in gRPC's order."""
    host = urlsplit(url).hostname
    if not host or urllib.request.proxy_bypass_environment(host):  # type: ignore[attr-defined]
        return None
    names = ("grpc_proxy", "https_proxy", "http_proxy")
    return next((name for name in names if os.environ.get(name)), None)
