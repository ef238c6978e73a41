#!/usr/bin/env bash
# Builds headscale from a folder with its source, and compares Bowline with it.
#
#   cargo build --release --locked --workspace --bins
#   tests/load/headscale.sh FOLDER [--nodes 300] [--pairs 3] [--output markdown] [--json FILE]
#
# Go has to be installed. What follows the folder goes to `bowline-load compare`.
set -euo pipefail

if [ $# -lt 1 ] || [ ! -e "$1/cmd/headscale" ]; then
  echo "usage: tests/load/headscale.sh FOLDER [OPTION…], where FOLDER has the source of headscale" >&2
  exit 2
fi
source=$(cd "$1" && pwd)
shift
load=$(cd "$(dirname "$0")/../.." && pwd)/target/release/bowline-load
if [ ! -x "$load" ]; then
  echo "$load is not built: cargo build --release --locked --workspace --bins" >&2
  exit 2
fi

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
echo "building headscale" >&2
(cd "$source" && CGO_ENABLED=0 go build -trimpath -o "$built/headscale" ./cmd/headscale)
"$load" compare --headscale "$built/headscale" "$@"
