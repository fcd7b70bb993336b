"""Addresses of FHIR servers: which URL may be called, compared as parsed origin and path, never as text.

A prefix comparison once sent credentials to ``tx.fhir.org.attacker.example`` (HAPI, CVE-2026-34359 to -34361):
here an address is taken apart first, and anything two parsers might read differently is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

_PORTS = {"https": 443, "http": 80}
_LONGEST = 8_000
_PORT_LIMIT = 65_536
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NETLOC = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?|\[\]-]|%[0-9A-Fa-f]{2})*")
# A dot, slash, backslash, percent sign or control character in disguise: some parser undoes it, some does not.
_DISGUISED = re.compile(r"%(?:2e|2f|5c|25|[01][0-9a-f]|7f)", re.IGNORECASE)
# FHIR says 64 characters without "_"; real servers use more of both (Epic, about 200).
_IDENTITY = re.compile(r"[A-Za-z0-9._-]{1,255}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
# Cloud metadata services that hand out credentials to whoever asks from inside.
_METADATA = {"metadata.google.internal", "metadata.goog", "metadata", "instance-data"}
_METADATA_ADDRESSES = {
    ipaddress.ip_address("fd00:ec2::254"),
    ipaddress.ip_address("100.100.100.200"),
}


class AddressRefused(ValueError):
    """An address is not called; the message says why, without the address."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address taken apart: lower-case scheme and host, the port in numbers, the path without last slash."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what a browser calls the origin."""
        return self.scheme, self.host, self.port


def take_apart(url: str) -> Address:
    """Parse an absolute http(s) URL.

    Raises:
        AddressRefused: it is relative, holds user info, a fragment, a disguised or dotted path, a host that is
            not plain, or any character that URLs do not have.
    """
    if len(url) > _LONGEST:
        raise AddressRefused("the address is too long")
    if not url.isascii() or any(
        character <= " " or character in '\\"<>^`{}\x7f' for character in url
    ):
        raise AddressRefused("the address holds a character that addresses do not have")
    if "#" in url:
        raise AddressRefused("the address holds a fragment")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AddressRefused("the address cannot be read") from None
    if parts.scheme not in _PORTS:
        raise AddressRefused("the address does not begin with https://")
    if not url[len(parts.scheme) :].startswith("://"):
        raise AddressRefused("the address is not absolute")
    host, port = _host_and_port(parts.netloc.lower(), _PORTS[parts.scheme])
    _check_path(parts.path)
    if not _QUERY.fullmatch(parts.query):
        raise AddressRefused("the query holds a character that queries do not have")
    return Address(
        scheme=parts.scheme, host=host, port=port, path=parts.path.rstrip("/"), query=parts.query
    )


def check_configured_base(url: str) -> str:
    """Check an address that a profile states; the text without the last slash is returned.

    Raises:
        AddressRefused: not https (http is allowed on loopback only), a query, or a link-local or metadata host.
    """
    address = take_apart(url)
    if address.query or "?" in url:
        raise AddressRefused("the address holds a query")
    number = _number(address.host)
    loopback = number.is_loopback if number else address.host == "localhost"
    if address.scheme == "http" and not loopback:
        raise AddressRefused("the address is not https (http is allowed on loopback only)")
    metadata = address.host in _METADATA or number in _METADATA_ADDRESSES
    if metadata or (
        number and (number.is_link_local or number.is_unspecified or number.is_multicast)
    ):
        raise AddressRefused("the address is link-local or a metadata service")
    return url.rstrip("/")


def match_base(sent: str, allowed: Iterable[str]) -> str | None:
    """The allowed base that ``sent`` names (same origin, same path), as the profile wrote it; None if there is none.

    Callers use the returned text and never ``sent``: what was not configured is never called.
    """
    try:
        address = take_apart(sent)
    except AddressRefused:
        return None
    if address.query or "?" in sent:
        return None
    for base in allowed:
        own = take_apart(base)
        if (own.origin, own.path) == (address.origin, address.path):
            return base
    return None


def lies_within(url: str, base: str) -> bool:
    """Whether ``url`` has the origin of ``base`` and a path at or below it."""
    try:
        address, own = take_apart(url), take_apart(base)
    except AddressRefused:
        return False
    below = address.path == own.path or address.path.startswith(f"{own.path}/")
    return address.origin == own.origin and below


def follow(link: str, *, asked: str, base: str) -> str:
    """The address of a next page, when it lies on the same server under the same base.

    ``asked`` is the address the page came from; a relative link is resolved against it.

    Raises:
        AddressRefused: it would leave ``base``; the token would go elsewhere.
    """
    if not link.isascii() or "\\" in link or any(character <= " " for character in link):
        raise AddressRefused("the link holds a character that addresses do not have")
    _check_path(urlsplit(link).path)  # before joining, which would quietly resolve the dots
    joined = urljoin(asked, link)
    if not lies_within(joined, base):
        raise AddressRefused("the link leaves the server")
    return joined


def check_query(query: str) -> str:
    """Check a FHIR read or search of our own, such as ``Observation?patient=1``, and return its resource type.

    Raises:
        AddressRefused: it is absolute, climbs, holds an unresolved ``{{token}}`` or is no read or search.
    """
    path, _, search = query.partition("?")
    if len(query) > _LONGEST or not query.isascii():
        raise AddressRefused("the query is too long or not plain")
    _check_path(f"/{path}")
    resource, slash, identity = path.partition("/")
    if not _TYPE.fullmatch(resource) or bool(slash) == bool(search) or not _QUERY.fullmatch(search):
        raise AddressRefused("the query is no read and no search")
    if slash and not _IDENTITY.fullmatch(identity):
        raise AddressRefused("the query is no read and no search")
    return resource


def _host_and_port(netloc: str, usual: int) -> tuple[str, int]:
    found = _NETLOC.fullmatch(netloc)
    if found is None:
        raise AddressRefused("the host is not plain")
    host, port = found["host"], int(found["port"] or usual)
    if not 0 < port < _PORT_LIMIT:
        raise AddressRefused("the port is out of range")
    if host.startswith("["):
        if _number(host) is None:
            raise AddressRefused("the host is not plain")
        return host, port
    last = host.rsplit(".", 1)[-1]
    # 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to some resolvers: only four plain decimals are an address.
    looks_numeric = last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last)
    if not _HOST.fullmatch(host) or (looks_numeric and _number(host) is None):
        raise AddressRefused("the host is not plain")
    return host, port


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    mapped = getattr(number, "ipv4_mapped", None)
    return mapped or number


def _check_path(path: str) -> None:
    if not _PATH.fullmatch(path if path.startswith("/") or not path else f"/{path}"):
        raise AddressRefused("the path holds a character that paths do not have")
    if _DISGUISED.search(path) or any(step in {".", ".."} for step in path.split("/")):
        raise AddressRefused("the path climbs or is disguised")
    if "//" in path:
        raise AddressRefused("the path holds an empty step")
