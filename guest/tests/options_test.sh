#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The injector's options, as far as they can be seen outside a guest.
# usage: options_test.sh VPROBE_INJECT WORKDIR
set -u

inject=$1 dir=$2
failed=0
mkdir -p "$dir" || exit 1

expect()
{
	want=$1 text=$2
	shift 2
	said=$("$inject" "$@" 2>&1)
	got=$?
	case "$got $said" in
	"$want "*"$text"*)
		;;
	*)
		echo "not ok: vprobe-inject $*: exit $got, '$said'"
		failed=1
		;;
	esac
}

expect 0 'vprobe-inject ' --version
expect 0 'Usage' --help
expect 2 "do not know what to do with 'hello'" hello
expect 2 "do not know" goodbye goodbye
expect 2 'takes a number' --wait=soon
expect 2 'takes a number' --wait=-1
expect 2 'takes a number' --wait=999999
expect 2 'takes a number' --timeout=1x
expect 2 '' --no-such-option
expect 2 'goes with neither' --dump goodbye
expect 2 'goes with neither' --dump --output=/dev/null
expect 12 'cannot open /nonexistent/x' --output=/nonexistent/x goodbye
expect 12 'cannot write' --output=/dev/full goodbye
expect 0 '' --output="$dir/goodbye" goodbye

# "VPRB", version 1, a notice, 8 bytes; goodbye.
want="56505242010002000800000000000000""0100000000000000"
got=$(od -An -v -tx1 "$dir/goodbye" | tr -d ' \n')
if [ "$got" != "$want" ]; then
	echo "not ok: goodbye on the wire is $got, not $want"
	failed=1
fi

if file "$inject" 2>/dev/null | grep -q 'dynamically linked'; then
	echo "not ok: the injector is not static"
	failed=1
fi

[ $failed = 0 ] && echo "ok: options of vprobe-inject"
exit $failed
