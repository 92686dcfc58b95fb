#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What vprobe and vprobed print and return, with the device of fakedev.c in
# the place of the module. $O is the build folder. TAP.
count=0 bad=0

# shellcheck disable=SC2317 # is() and json() call it
vprobe() {
	LD_PRELOAD=$O/tests/fakedev.so "$O/vprobe/vprobe" "$@"
}

# is WHAT CODE PATTERN COMMAND...: exit code and a line of output
is() {
	local what=$1 code=$2 pattern=$3 out got
	shift 3
	out=$("$@" 2>&1 </dev/null)
	got=$?
	count=$((count + 1))
	if [ $got = "$code" ] && grep -qE -- "$pattern" <<<"$out"; then
		echo "ok $count - $what"
		return
	fi
	bad=1
	echo "not ok $count - $what"
	echo "# exit code $got, want $code, with a line like: $pattern"
	while read -r line; do echo "#   $line"; done <<<"$out"
}

# json WHAT CODE EXPRESSION COMMAND...: a Python expression over document d
json() {
	local what=$1 code=$2 expr=$3 out got
	shift 3
	out=$("$@" 2>/dev/null </dev/null)
	got=$?
	count=$((count + 1))
	if [ $got = "$code" ] && python3 -c "
import json, sys
d = json.load(sys.stdin)
sys.exit(not ($expr))" <<<"$out"; then
		echo "ok $count - $what"
		return
	fi
	bad=1
	echo "not ok $count - $what"
	echo "# exit code $got, want $code, and that $expr of:"
	while read -r line; do echo "#   $line"; done <<<"$out"
}

is 'no command' 2 'which command' vprobe
is 'an unknown command' 2 'no command "steal"' vprobe steal
is 'help' 0 'free-map' vprobe --help
for c in ls attach detach stat reclaim fill free-map helper quarantine release \
	policy top version; do
	is "help of $c" 0 "Usage: vprobe $c" vprobe $c --help
	is "an unknown option of $c" 2 'unrecognized option' vprobe $c --nope
done

is 'ls' 0 '^ +1 +web +101 +3 +ready +1.0 GiB +768.0 MiB' vprobe ls
json 'ls --json' 0 'len(d) == 2 and d[1]["name"] == "db" and
	d[0]["hole_bytes"] == 3 << 28' vprobe ls --json
json '--json before the command' 0 'len(d) == 2' vprobe --json ls
is 'ls of something' 2 'Too many arguments' vprobe ls x

is 'stat by id' 0 'RAM +1.0 GiB' vprobe stat 1
is 'stat by name' 0 'pinned +77' vprobe stat web
is 'stat by pid' 0 '^name +db' vprobe stat pid:102
is 'stat of all' 0 '^name +db' vprobe stat
is 'the histogram' 0 '^  4 +7 +2' vprobe stat web
json 'stat --json' 0 'd["fills"]["histogram_us"][3] ==
	{"from": 8, "to": 15, "count": 3} and d["refused"]["pinned"] == 77 and
	d["watches"]["fired"] == 1007 and d["helper"]["runs"] == 1020' \
	vprobe stat --json 1
json 'stat --json of all' 0 '[v["id"] for v in d] == [1, 2]' vprobe stat --json
json 'every counter is shown once' 0 'len(set(
	[d["memory"][k] for k in ("holes", "taken_bytes", "taken_blocks",
		"passes", "repopulated", "free_bytes", "policy_id")] +
	list(d["watches"].values()) + list(d["helper"].values()) +
	[v for k, v in d["fills"].items() if k != "histogram_us"])) == 28' \
	vprobe --json stat 1

is 'stat of no VM' 1 'no attached VM has the id 9.*pid:9' vprobe stat 9
is 'stat of no name' 1 'no attached VM has the name "x"' vprobe stat x
is 'stat of no pid' 1 'has the process id "5"' vprobe stat pid:5
is 'stat of nonsense' 1 'is no VM' vprobe stat pid:x
json 'an error in JSON' 1 'd["reason"] == "no-vm" and d["errno"] == 2' \
	vprobe --json stat 9

