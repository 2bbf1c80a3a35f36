import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import NoSuchVersion, NothingToRollBack
from tests import made

ALIASES = st.sampled_from(["production", "canary"])


class RegistryMachine(RuleBasedStateMachine):
    """The registry behaves like a list of versions and a list of moves."""

    published = Bundle("published")

    def __init__(self) -> None:
        super().__init__()
        # in memory if possible, for every step waits for the disk
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.store = ModelStore(Path(self.folder.name), "toy")
        self.versions: list[str] = []
        self.moves: dict[str, list[str]] = {}
        self.stacks: dict[str, list[str]] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(target=published)
    def publish(self) -> str:
        name = f"v{len(self.versions)}-{len(list(self.moves))}"
        while name in self.versions:
            name += "x"
        made.publish(self.store.layout.root, version=name)
        self.versions.append(name)
        return name

    @rule(version=published, alias=ALIASES, crash=st.booleans())
    def promote(self, version: str, alias: str, crash: bool) -> None:
        if version not in self.versions:
            try:
                self.store.aliases.promote(version, alias=alias)
            except NoSuchVersion:
                return
            raise AssertionError("promoted a pruned version")
        self.store.aliases.promote(version, alias=alias)
        if crash:  # as if killed between replacing the alias and appending to the history
            history = self.store.layout.history
            lines = history.read_bytes().splitlines(keepends=True)
            history.write_bytes(b"".join(lines[:-1]))
        self.moves.setdefault(alias, []).append(version)
        stack = self.stacks.setdefault(alias, [])
        if stack[-1:] != [version]:
            stack.append(version)

    @rule(alias=ALIASES)
    def rollback(self, alias: str) -> None:
        stack = self.stacks.get(alias, [])
        if len(stack) < 2:
            return
        if stack[-2] not in self.versions:
            try:
                self.store.aliases.rollback(alias=alias)
            except (NoSuchVersion, NothingToRollBack):
                return
            raise AssertionError("rolled back to a pruned version")
        # a rollback to a version that occurs several times goes to its latest occurrence
        expected = stack[-2]
        assert self.store.aliases.rollback(alias=alias).version == expected
        stack.pop()
        self.moves[alias].append(expected)

    @rule(keep=st.integers(0, 4))
    def prune(self, keep: int) -> None:
        if not self.versions:
            return
        in_use = {version for stack in self.stacks.values() for version in stack[-2:]}
        doomed = [name for name in self.versions[::-1][keep:] if name not in in_use]
        assert self.store.prune(keep) == doomed
        self.versions = [name for name in self.versions if name not in doomed]

    @invariant()
    def disk_agrees_with_model(self) -> None:
        if not self.versions and not self.store.layout.versions.is_dir():
            return
        assert [version.name for version in self.store.versions()] == self.versions[::-1]
        listed = self.store.aliases.all()
        assert not listed.damaged
        assert {name: move.version for name, move in listed.moves.items()} == {
            alias: moves[-1] for alias, moves in self.moves.items()
        }
        for alias, moves in self.moves.items():
            assert [move.version for move in self.store.aliases.history(alias)] == moves


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
