#!/usr/bin/env bash
# Runs the interoperability cases against Python's grpcio (the C core), both ways, on Debian: installs what is missing, generates the
# Python code of testing.proto and starts the tests that need it. Root is needed only to install.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=/usr/bin/python3
if ! "$python" -c 'import grpc, google.protobuf' 2>/dev/null || ! command -v protoc >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-grpcio python3-protobuf protobuf-compiler
fi
protos=$(mktemp -d)
trap 'rm -rf "$protos"' EXIT
protoc -I"$here" --python_out="$protos" "$here/testing.proto"
"$python" -c 'import grpc; print("grpcio", grpc.__version__)'
GRPC_INTEROP_PYTHON=$python GRPC_INTEROP_PYTHON_PROTOS=$protos \
  dotnet test "$here/../GrpcRuntime.Tests.csproj" -c Release --filter 'FullyQualifiedName~InteropCaseTests' \
  --logger 'console;verbosity=normal'