is 'reclaim all' 0 'took 5.0 MiB in 2 blocks.*7.0 MiB' vprobe reclaim web all
json 'reclaim SIZE' 0 'd["taken_bytes"] == 3 << 29 and not d["interrupted"]' \
	vprobe reclaim 1 1.5G --json
FAKE_VPROBE=interrupted is 'reclaim that is interrupted' 1 \
	'interrupted: took 5.0 MiB' vprobe reclaim 1 all
FAKE_VPROBE=interrupted json 'the same in JSON' 1 'd["interrupted"] and
	d["taken_bytes"] == 5 << 20 and d["error"].startswith("interrupted") and
	d["reason"] == "none" and d["errno"] == 4' vprobe reclaim 1 all --json
FAKE_VPROBE=early is 'reclaim that somebody else ended' 0 \
	'ended early, .*: took 5.0 MiB' vprobe reclaim 1 all
FAKE_VPROBE=early json 'the same in JSON' 0 'd["ended_early"] and
	not d["interrupted"] and "error" not in d' vprobe reclaim 1 all --json
json 'one that was not' 0 'not d["ended_early"]' vprobe reclaim 1 all --json
FAKE_VPROBE=partly is 'reclaim that fails after a while' 1 'took 5.0 MiB' \
	vprobe reclaim 1 all
FAKE_VPROBE=partly is 'it says why' 1 'helper returned an error' \
	vprobe reclaim 1 all
FAKE_VPROBE=partly json 'both in JSON' 1 'd["taken_bytes"] == 5 << 20 and
	d["reason"] == "helper-failed"' vprobe reclaim 1 all --json
json 'a size that does not parse, in JSON' 2 'd["errno"] == 22 and
	d["error"].endswith("write 512M, 1.5G, or all")' \
	vprobe reclaim web 12Q --json
json 'no such command, in JSON' 2 '"no command" in d["error"]' \
	vprobe --json steal
is 'reclaim nothing' 2 'how much' vprobe reclaim web
is 'reclaim what' 2 '"lots" is no size' vprobe reclaim web lots
is 'reclaim 0' 2 'zero or too large' vprobe reclaim web 0
is 'reclaim without a helper' 1 'registered no helper' vprobe reclaim db all
is 'reclaim of nobody' 2 'which VM' vprobe reclaim

is 'fill' 0 'gave 768.0 MiB back' vprobe fill web
json 'fill --json' 0 'd["filled_bytes"] == 3 << 28' vprobe fill web 4M --json

FAKE_VPROBE=partly is 'fill that fails after a while' 1 'gave 768.0 MiB back' \
	vprobe fill web
FAKE_VPROBE=partly json 'the same in JSON' 1 'd["filled_bytes"] == 3 << 28 and
	d["reason"] == "no-memory"' vprobe fill web --json

is 'free-map' 0 '^0x400000 +4.0 MiB +hole +0x0' vprobe free-map 1
is 'free-map --ask' 0 '^free +1 +4.0 MiB' vprobe free-map 1 --ask
json 'free-map --json' 0 'len(d["blocks"]) == 3 and
	d["blocks"][2]["gpa"] == 3 << 22 and
	d["summary"][3] == {"state": "hole", "blocks": 2, "bytes": 8 << 20}' \
	vprobe --json free-map 1 -a
json 'free-map --summary' 0 '"blocks" not in d' vprobe --json free-map 1 -s

is 'helper show' 0 'helper registered +yes' vprobe helper show web
is 'helper show of none' 0 'helper registered +no' vprobe helper show db
is 'helper remove' 0 'removed the helper of VM 1' vprobe helper remove web
is 'helper remove of none' 1 'has no helper' vprobe helper remove db
is 'helper what' 2 'show or remove' vprobe helper steal web

is 'quarantine' 0 'VM 1 is in quarantine' vprobe quarantine web
json 'quarantine --why' 0 'd == {"id": 2, "quarantined": True}' \
	vprobe --json quarantine db --why 'it lies, often'
is 'quarantine without a reason' 2 'reason is empty' \
	vprobe quarantine db --why ''
