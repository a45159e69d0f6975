"""Which settings of `batchlinks serve` are safe together, and what they mean."""

import ipaddress
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from batchlinks.config.settings import ServeSettings, check_values
from batchlinks.config.small_files import read_small_file
from batchlinks.errors import SettingsError

_LARGEST_CERTIFICATE = 1_000_000


def checked(serving: ServeSettings) -> ServeSettings:
    """The same, if it is safe. Raises SettingsError."""
    check_values(serving)
    if serving.keyfile and not serving.certfile:
        raise SettingsError("--keyfile holds the key of a certificate: give --certfile too.")
    if not (is_this_machine(serving.host) or serving.certfile or serving.behind_proxy):
        raise SettingsError(
            "--host would let other computers in, so patient lists would travel in clear. Give --certfile and --keyfile "
            "for TLS, or --behind-proxy where a proxy in front does that."
        )
    if serving.user_header is not None:
        _check_users(serving.user_header, serving)
    elif serving.trusted_proxy:
        raise SettingsError("--trusted-proxy says whose --user-header is believed: give that too.")
    networks(serving.trusted_proxy)
    if serving.public_url is not None:
        origin_of(serving.public_url)
    if serving.certfile:
        tls(serving.certfile, serving.keyfile)
    return serving


def _check_users(header: str, serving: ServeSettings) -> None:
    if not re.fullmatch(r"[A-Za-z0-9-]+", header):
        raise SettingsError("--user-header takes the name of a header, such as X-Remote-User.")
    if not serving.behind_proxy:
        raise SettingsError("--user-header is set by a proxy that signs people in: give --behind-proxy too.")
    if not serving.trusted_proxy:
        raise SettingsError(
            "Anybody could name a user in --user-header. Give the addresses of the proxies to be believed: --trusted-proxy."
        )


def is_this_machine(host: str) -> bool:
    """Whether nobody but programs on this computer can connect to it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def shows_patients(serving: ServeSettings) -> bool:
    """Whether patients may be looked up: where it is known who asks, or nobody but people at this computer can."""
    is_own_page = is_this_machine(serving.host) and not serving.behind_proxy and serving.public_url is None
    return serving.user_header is not None or is_own_page


def networks(addresses: Sequence[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Addresses (`10.0.0.5`) and networks (`10.0.0.0/24`). Raises SettingsError."""
    try:
        return tuple(ipaddress.ip_network(address.strip(), strict=False) for address in addresses)
    except ValueError:
        raise SettingsError(
            "--trusted-proxy takes addresses such as 10.0.0.5, or networks such as 10.0.0.0/24."
        ) from None


def origin_of(url: str) -> str:
    """`https://links.hospital.example` of an address as people type it. Raises SettingsError."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
        usable = usable and not (parts.query or parts.fragment or parts.username or parts.password)
        port = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("--public-url takes an address such as https://links.hospital.example, without a path.")
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def tls(certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
    """TLS as today's browsers speak it. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        for file in (certfile, keyfile):
            if file is not None:
                read_small_file(file, _LARGEST_CERTIFICATE)  # OpenSSL would wait for a pipe, and read a device for ever
        context.load_cert_chain(certfile, keyfile, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError):
        raise SettingsError(
            "The certificate or its key cannot be used: --certfile takes the chain as PEM, --keyfile the key without a "
            "password (or both in one file)."
        ) from None
    return context
