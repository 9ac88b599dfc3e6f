#!/usr/bin/env bash
# Builds the benchmark's C++ pair with Debian's gRPC into the temporary folder where the benchmark looks for it; installs what is missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${TMPDIR:-/tmp}/hub-bench-cpp
if ! command -v grpc_cpp_plugin >/dev/null || ! pkg-config --exists grpc++ protobuf || ! command -v g++ >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ pkg-config libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
fi
mkdir -p "$out"
protoc -I"$here/../Runtime" --cpp_out="$out" --grpc_out="$out" --plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" "$here/../Runtime/bench.proto"
g++ -std=c++17 -O2 -I"$out" "$here/grpc-cpp.cc" "$out"/bench.pb.cc "$out"/bench.grpc.pb.cc $(pkg-config --cflags --libs grpc++ protobuf) -o "$out/bench"
echo "$out/bench"
