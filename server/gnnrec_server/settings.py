"""The settings of a server, which stay the same while it runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gnnrec_server.index.approximate import IndexPlan
from gnnrec_server.process import address
from gnnrec_server.process.address import Tcp, UnixSocket
from gnnrec_server.query.queries import Limits
from gnnrec_server.rpc.tls import TlsFiles


@dataclass(frozen=True)
class Settings:
    """Where to read from, where to answer, and within which limits."""

    registry: Path | str
    """A folder, or a URL such as s3://bucket/registry."""
    model: str
    alias: str = "production"
    address: str = "127.0.0.1:50051"
    """HOST:PORT, [IPV6]:PORT or unix:PATH of gRPC; port 0 takes a free one."""
    front: Literal["auto", "grpcio", "native"] = "auto"
    """What speaks HTTP/2: grpcio, pygrpc-native, or the second where it keeps all that is asked."""
    metrics_port: int = 9464
    """The port of the Prometheus metrics; 0 takes a free one."""
    metrics_host: str = ""
    """The host of the Prometheus metrics; that of gRPC if empty, and 127.0.0.1 beside a socket."""
    health_port: int | None = None
    """A port of health's own, where no load can refuse it, on the host of gRPC, and on 127.0.0.1
    beside a socket; 0 takes a free one."""
    poll_interval_s: float = 1.0
    """How often the alias is looked at."""
    served_aliases: tuple[str, ...] = ()
    """Further aliases that are followed and can be asked for; "*" stands for all there are."""
    keep: int = 1
    """How many of the versions last served under `alias` stay loaded, the current one included."""
    load_timeout_s: float = 600.0
    """How long a version may take to load before it is refused; 0 sets no limit."""
    drain_s: float = 1.0
    """How long after SIGTERM requests are still taken, for load balancers to notice."""
    grace_s: float = 10.0
    """How long requests under way may take after that."""
    reflection: bool = True
    max_message_bytes: int = 4 * 1024 * 1024
    """The largest request that is read and the largest answer that is sent."""
    max_concurrent: int = 256
    """How many requests may be in the server, waiting, computed, or answered and not yet read; more
    are refused."""
    max_unread_bytes: int = 64 * 1024 * 1024
    """How much of answers may be on the way to callers, unread; beyond it requests are refused."""
    unread_timeout_s: float = 20.0
    """How long a caller may take to read an answer, or a state of health; then the call ends."""
    max_streams: int = 1000
    """How many streams may be open, such as of those who watch health; more are refused."""
    max_pending: int = 0
    """How many requests may wait to be taken in; gRPC itself ends more with CANCELLED and without
    RetryInfo, for a tenth of the price of an answer, and some of the last fifth already. 0 leaves
    it at its thousands, so that every refusal says RESOURCE_EXHAUSTED."""
    max_queue_s: float = 0.5
    """How long a request may wait to be computed; 0 lets it wait up to its deadline."""
    workers: int = 1
    """How many processes answer on the port."""
    cache_bytes: int = 32 * 1024 * 1024
    """How much of ready answers is kept for requests that come again; 0 keeps none."""
    max_connection_age_s: float = 0.0
    """After how long a connection is closed, so that balancers spread anew; 0 keeps it."""
    max_connection_age_grace_s: float = 30.0
    """How long the requests of such a connection may take to end."""
    tls: TlsFiles | None = None
    """Where certificate and key are; without, the server talks in the clear."""
    tokens_file: Path | None = None
    """The digests of the bearer tokens, one of which every caller must then send."""
    index: IndexPlan = field(default_factory=IndexPlan)
    """How items are searched: all of them, or an index that finds nearly all of the best."""
    max_neighbours: int = 32
    """How many users of each of its items a sage model looks at for a new user."""
    require_gpu: bool = False
    """Whether a model that could only be bound to the CPU is refused."""
    log: tuple[str, str] = ("info", "text")
    """Level and format of the log, for worker processes."""
    limits: Limits = field(default_factory=Limits)

    @property
    def grpc_at(self) -> Tcp | UnixSocket:
        """Where gRPC is answered; raises CannotStart for an address that is none."""
        return address.read(self.address)

    @property
    def metrics_at(self) -> Tcp:
        """Where the metrics are."""
        return Tcp(self.metrics_host.strip("[]") or self._nearest_host, self.metrics_port)

    @property
    def health_at(self) -> Tcp | None:
        """Where health answers alone, if anywhere."""
        return None if self.health_port is None else Tcp(self._nearest_host, self.health_port)

    @property
    def host(self) -> str:
        """The host part of the address, or the whole of unix:PATH."""
        where = self.grpc_at
        return where.host if isinstance(where, Tcp) else str(where)

    @property
    def _nearest_host(self) -> str:
        where = self.grpc_at
        return where.host if isinstance(where, Tcp) else "127.0.0.1"
