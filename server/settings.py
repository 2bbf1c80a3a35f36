"""What a server is told at its start."""

from dataclasses import dataclass, field
from pathlib import Path

from server.queries import Limits


@dataclass(frozen=True)
class Settings:
    """Where to read from, where to answer, and within which limits."""

    registry: Path
    model: str
    alias: str = "production"
    address: str = "127.0.0.1:50051"
    """HOST:PORT of gRPC; port 0 takes a free one."""
    metrics_port: int = 9464
    """The port of the Prometheus metrics, on the same host; 0 takes a free one."""
    poll_interval_s: float = 1.0
    """How often the alias is looked at."""
    drain_s: float = 0.0
    """How long after SIGTERM requests are still taken, for load balancers to notice."""
    grace_s: float = 10.0
    """How long requests under way may take after that."""
    reflection: bool = True
    max_neighbours: int = 32
    """How many users of each of its items a sage model looks at for a new user."""
    require_gpu: bool = False
    """Whether a model that could only be bound to the CPU is refused."""
    limits: Limits = field(default_factory=Limits)

    @property
    def host(self) -> str:
        """The host part of the address."""
        return self.address.rpartition(":")[0]
