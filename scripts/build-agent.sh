#!/usr/bin/env bash
# Builds the static caisson-agent for this machine's architecture, offline, and
# prints the path of the binary. Does nothing when it is up to date.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root/agent"

find_cargo() {
  local candidate
  for candidate in "$(command -v cargo || true)" "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" /usr/bin/cargo; do
    # A cargo without a working rustc beside it (an unset rustup) does not count.
    if [ -n "$candidate" ] && [ -x "$candidate" ] &&
      PATH="$(dirname "$candidate"):$PATH" "$candidate" --version >/dev/null 2>&1 &&
      PATH="$(dirname "$candidate"):$PATH" rustc --version >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

case "$(uname -m)" in
  x86_64) target=x86_64-unknown-linux-gnu ;;
  aarch64 | arm64) target=aarch64-unknown-linux-gnu ;;
  *)
    echo "build-agent: unsupported architecture $(uname -m)" >&2
    exit 1
    ;;
esac

binary="$root/agent/target/$target/release/caisson-agent"
sources=(Cargo.toml Cargo.lock src)
if [ -x "$binary" ] && [ -z "$(find "${sources[@]}" -newer "$binary" -print -quit)" ]; then
  printf '%s\n' "$binary"
  exit 0
fi

if ! cargo="$(find_cargo)"; then
  echo "build-agent: no Rust compiler; on Debian or Ubuntu: apt-get install rustc cargo gcc libc6-dev" >&2
  exit 1
fi

PATH="$(dirname "$cargo"):$PATH" RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR="$root/agent/target" \
  "$cargo" build --release --offline --locked --quiet --target "$target" >&2
# Cargo leaves the time alone when nothing changed; the check above goes by it.
touch "$binary"
printf '%s\n' "$binary"
