# Runs shell code for one context: an interactive shell that reads calls of these functions, since only such a shell comes
# back to its next line after Ctrl-C; docs/protocol.md, "Code contexts".
exec 9>&1 8>&2 7<&-
unset ENV
[ -z "$BASH_VERSION" ] || set +H
__caisson_turn=0
__caisson_id=
__caisson_was() { return "$1"; }
__caisson_say() { printf '\036%s=%s\036' "$1" "$2"; }
__caisson_ask() { if [ "$2" = . ]; then __caisson_say "$1" "{\"type\":\"turn\",\"turn\":$__caisson_turn}" >&9; fi; }
__caisson_run() {
  [ "$4" = . ] || return 0
  if [ "$2" != "$__caisson_turn" ]; then
    __caisson_say "$1" '{"type":"stale"}' >&9
    return 0
  fi
  __caisson_id=$1 __caisson_status=
  __caisson_code=$(printf '%b.' "$3")
  __caisson_say "$1" '{"type":"begin"}' >&8
  __caisson_say "$1" '{"type":"begin"}' >&9
  # No program in between: one that ends well has the shell forget an interrupt that came meanwhile.
  __caisson_was "${__caisson_last:-0}"
  __caisson_eval
  __caisson_status=$?
  __caisson_end "$1" .
}
__caisson_end() {
  __caisson_last=${__caisson_status:-$?}
  [ "$__caisson_id" = "$1" ] && [ "$2" = . ] || return 0
  __caisson_turn=$((__caisson_turn + 1))
  if [ -z "$__caisson_status" ] && [ "$__caisson_last" = 130 ]; then __caisson_word=interrupted; else __caisson_word=ok; fi
  __caisson_say "$1" '{"type":"end"}' >&8
  __caisson_say "$1" "{\"type\":\"end\",\"turn\":$__caisson_turn,\"status\":\"$__caisson_word\",\"exit_code\":$__caisson_last}" >&9
  # Only now: a second interrupt in between has the prompt ask for the end once more.
  __caisson_id=
}
if [ -n "$BASH_VERSION" ]; then
  # What set -e ends is this call alone.
  trap '__caisson_failed=$?; case $-:$BASH_SUBSHELL:$__caisson_id in *e*:0:?*) set +e; __caisson_status=$__caisson_failed; kill -INT $$ ;; esac' ERR
  set -E
  __caisson_eval() { eval "${__caisson_code%.}" </dev/null 8>&- 9>&-; }
else
  __caisson_eval() { eval "${__caisson_code%.}" </dev/null || return $?; }
fi
__caisson_mark=$(printf '\036')
__caisson_left='={"type":"left"}'
PS2=
# The prompt tells of code that was left half-way: by an interrupt, or by an error that ends a line.
PS1='${__caisson_id:+$__caisson_mark$__caisson_id$__caisson_left$__caisson_mark}'
