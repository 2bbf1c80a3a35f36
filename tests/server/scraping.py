"""Reading a metrics endpoint."""

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, tuple[tuple[str, str], ...]]


def scraped_text(port: int) -> str:
    """Return what an endpoint on this machine says."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text: str = response.read().decode()
    return text


def parse(text: str) -> dict[Key, float]:
    """Return values by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> Key:
    """Return a sample's key in what `parse` returns: its name and sorted labels."""
    return name, tuple(sorted(labels.items()))
