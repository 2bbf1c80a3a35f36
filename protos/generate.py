"""Generate the Python code of the wire contract: python protos/generate.py [ROOT].

Reads protos/gnnrec/v1 under ROOT (this checkout unless named) and writes protos/gnnrec_protos/v1.
With `--image FILE` it writes a descriptor set instead, which `buf lint` and `buf breaking` read.
"""

import argparse
import sys
from pathlib import Path

import google.rpc.status_pb2
import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = "gnnrec/v1"
SOURCES = ["model.proto", "recommender.proto"]
# The code is a package of our own name: a folder `gnnrec` is the client, and many projects have a
# package called `protos`.
PACKAGE = "gnnrec_protos/v1"
# Where the imported google/rpc and google/protobuf definitions stand.
GOOGLE_RPC = str(Path(google.rpc.status_pb2.__file__).parents[2])
GOOGLE_PROTOBUF = str(Path(grpc_tools.__file__).parent / "_proto")


def generate(root: Path) -> None:
    """Write the message and service code of every .proto in `root`."""
    plugin = Path(sys.executable).parent / "protoc-gen-mypy_grpc"
    out = root / "protos"
    run(
        f"-I{PACKAGE}={out / CONTRACT}",
        f"--plugin=protoc-gen-mypy_grpc={plugin}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out={out}",
        *(f"{PACKAGE}/{name}" for name in SOURCES),
    )


def write_image(root: Path, image: Path) -> None:
    """Write the descriptor set of every .proto in `root`, comments and imports included."""
    run(
        f"-I{root / 'protos'}",
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={image}",
        *(f"{CONTRACT}/{name}" for name in SOURCES),
    )


def run(*arguments: str) -> None:
    """Run protoc, and stop the program where it fails (it has said why)."""
    status = protoc.main(["protoc", *arguments, f"-I{GOOGLE_RPC}", f"-I{GOOGLE_PROTOBUF}"])
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--image", type=Path)
    options = parser.parse_args()
    if options.image:
        write_image(options.root, options.image)
    else:
        generate(options.root)
