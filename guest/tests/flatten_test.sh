#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# flatten: what it takes, what it makes of calls, and what it refuses.
# usage: flatten_test.sh FLATTEN CLANG WORKDIR [CLANG_OPTION]...
set -u

flatten=$1 clang=$2 dir=$3
shift 3
failed=0
mkdir -p "$dir" || exit 1

not_ok()
{
	echo "not ok: flatten: $*"
	failed=1
}

# Compile the program on standard input to $1.o.
compile()
{
	name=$1
	shift
	{
		echo '#include <linux/types.h>'
		echo '#include <linux/bpf.h>'
		echo '#include <bpf/bpf_helpers.h>'
		echo 'extern int vprobe_read(void *, __u32, __u64) __ksym;'
		cat
		echo 'char _license[] SEC("license") = "GPL";'
	} > "$dir/$name.c"
	"$clang" "$@" -O2 -mcpu=v3 --target=bpf -c "$dir/$name.c" \
		-o "$dir/$name.o" || not_ok "$name does not compile"
}

refuses()
{
	if "$flatten" "$dir/$1.o" "$1" > "$dir/$1.h" 2> "$dir/$1.err"; then
		not_ok "$1 was taken"
	elif ! grep -q "$2" "$dir/$1.err"; then
		not_ok "$1: said '$(cat "$dir/$1.err")', not '$2'"
	fi
}

compile good "$@" <<'E2'
static __always_inline int leaf(__u64 a)
{
	__u64 v = 0;

	return vprobe_read(&v, 8, a) ? -1 : (int)v;
}

SEC("syscall") int good(__u64 *ctx)
{
	*ctx = 0x123456789abcdef0ULL;
	return leaf(ctx[1]) + leaf(ctx[2]);
}
E2
if "$flatten" "$dir/good.o" good > "$dir/good.h"; then
	# What it calls of the host has number 1.
	awk '
	/\.code/ {
		gsub(/[{},]/, "")
		if ($3 != "0x85")
			next
		if ($9 == 2 && $15 == 1)
			host++
		else
			other++
	}
	END { exit !(host == 2 && !other) }
	' "$dir/good.h" || not_ok "good: calls do not lead to the host"
else
	not_ok "good was refused"
fi

compile function "$@" <<'E2'
static __attribute__((noinline)) int leaf(__u64 a)
{
	__u64 v = 0;

	return vprobe_read(&v, 8, a) ? -1 : (int)v;
}

SEC("syscall") int function(__u64 *ctx) { return leaf(ctx[1]) + leaf(ctx[2]); }
E2
refuses function 'calls another function of the helper'

compile neighbour "$@" <<'E2'
SEC("syscall") __attribute__((noinline)) int neighbour_of(__u64 *ctx)
{
	return vprobe_read(ctx, 8, 0);
}

SEC("syscall") int neighbour(__u64 *ctx)
{
	return neighbour_of(ctx) + neighbour_of(ctx + 1);
}
E2
refuses neighbour 'calls another function of the helper'

compile global "$@" <<'E2'
int counter;
SEC("syscall") int global(void *ctx) { return counter++; }
E2
refuses global 'cannot have maps or global variables'

compile rodata "$@" <<'E2'
static const char text[] = "abcdefgh";
SEC("syscall") int rodata(__u32 *ctx) { return text[*ctx & 7]; }
E2
refuses rodata 'cannot have maps or global variables'

compile map "$@" <<'E2'
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} m SEC(".maps");
SEC("syscall") int map(__u32 *ctx)
{
	return !!bpf_map_lookup_elem(&m, ctx);
}
E2
refuses map 'cannot have maps or global variables'

compile helper "$@" <<'E2'
SEC("syscall") int helper(void *ctx) { return bpf_ktime_get_ns(); }
E2
refuses helper 'calls kernel helper 5'

compile unknown "$@" <<'E2'
extern int bpf_something(void) __ksym;
SEC("syscall") int unknown(void *ctx) { return bpf_something(); }
E2
refuses unknown "'bpf_something', which the host does not offer"

compile atomic "$@" <<'E2'
SEC("syscall") int atomic(__u64 *ctx)
{
	__sync_fetch_and_add(ctx, 1);
	return 0;
}
E2
refuses atomic 'atomic'

compile other "$@" <<'E2'
SEC("tc") int other(void *ctx) { return 0; }
E2
refuses other 'no section "syscall"'

compile long "$@" <<'E2'
SEC("syscall") int toolong(__u64 *ctx)
{
	asm volatile(".rept 5000\nr0 = 0\n.endr" ::: "r0");
	return 0;
}
E2
refuses long 'more than 4096 instructions'

echo junk > "$dir/junk.o"
refuses junk 'not a little-endian BPF object'
refuses absent 'cannot open it'

[ $failed = 0 ] && echo "ok: flatten"
exit $failed
