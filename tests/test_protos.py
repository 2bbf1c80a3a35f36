import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracked import ROOT, tracked

CONTRACT = Path("protos/gnnrec/v1")
GENERATED = Path("protos/gnnrec_protos/v1")


def test_the_committed_code_is_what_the_proto_files_generate(tmp_path: Path) -> None:
    """Run: make proto, and commit what it writes."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos", ignore=lambda *_: ["__pycache__"])
    for path in (tmp_path / GENERATED).glob("*_pb2*"):
        path.unlink()
    subprocess.run(
        [sys.executable, "protos/generate.py", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    written = sorted(path.name for path in (tmp_path / GENERATED).glob("*_pb2*"))
    assert written == [path.name for path in tracked(f"{GENERATED}/*_pb2*")]
    assert len(written) == 8
    for name in written:
        committed = (ROOT / GENERATED / name).read_text()
        assert (tmp_path / GENERATED / name).read_text() == committed, name


BUF = ROOT / "node_modules" / ".bin" / "buf"
needs_buf = pytest.mark.skipif(
    not BUF.exists() and not os.environ.get("CI"), reason="buf is not installed: make buf"
)


def image(root: Path, to: Path) -> Path:
    subprocess.run(
        [sys.executable, "protos/generate.py", "--image", str(to), str(root)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return to


def buf(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), *map(str, arguments), "--config", str(ROOT / "buf.yaml")]
    return subprocess.run(
        [*command, "--path", "gnnrec/v1"], cwd=ROOT, capture_output=True, text=True, check=False
    )


@needs_buf
def test_the_contract_passes_bufs_standard_lint(tmp_path: Path) -> None:
    run = buf("lint", image(ROOT, tmp_path / "now.binpb"))
    assert run.returncode == 0, run.stdout + run.stderr


@needs_buf
def test_buf_sees_a_breaking_change(tmp_path: Path) -> None:
    now = image(ROOT, tmp_path / "now.binpb")
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    path = tmp_path / CONTRACT / "recommender.proto"
    path.write_text(path.read_text().replace("int32 k = 6;", "string k = 6;"))
    changed = image(tmp_path, tmp_path / "changed.binpb")
    assert buf("breaking", now, "--against", now).returncode == 0
    run = buf("breaking", changed, "--against", now)
    assert 'Field "6" with name "k" on message "TopKRequest" changed type' in run.stdout


def test_every_proto_file_is_generated() -> None:
    names = {f"{path.stem}_pb2.py" for path in tracked(f"{CONTRACT}/*.proto")}
    assert {path.name for path in tracked(f"{GENERATED}/*_pb2.py")} == names
