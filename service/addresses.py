"""Where a service answers, as clients name it."""

import ipaddress
import os
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8000"


def default_url() -> str:
    """Return RULESMITH_URL; without it this machine's service, at RULESMITH_PORT if that is set.

    Raises:
        ValueError: If RULESMITH_PORT is no port.
    """
    port = os.environ.get("RULESMITH_PORT", "")
    if url := os.environ.get("RULESMITH_URL", ""):
        return url
    if not port:
        return DEFAULT_URL
    if not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise ValueError(
            f"RULESMITH_PORT is {port[:20]!r}; allowed: 1 to 65535, or give the service's address "
            "with --url or RULESMITH_URL"
        )
    return f"http://127.0.0.1:{int(port)}"


def is_loopback(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
