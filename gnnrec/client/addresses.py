"""Addresses of servers: their check, gRPC's name for them, and whether a proxy is used."""

import ipaddress
import os
import re
from urllib.parse import quote, unquote, urlsplit

_PORT = 50051
_SCHEME = re.compile(
    r"(dns|ipv4|ipv6|passthrough|unix-abstract|vsock|xds):(//[^/]*/)?|[a-z][a-z\d+.-]*://[^/]*/"
)
"""The beginning of other kinds of address that gRPC accepts; they are passed on unchanged."""
# In the order in which gRPC reads them; it reads no others, and none in capitals.
_PROXY = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXY = ("no_grpc_proxy", "no_proxy")


def with_port(address: str) -> str:
    """Return the address, with the default port 50051 if it is a host without a port."""
    is_host = address and not re.search(r"[\s/,:]", address)
    return f"{address}:{_PORT}" if is_host or re.fullmatch(r"\[[^]]*\]", address) else address


def target(addresses: list[str]) -> str:
    """Return gRPC's target for the addresses; raises ValueError for an invalid one."""
    if not addresses or not all(addresses):
        raise ValueError("name at least one address, HOST:PORT")
    for address in addresses:
        _check(address)
    if len(addresses) == 1:
        (address,) = addresses
        path = address.removeprefix("unix:")
        return address if path == address else f"unix:{quote(os.fsencode(path))}"
    families = {getattr(_ip(_host(address)), "version", None) for address in addresses}
    if families not in ({4}, {6}):
        raise ValueError(
            f"several addresses are IP:PORT, all of IPv4 or all of IPv6, not "
            f"{', '.join(addresses)}; for names, use one that stands for all servers"
        )
    return f"ipv{families.pop()}:{','.join(addresses)}"


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own; names are not resolved."""
    return address.startswith(("unix:", "unix-abstract:")) or all(
        _is_here(_host(part)) for part in _path(address).split(",")
    )


def is_direct(addresses: list[str]) -> bool:
    """Return whether to connect without a proxy, whatever the environment names.

    A remote proxy cannot reach this machine, and gRPC would pass it several addresses as if they
    were the name of one host.
    """
    return len(addresses) > 1 or is_loopback(addresses[0])


def proxy_before(addresses: list[str]) -> str:
    """Return the proxy that the environment sets for the addresses, for messages; "" if none."""
    variable = _first(_PROXY)
    try:
        proxy = urlsplit(os.environ.get(variable, ""))
    except ValueError:  # gRPC ignores it too
        return ""
    if is_direct(addresses) or proxy.scheme != "http" or not proxy.netloc:
        return ""
    if _is_excepted(_host(_path(addresses[0]))):
        return ""
    # without the user and the password that a URL may hold
    return f"http://{proxy.netloc.rpartition('@')[2]} ({variable})"


def _check(address: str) -> None:
    """Raise ValueError unless it is HOST:PORT, unix:PATH, or of a scheme of gRPC's."""
    if _SCHEME.match(address):
        return
    problem = ""
    if address.startswith("unix:"):
        if not address.removeprefix("unix:"):
            problem = "it names no path"
        elif "," in address:
            problem = "gRPC takes a comma for the end of a path"
    else:
        host, _, port = address.rpartition(":")
        if not host.strip("[]") or not port.isascii() or not port.isdigit():
            problem = "it names no host and port"
        elif not 0 < int(port) < 65536:
            problem = "a port is a number from 1 to 65535"
        elif ":" in host and not (host.startswith("[") and host.endswith("]")):
            problem = f"an IPv6 address stands in brackets, such as [::1]:{port}"
        elif re.search(r"[\s/,]", host):
            problem = "there is no such host"
    if problem:
        raise ValueError(
            f"{address!r} is no address: {problem}; it is HOST, HOST:PORT, [IPV6]:PORT or unix:PATH"
        )


def _path(address: str) -> str:
    """Return the address without the scheme that it may have."""
    scheme = _SCHEME.match(address)
    return unquote(address[scheme.end() :]) if scheme else address


def _host(address: str) -> str:
    """Return the host of an address, without port and brackets."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.rpartition(":")[0] if address.count(":") == 1 else address


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_here(host: str) -> bool:
    ip = _ip(host)
    if ip is None:
        return host.lower().removesuffix(".") == "localhost"
    ip = getattr(ip, "ipv4_mapped", None) or ip
    # 0.0.0.0 and ::, on which servers listen, lead to this machine
    return ip.is_loopback or ip.is_unspecified


def _is_excepted(host: str) -> bool:
    """Return whether the environment excepts a host from the proxy."""
    entries = os.environ.get(_first(_NO_PROXY), "").split(",")
    for entry in filter(None, map(str.strip, entries)):
        if f".{host}".lower().endswith(f".{entry.removeprefix('.')}".lower()):
            return True
        ip = _ip(host)
        try:
            if ip is not None and ip in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def _first(variables: tuple[str, ...]) -> str:
    """Return the first of the variables that is set, even if it is empty; "" if none is."""
    return next((name for name in variables if name in os.environ), "")