is 'quarantine for a long reason' 2 'longer than 127' \
	vprobe quarantine db --why "$(printf '%128s' x)"
is 'quarantine of nobody' 2 'which VM' vprobe quarantine
is 'release of one that is not there' 1 'VM 1 is not in quarantine' \
	vprobe release web
FAKE_VPROBE=quarantined is 'release' 0 'released VM 2; its guest has to' \
	vprobe release db
FAKE_VPROBE=quarantined is 'stat of one in quarantine' 0 \
	'^quarantine +it lies' vprobe stat db
FAKE_VPROBE=quarantined is 'ls shows it' 0 'db +102 +4 +quarantined ' vprobe ls
FAKE_VPROBE=quarantined json 'and says why' 0 \
	'[v["quarantine"] for v in d] == ["", "it lies"]' vprobe --json ls
FAKE_VPROBE=quarantined is 'top shows it' 0 'db +quarantined ' vprobe top -n 1
FAKE_VPROBE=quarantined is 'it has no helper to remove' 1 'has no helper' \
	vprobe helper remove db

for why in '\377' '\300\257' '\355\240\200' '\364\220\200\200' 'cut\303' \
	'esc\033' 'csi\302\233' '\177'; do
	is "quarantine for $why" 2 'has to be UTF-8, without control' \
		vprobe quarantine db --why "$(printf '%b' "$why")"
done
is 'quarantine for a reason in UTF-8' 0 'VM 2 is in quarantine' \
	vprobe quarantine db --why "$(printf 'caf\303\251 \342\202\254')"
FAKE_VPROBE=odd json 'a name that is no UTF-8 becomes some' 0 \
	'[v["name"] for v in d] == ["web", "d\ufffd\x1b[2J\xe9"]' \
	vprobe --json ls
FAKE_VPROBE=odd is 'and does nothing to a terminal' 0 \
	"$(printf '^ +2 +d\\?\\?\\[2J\303\251 ')" vprobe ls

is 'policy show' 0 '^ +1 +evil +2 +gone +0 .* decide\(\) returned -5' \
	vprobe policy show
is 'policy show --vm' 2 'lists all policies' vprobe policy show --vm web
json 'policy show --json' 0 '[p["name"] for p in d] ==
	["headroom", "evil", "(built-in)"] and
	d[1]["why"] == "decide() returned -5"' vprobe --json policy show
is 'policy what' 2 'show, load, set or unload' vprobe policy steal
is 'policy load what' 2 'which policy' vprobe policy load
is 'policy load without a value' 2 'no KEY=VALUE' vprobe policy load simple x
is 'policy load of no file' 1 'cannot open the policy' \
	vprobe policy load /nonexistent.bpf.o
is 'policy set what' 2 'KEY=VALUE' vprobe policy set
is 'policy set of nothing' 1 'no policy was loaded' \
	vprobe policy set --vm db a=1

json 'top' 0 '[v["name"] for v in d["vms"]] == ["web", "db"] and
	d["vms"][0]["used_bytes"] == 1 << 28 and
	type(d["pressure_percent"]) in (float, type(None))' \
	vprobe --json top -n 1
is 'top too often' 2 'the delay is 1 to 3600' vprobe top -d 0

is 'detach' 0 'detached VM 1' vprobe detach web
json 'detach all' 0 'd["detached"] == [1, 2]' vprobe detach all --json
FAKE_VPROBE=stuck json 'detach all, and one does not' 1 \
	'd["detached"] == [1] and "cannot detach VM 2" in d["error"] and
	d["reason"] == "busy" and d["errno"] == 16' vprobe detach all --json
FAKE_VPROBE=stuck is 'the same as text' 1 'cannot detach VM 2: all memory is being given back' \
	vprobe detach all
FAKE_VPROBE=leaving json 'detach all, and one goes by itself' 0 \
	'd["detached"] == [1] and "error" not in d' vprobe detach all --json
is 'detach of nothing' 1 'no attached VM' vprobe detach 9

is 'attach of no process' 1 'no process 2147483600' vprobe attach 2147483600
is 'attach of no VMM' 1 'not a VMM' vprobe attach $$
is 'attach of no number' 2 'is no number' vprobe attach qemu
is 'attach of -1' 2 'unknown option|invalid option|is no number' \
	vprobe attach -1
