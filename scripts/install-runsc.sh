#!/bin/sh
# Puts gVisor's runsc into FOLDER: the static binary of Debian's backports
# package, fetched by a private apt so that the machine's own apt setup and
# package database stay as they are. Usage: scripts/install-runsc.sh FOLDER
set -eu

folder=${1:?usage: install-runsc.sh FOLDER}
suite=${RUNSC_SUITE:-bookworm-backports}
base=${suite%-backports}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# The mirror that the machine itself uses for its own suite.
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Suite: $base" 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Codename: $base" 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' "Created-By: Packages" | sed -n "s/^$base //p" | head -n 1)
[ -n "$mirror" ] || { echo "install-runsc: no mirror for $base in this machine's apt sources" >&2; exit 1; }

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT
mkdir -p "$private/state/lists/partial" "$private/cache/archives/partial" "$private/parts"
: > "$private/state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$private/sources.list"
cat > "$private/apt.conf" <<CONF
Dir::State "$private/state";
Dir::State::status "$private/state/status";
Dir::State::lists "$private/state/lists";
Dir::Cache "$private/cache";
Dir::Etc::sourcelist "$private/sources.list";
Dir::Etc::sourceparts "$private/parts";
APT::Sandbox::User "root";
CONF
export APT_CONFIG="$private/apt.conf"
apt-get update -qq
(cd "$private" && apt-get download -qq "runsc/$suite" && dpkg -x runsc_*.deb root)
install -m 0755 "$private/root/usr/bin/runsc" "$folder/runsc"
"$folder/runsc" --version | head -n 1
