#!/usr/bin/env bash
# Install the Debian packages of system-packages.txt, and those named as arguments, that are missing.
# If none is missing it asks neither apt nor the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

list() { sed -e 's/#.*//' -e 's/[[:space:]]//g' scripts/system-packages.txt; }
required() { list | grep -v -e '^?' -e '^$'; }
optional() { list | sed -n 's/^?//p'; }

installed_of() {
  dpkg-query -W -f='${Package} ${Status}\n' "$@" 2>/dev/null | sed -n 's/ install ok installed$//p'
}

missing_of() {
  [ $# -gt 0 ] || return 0
  LC_ALL=C comm -13 <(installed_of "$@" | LC_ALL=C sort -u) <(printf '%s\n' "$@" | LC_ALL=C sort -u)
}

# Debian starts a server of the whole machine when it installs one; we start private ones only. Masked
# beforehand it is not started, now or at the next boot.
keep_servers_off() {
  [ -d "${SYSTEMD_FOLDER:-/run/systemd/system}" ] || return 0
  local server
  for server in rabbitmq-server prometheus; do
    case " $* " in *" $server "*) ;; *) continue ;; esac
    "${root[@]}" systemctl mask --quiet "$server.service" || continue
    say "the machine's own $server service stays off (systemctl unmask $server turns it on)"
  done
}

known_to_apt() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

# How to become root: nothing, or sudo. Only someone at a terminal is ever asked for a password.
find_root() {
  if [ "$(id -u)" = 0 ]; then
    root=(env)
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    root=(sudo -n env)
  elif command -v sudo >/dev/null && [ -t 0 ]; then
    root=(sudo env)
  else
    die "these packages are missing and neither root nor password-less sudo is at hand;" \
      "as root run: apt-get install $*"
  fi
}

main() {
  command -v dpkg-query >/dev/null ||
    die "this is neither Debian nor Ubuntu; install the tools of scripts/system-packages.txt" \
      "yourself and run again with SKIP_SYSTEM_PACKAGES=1"
  local wanted missing package
  mapfile -t wanted < <(required)
  mapfile -t missing < <(missing_of "${wanted[@]}" "$@")
  [ ${#missing[@]} -gt 0 ] || exit 0

  find_root "${missing[@]}"
  say "installing system packages: ${missing[*]}"
  local apt=("${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update </dev/null >&2 || say "apt-get update failed; trying with the lists there are"
  mapfile -t wanted < <(optional)
  for package in $(missing_of "${wanted[@]}"); do
    if known_to_apt "$package"; then missing+=("$package"); fi
  done
  keep_servers_off "${missing[@]}"
  "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" </dev/null >&2 ||
    die "apt-get could not install: ${missing[*]}; see its message above"
}

main "$@"
