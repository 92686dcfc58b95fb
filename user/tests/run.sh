#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# run.sh TEST...: run TAP tests, show their lines, fail if one fails. A TEST
# may have arguments. $O is the build folder.
status=0
for t in "$@"; do
	name=${t%% *}
	echo "# ${name##*/}"
	# shellcheck disable=SC2086 # words are meant to be split
	$t || { echo "# ${name##*/} failed"; status=1; }
done
exit $status
