# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the scripts of the testbed share. Source it; it does nothing by itself.
#
# Everything that takes long to make is an artefact in $VPROBE_CACHE: a file
# or folder whose name ends in a hash of what it was made from. It is made
# under another name and renamed when it is complete, so what has its final
# name is good, for good. One that was not used for a week goes when its
# successor is made.

set -euo pipefail

VPROBE_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
VPROBE_CACHE=$(realpath -m "${VPROBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vprobe}")
VPROBE_MIRROR=${VPROBE_MIRROR:-http://deb.debian.org/debian}
VPROBE_SECURITY_MIRROR=${VPROBE_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
# shellcheck disable=SC2034 # for those who source this
VPROBE_BED=$VPROBE_TOP/tests/testbed
export VPROBE_CACHE

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() {
	[ "$(id -u)" = 0 ] ||
		die "$1 must run as root (it makes a Debian root file system and" \
		    "mounts things in a namespace of its own); run it with sudo"
}

# there_is_time_for FILE: whether a bats file would end, even if it took three times the
# seconds in its "# takes: ", before $VPROBE_UNTIL (in seconds since 1970), if set.
there_is_time_for() {
	[ $(($(date +%s) + 3 * $(seconds_of "$1"))) -lt \
		"${VPROBE_UNTIL:-9999999999}" ]
}

# seconds_left: until what is running then is ended, five minutes after $VPROBE_UNTIL
seconds_left() {
	echo $((${VPROBE_UNTIL:-9999999999} + 300 - $(date +%s)))
}

# seconds_of FILE: what it says
seconds_of() {
	local takes

	takes=$(sed -n 's/^# takes: *//p' "$VPROBE_TOP/tests/$1.bats")
	echo "${takes:-300}"
}

# hash_of [STRING|FILE|FOLDER]...: 12 digits that change with any of them. An
# argument that starts with @ names a file or folder, whose contents count.
hash_of() {
	local arg

	for arg; do
		case $arg in
		@*)
			arg=${arg#@}
			[ -e "$arg" ] || continue
			(cd "$(dirname "$arg")" &&
			 find "$(basename "$arg")" -type f -print0 |
			 LC_ALL=C sort -z | xargs -0r sha256sum)
			;;
		*)
			printf '%s\n' "$arg"
			;;
		esac
	done | sha256sum | cut -c1-12
}

# artefact NAME HASH COMMAND...: print the path of the artefact; if there is
# none yet run COMMAND with the path at which to make it as last argument.
# COMMAND is a program, not a function: `set -e` would not hold in that.
artefact() {
	local name=$1 path=$VPROBE_CACHE/$1-$2 part=$VPROBE_CACHE/part-$1-$2
	local start=$SECONDS

	shift 2
	if [ ! -e "$path" ]; then
		mkdir -p "$VPROBE_CACHE/lock"
		exec {lock}>"$VPROBE_CACHE/lock/$name"
		flock -n "$lock" || {
			say "waiting for another run that makes the $name"
			flock "$lock"
		}
		if [ ! -e "$path" ]; then
			say "making the $name (once, kept as $path)"
			rm -rf "$VPROBE_CACHE/part-$name"-*
			"$@" "$part" >&2 || die "could not make the $name"
			mv -T "$part" "$path"
			find "$VPROBE_CACHE" -maxdepth 1 -name "$name-*" \
				-mtime +7 -exec rm -rf {} +
			say "made the $name in $((SECONDS - start)) s"
		fi
		exec {lock}>&-
	fi
	touch -c "$path"
	printf '%s\n' "$path"
}

# small_debian DIR PACKAGE...: a root file system of Debian 13 in DIR, without
# documentation
small_debian() {
	local dir=$1 IFS=,

	shift
	mmdebstrap --variant=apt --mode=root \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--include="$*" trixie "$dir" \
		"deb $VPROBE_MIRROR trixie main" \
		"deb $VPROBE_SECURITY_MIRROR trixie-security main"
	rm -rf "$dir"/var/cache/apt/* "$dir"/var/lib/apt/lists/*
}
