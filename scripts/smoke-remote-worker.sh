#!/usr/bin/env bash
# A control plane and a worker as two processes: the worker joins, a sandbox is placed on it, and everything that a user does
# with a sandbox reaches it there. Checks every answer; ends with 0 when all were right. Leaves nothing behind.
#
#   scripts/smoke-remote-worker.sh [path-to-caisson]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
caisson="$(realpath "${1:-$root/packages/cli/bin/caisson.mjs}")"
# The Node that the project brings along, where there is one.
PATH="$root/node_modules/.bin:$PATH"
for tool in node curl "$caisson"; do
  command -v "$tool" >/dev/null || { echo "smoke-remote-worker: $tool is missing" >&2; exit 2; }
done
# Settings of whoever runs this must not change what is tried.
for name in "${!CAISSON_@}"; do unset "$name"; done

work="$(mktemp -d "${TMPDIR:-/tmp}/caisson-smoke-XXXXXX")"
export CAISSON_DATA_DIR="$work/data"
control_pid="" worker_pid="" passed=0

# Asks a process to end, and makes it end.
stop() {
  [ -n "$1" ] && kill -0 "$1" 2>/dev/null || return 0
  kill -TERM "$1" 2>/dev/null || true
  for _ in $(seq 200); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

finish() {
  local status=$?
  trap - EXIT
  stop "$worker_pid"
  stop "$control_pid"
  if [ "$status" -ne 0 ]; then
    for log in control-plane worker; do
      echo "--- the last lines of $log.log" >&2
      tail -n 40 "$work/$log.log" >&2 2>/dev/null || true
    done
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n== %s\n' "$*"; }

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# The port that is wanted, or the next one that nothing has.
port_or_next() {
  node -e '
    const listen = (port, then) => require("node:net").createServer().on("error", () => listen(port + 1, then)).listen(port, "127.0.0.1", then);
    listen(Number(process.argv[1]), function () { console.log(this.address().port); this.close(); });
  ' "$1"
}

# Does a request and shows it: `request curl …`. The answer's body comes in $answer, its status in $status.
request() {
  printf '$ ' >&2; printf '%q ' "$@" >&2; printf '\n' >&2
  local whole
  whole="$("$@" --max-time 60 -w '\n%{http_code}')" || fail "no answer"
  status="${whole##*$'\n'}"
  answer="${whole%$'\n'*}"
  printf '%s\n' "$answer" | cut -c1-400 >&2
}

# Checks the last answer: `want WHAT STATUS EXPRESSION`, a JavaScript expression over its text `text` and its JSON `a`.
want() {
  [ "$status" = "$2" ] || fail "$1: the status is $status, not $2: $answer"
  node -e '
    const [text, expression] = process.argv.slice(1);
    let a;
    try { a = JSON.parse(text); } catch { a = undefined; }
    const lines = () => text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
    let right = false;
    try { right = new Function("text", "a", "lines", `return (${expression})`)(text, a, lines) === true; } catch (error) { console.error(String(error)); }
    process.exit(right ? 0 : 1);
  ' "$answer" "$3" || fail "$1: the answer does not fit $3: $answer"
  passed=$((passed + 1))
  printf '   ok: %s\n' "$1"
}

# Waits until a command succeeds: `until_true WHAT SECONDS PID COMMAND…`; the process must live meanwhile.
until_true() {
  local what="$1" deadline=$((SECONDS + $2)) pid="$3"
  shift 3
  until "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || fail "the process ended before $what"
    [ "$SECONDS" -lt "$deadline" ] || fail "$what took too long"
    sleep 0.1
  done
}

control_port="$(port_or_next 7423)"
worker_port="$(port_or_next 7430)"
api="http://127.0.0.1:$control_port"

title "Control plane"
cat >"$work/control-plane.yaml" <<YAML
server:
  host: "127.0.0.1"
  port: $control_port

providers:
  default: "mock"
  mock:
    enabled: true
  docker:
    enabled: false
  firecracker:
    enabled: false

auth:
  api_key: "dev-api-key-dev-api-key-dev-api-key"
  admin_api_key: "dev-admin-key-dev-admin-key-dev"
  worker_token: "dev-worker-token-dev-worker-token"
  worker_tokens:
    worker-a: "dev-worker-a-token-dev-worker-a-token"
  admin_fallback_enabled: false

database:
  driver: "sqlite"
  path: "$work/caisson-remote-worker-staging.db"
YAML
cd "$work"
echo "\$ CAISSON_CONFIG=control-plane.yaml $caisson serve"
CAISSON_CONFIG=control-plane.yaml "$caisson" serve >control-plane.log 2>&1 &
control_pid=$!
until_true "the control plane answered" 60 "$control_pid" curl -sSf "$api/ready"
echo "   ok: it answers at $api"

title "Worker"
cat >"$work/worker.yaml" <<YAML
worker:
  id: "worker-a"
  control_plane_url: "$api"
  listen_addr: "127.0.0.1:$worker_port"
  preview_domain: "localhost"
  heartbeat_interval: "2s"

providers:
  default: "mock"
  mock:
    enabled: true
  docker:
    enabled: false
  firecracker:
    enabled: false

auth:
  worker_token: "dev-worker-a-token-dev-worker-a-token"
YAML
echo "\$ CAISSON_CONFIG=worker.yaml $caisson worker"
CAISSON_CONFIG=worker.yaml "$caisson" worker >worker.log 2>&1 &
worker_pid=$!
# Online, and with what it can do: that is known once its providers have been tried.
worker_is_online() {
  curl -sSf -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" "$api/api/v1/workers/worker-a" |
    node -e 'const w = JSON.parse(require("node:fs").readFileSync(0, "utf8")); process.exit(w.state === "online" && w.providers.length > 0 ? 0 : 1)'
}
until_true "the worker was online" 60 "$worker_pid" worker_is_online
echo "   ok: it is online"

title "List workers"
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/workers"
want "worker-a is online, with its own token and the mock" 200 \
  'a.items.some((w) => w.id === "worker-a" && w.state === "online" && w.credential === "static" && w.preview_domain === "localhost" && w.providers.some((p) => p.name === "mock" && p.available))'
want "the server itself is the worker local" 200 'a.items.some((w) => w.id === "local" && w.state === "online")'

title "Take local out, and spawn a sandbox"
request curl -sS -X DELETE \
  -H "X-Admin-API-Key: dev-admin-key-dev-admin-key-dev" \
  "$api/api/v1/admin/workers/local"
want "local is removed" 200 'a.id === "local" && a.state === "removed"'

request curl -sS -X POST \
  -H "Content-Type: application/json" \
  -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  -d '{"image":"alpine:latest","provider":"mock","ttl":"5m"}' \
  "$api/api/v1/sandboxes"
want "it runs on worker-a" 201 \
  'a.worker_id === "worker-a" && a.preview_domain === "localhost" && a.state === "running" && a.image === "alpine:latest" && a.provider === "mock"'
want "and why is said" 201 'a.placement.worker_id === "worker-a" && a.placement.reason.length > 0'
sandbox="$(node -p 'JSON.parse(process.argv[1]).id' "$answer")"

title "Get it"
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/sandboxes/$sandbox"
want "it is the same" 200 "a.id === '$sandbox' && a.worker_id === 'worker-a' && a.state === 'running'"
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/sandboxes?worker_id=worker-a"
want "it is listed with its worker" 200 "a.items.length === 1 && a.items[0].id === '$sandbox'"

title "Run a command"
request curl -sS -X POST \
  -H "Content-Type: application/json" \
  -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  -d '{"command":"echo remote worker ok"}' \
  "$api/api/v1/sandboxes/$sandbox/exec"
want "its output and exit code came" 200 'a.stdout === "remote worker ok\n" && a.exit_code === 0'
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/sandboxes/$sandbox/exec-log"
want "it is in the exec log" 200 'a.items.length === 1 && a.items[0].command === "echo remote worker ok" && a.items[0].exit_code === 0'

title "Run a streamed command"
request curl -sS -X POST \
  -H "Content-Type: application/json" \
  -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  -d '{"command":"printf \"line 1\\nline 2\\n\"","stream":true}' \
  "$api/api/v1/sandboxes/$sandbox/exec"
want "both lines came" 200 'lines().filter((r) => r.type === "output" && r.stream === "stdout").map((r) => r.data).join("") === "line 1\nline 2\n"'
want "and the exit after them" 200 'lines().at(-1).type === "exit" && lines().at(-1).exit_code === 0'

title "Write and read a file"
request curl -sS -X POST \
  -H "Content-Type: application/json" \
  -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  -d '{"path":"/workspace/remote.txt","content":"remote file"}' \
  "$api/api/v1/sandboxes/$sandbox/files"
want "it is written" 200 'a.path === "/workspace/remote.txt" && a.size === 11'
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/sandboxes/$sandbox/files?path=/workspace/remote.txt"
want "it is read" 200 'text === "remote file"'

title "Fetch console logs"
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/sandboxes/$sandbox/logs?lines=50"
want "there are lines" 200 'a.lines.length > 0 && a.truncated === false'

title "A worker with sandboxes is not removed by mistake"
request curl -sS -X DELETE \
  -H "X-Admin-API-Key: dev-admin-key-dev-admin-key-dev" \
  "$api/api/v1/admin/workers/worker-a"
want "the answer names them" 409 "a.code === 'worker_in_use' && a.detail.sandbox_ids.join() === '$sandbox' && a.detail.count === 1"

title "Destroy the sandbox"
request curl -sS -X DELETE \
  -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/sandboxes/$sandbox"
want "it is destroyed" 200 'a.state === "destroyed" && a.worker_id === "worker-a"'
request curl -sS -H "X-API-Key: dev-api-key-dev-api-key-dev-api-key" \
  "$api/api/v1/workers/worker-a"
want "its worker has nothing reserved any more" 200 'a.reserved.sandboxes === 0 && a.state === "online"'
request curl -sS -X DELETE \
  -H "X-Admin-API-Key: dev-admin-key-dev-admin-key-dev" \
  "$api/api/v1/admin/workers/worker-a"
want "the worker can be removed now" 200 'a.state === "removed"'

printf '\nAll %s checks passed.\n' "$passed"
