"""Which requests are meant for this server: not those that a web page of another site makes a browser send.

A browser on the machine of the server, or in its network, reaches what its user reaches. Such a page gives itself away by the Host
(its own name, rebound to our address), by the Origin, or by Sec-Fetch-Site. decisions/0013 says why nothing else is needed.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address

from aiohttp import web

from zenwatch.contract.principal import PrincipalKind
from zenwatch.web.auth import Authenticator
from zenwatch.web.responses import Refused

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)(?:%[\w.%~-]+)?\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What a browser says of a page of ours, and of an address that a person typed.
_OWN_FETCHES = {"same-origin", "none"}
# RFC 6762 and the IANA's list: no such top-level domain can be bought. "name.namespace" may be a public name.
_SERVICE_ENDS = (".svc", ".svc.cluster.local")
# Browsers that know neither Origin nor Sec-Fetch-Site for <img> and <script> know these.
HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


class OwnSite:
    """allowed: ALLOWED_HOSTS. bound: the name in LISTEN. checks_names: whether a rebound name could reach what asks for no token."""

    def __init__(
        self, allowed: Iterable[str], authenticator: Authenticator, *, checks_names: bool, is_in_pod: bool, bound: str = ""
    ) -> None:
        self._allowed = frozenset(allowed)
        self._names = self._allowed | {"localhost", _plain(bound)}
        self._authenticator = authenticator
        self._checks_names = checks_names
        self._is_in_pod = is_in_pod

    def check(self, request: web.Request) -> None:
        """Raises Refused for a request that a page of another site sends, or may have sent."""
        hosts = request.headers.getall("Host", [])
        if absolute := _ABSOLUTE.match(request.raw_path):
            hosts = [*hosts, absolute[1]]
        if self._checks_names and not all(map(self._is_own, hosts)) and not self._has_token(request):
            foreign = next(host for host in hosts if not self._is_own(host))
            raise Refused(403, f"{foreign[:80]!r} is no name of zenwatch; use its address, or add the name to ALLOWED_HOSTS")
        for origin in request.headers.getall("Origin", []):
            if not self._is_own_origin(origin, hosts):
                raise Refused(403, f"a page of {origin[:80]!r} (Origin) may ask nothing here; ALLOWED_HOSTS lists the names of zenwatch")
        for site in request.headers.getall("Sec-Fetch-Site", []):
            if site.strip().lower() not in _OWN_FETCHES:
                line = "a page of another site (Sec-Fetch-Site) may ask nothing here; ALLOWED_HOSTS lists the names of zenwatch"
                raise Refused(403, line)

    def has_name(self, name: str) -> bool:
        """name: in lower case, without a port and without a dot at its end."""
        return bool(name) and (name in self._names or (self._is_in_pod and is_service_name(name)))

    def _is_own(self, host: str) -> bool:
        """Every IP address is: rebinding needs a name, and a browser that was given an address did connect to it."""
        match = _AUTHORITY.fullmatch(host)
        return match is not None and (_is_address(match) or self.has_name(_plain(match["name"] or "")))

    def _is_own_origin(self, origin: str, hosts: Iterable[str]) -> bool:
        """Whether it is the host and port that the request names, or a name of ours: a proxy may name itself as the Host."""
        scheme, _, authority = origin.partition("://")
        match = _AUTHORITY.fullmatch(authority)
        if match is None or scheme not in _DEFAULT_PORTS:
            return False
        own = (_host_and_port(host, scheme) for host in hosts)
        return _host_and_port(authority, scheme) in own or _plain(match["name"] or "") in self._allowed

    def _has_token(self, request: web.Request) -> bool:
        """A page has none, so that its name need not be known."""
        shown = self._authenticator.authenticate(request.headers.get("Authorization", ""), path_token=request.match_info.get("token", ""))
        return shown is not None and shown.kind is PrincipalKind.TOKEN


def is_service_name(name: str) -> bool:
    """A name of the cluster's own: a single label, or one below svc."""
    return "." not in name or name.endswith(_SERVICE_ENDS)


def _is_address(match: re.Match[str]) -> bool:
    try:
        ip_address(match["v6"] or _plain(match["name"]))
    except ValueError:
        return False
    return True


def _host_and_port(authority: str, scheme: str) -> tuple[str, int] | None:
    match = _AUTHORITY.fullmatch(authority)
    return (_plain(match["v6"] or match["name"]), int(match["port"] or _DEFAULT_PORTS[scheme])) if match else None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
