#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# fuzz.sh FUZZER...: run each over its corpus, then FUZZ_RUNS inputs more.
# $O is the build folder: what the fuzzers find goes there, not to the corpus.
# TAP.
corpus=$(dirname "$0")/../fuzz/corpus
count=0 status=0
for f in "$@"; do
	name=${f##*/}
	found=$O/fuzz/found.$name
	log=$O/fuzz/$name.log
	rm -rf "$found"
	mkdir -p "$found"
	count=$((count + 1))
	if "$f" -runs="${FUZZ_RUNS:-0}" -max_len=40000 -print_final_stats=1 \
		-artifact_prefix="$O/fuzz/" "$found" "$corpus/$name" \
		2>"$log"; then
		runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
		echo "ok $count - $name: $runs runs under ASan and UBSan"
	else
		status=1
		echo "not ok $count - $name"
		tail -30 "$log" | sed 's/^/# /'
	fi
done
echo "1..$count"
exit $status