is 'attach with an odd granule' 2 'not a power of two' \
	vprobe attach $$ --granule 3M
is 'attach with a tiny granule' 2 'not a power of two' \
	vprobe attach $$ --granule 4K
is 'attach with another stray' 2 'absorb or fault' \
	vprobe attach $$ --stray ignore
for n in all 7 id:3 pid:9; do
	is "attach with the name $n" 2 'would be taken for an id' \
		vprobe attach $$ --name $n
done
is "attach with the host's context id" 2 '3 or more' vprobe attach $$ --cid 2
is 'attach with a long name' 2 'longer than 31' \
	vprobe attach $$ --name 01234567890123456789012345678901
is 'attach with no time-out' 2 'time-out is 1000 to 2147483647' \
	vprobe attach $$ --fill-timeout 999
is 'attach with a long time-out' 2 'time-out is 1000 to 2147483647' \
	vprobe attach $$ --fill-timeout 2147483648
is 'attach with the longest time-out' 1 'not a VMM' \
	vprobe attach $$ --fill-timeout 2147483647

is 'version' 0 'module usable +yes' vprobe version
FAKE_VPROBE=absent is 'no module' 1 'modprobe vprobe' vprobe ls
FAKE_VPROBE=absent is 'version without a module' 0 'module usable +no' \
	vprobe version
FAKE_VPROBE=forbidden is 'no permission' 1 'run as root' vprobe ls
FAKE_VPROBE=forbidden json 'no permission in JSON' 1 'd["errno"] == 13' \
	vprobe --json ls

# The hostile list, as far as admission has to refuse it.
while read -r file stage text; do
	case $stage in
	admission) is "$file" 1 "$text" "$O/vprobed/vprobed" --check \
		"$O/hostile/$file" ;;
	*) is "$file passes admission" 0 'admitted' "$O/vprobed/vprobed" \
		--check "$O/hostile/$file" ;;
	esac
done < "$O/hostile/expected"
is 'check of no file' 1 'cannot open' "$O/vprobed/vprobed" --check /nonexistent
is 'vprobed with an argument' 2 'unexpected' "$O/vprobed/vprobed" x
is 'vprobed with metrics nowhere' 2 'needs a path' \
	"$O/vprobed/vprobed" --metrics ''
is 'vprobed on port 0' 2 'is no vsock port' "$O/vprobed/vprobed" --port 0
conf=$(mktemp)
echo 'port = many' > "$conf"
is 'vprobed with a mistake in its file' 2 \
	"vprobed: $conf:1: port is a number from 1024 to" \
	"$O/vprobed/vprobed" --config "$conf"
is 'vprobed without the file it was given' 2 \
	'vprobed: cannot open /nonexistent' \
	"$O/vprobed/vprobed" --config /nonexistent
echo 'talker-user = nosuch' > "$conf"
is 'vprobed does as its file says' 2 'no user "nosuch"' \
	"$O/vprobed/vprobed" --config "$conf"
is 'the command line wins over the file' 2 'no user "other"' \
	"$O/vprobed/vprobed" --config "$conf" --talker-user other
is 'check does not look at the file' 0 'admitted' "$O/vprobed/vprobed" \
	--config /nonexistent --check "$O/hostile/honest.msg"
rm -f "$conf"

# A VMM chooses its name, and what completion offers is expanded.
# shellcheck disable=SC2016,SC2317 # for the other shell, which calls it
completes() {
	bash -c 'vprobe() { printf "ID NAME\n1 \$(echo owned)\n2 db\n"; }
		. completion/vprobe
		COMP_WORDS=(vprobe stat "") COMP_CWORD=2
		_vprobe
		echo "${COMPREPLY[*]}"'
}
is 'completion' 0 '^1 2 db --json' completes

# shellcheck disable=SC2317 # is() calls it
full() { vprobe --json ls >/dev/full; }
is 'output that gets lost' 1 'cannot write the output: No space' full

echo "1..$count"
exit $bad
