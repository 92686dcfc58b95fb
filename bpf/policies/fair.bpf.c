// SPDX-License-Identifier: GPL-2.0-only
/*
 * fair: when the host is short of memory, those give first who use least of what
 * they have: the idle-memory tax of VMware ESX (Waldspurger, OSDI 2002).
 *
 * Each VM's shares are its configured size S. It holds P bytes of host memory, a
 * part f of which it uses; idle memory counts 1/(1 - tax) times. The VM with the
 * least S / (P * (f + (1 - f) / (1 - tax))) gives, as much as it has free, until
 * enough of the host's memory is available.
 *
 * Good for: hosts with busy and idle guests beside each other.
 * A bad idea for: a single guest; hosts that want memory free beforehand.
 *
 * Knobs: low_percent, high_percent as in watermark; tax_percent (0 to 99);
 * calm_ms and busy_ms (how often to look).
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

#define MAX_VMS		4096

const volatile __u32 low_percent = 15;
const volatile __u32 high_percent = 25;
const volatile __u32 tax_percent = 75;
const volatile __u32 calm_ms = 2000;
const volatile __u32 busy_ms = 250;

/* What a VM wanted back, halved every eight looks: it is in use. */
struct demand {
	__u64 seen;		/* vprobe_policy_vm::demand_bytes at the last look */
	__u64 recent;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_VMS);
	__type(key, __u64);
	__type(value, struct demand);
} demands SEC(".maps");

static bool taking;

static __u64 recent_demand(const struct vprobe_policy_vm *vm, bool look)
{
	struct demand fresh = { .seen = vm->demand_bytes };
	struct demand *d;
	__u64 id = vm->id;

	d = bpf_map_lookup_elem(&demands, &id);
	if (!d) {
		bpf_map_update_elem(&demands, &id, &fresh, BPF_NOEXIST);
		return 0;
	}
	if (look) {
		d->recent -= d->recent / 12;
		d->recent += vm->demand_bytes - d->seen;
		d->seen = vm->demand_bytes;
	}
	return d->recent;
}

/* S / (P * ...), in 1/65536, so that larger is poorer. */
static __u64 worth(const struct vprobe_policy_vm *vm, bool look)
{
	__u64 held = (vm->ram_bytes - vm->hole_bytes) >> 12;
	__u64 idle = vm->free_bytes >> 12;
	__u64 recent = recent_demand(vm, look) >> 12;
	__u32 tax = tax_percent > 99 ? 99 : tax_percent;
	__u64 taxed;

	idle = idle > recent ? idle - recent : 0;
	if (idle > held)
		idle = held;
	taxed = held - idle + idle * 100 / (100 - tax);
	return ((vm->ram_bytes >> 12) << 16) / (taxed ?: 1);
}

/* Whether there is a VM that is to give before this one. */
static bool another_first(const struct vprobe_policy_vm *vm, __u64 mine)
{
	struct vprobe_policy_vm other;
	__u64 id = 0;
	int i;

	bpf_for(i, 0, MAX_VMS) {
		id = vprobe_vm_after(id);
		if (!id)
			break;
		if (id == vm->id ||
		    vprobe_vm_info(id, &other, sizeof(other)))
			continue;
		/* It has nothing to give. */
		if (other.free_bytes < (4 << 20))
			continue;
		if (worth(&other, false) < mine)
			return true;
	}
	return false;
}

SEC("struct_ops.s/decide")
int BPF_PROG(fair_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	__u64 low = host->total_bytes / 100 * low_percent;
	__u64 high = host->total_bytes / 100 * high_percent;
	/* The verifier wants one kind of pointer in worth(). */
	struct vprobe_policy_vm self = *vm;
	__u64 mine = worth(&self, true);

	if (host->available_bytes < low)
		taking = true;
	else if (host->available_bytes >= high)
		taking = false;
	/* The others need to know. */
	vprobe_measure(decision);
	vprobe_again(decision, taking ? busy_ms : calm_ms);
	if (taking && host->available_bytes < high && !another_first(&self, mine))
		vprobe_take(decision, high - host->available_bytes, 0);
	return 0;
}

SEC(".struct_ops")
struct vprobe_policy_ops fair = {
	.decide = (void *)fair_decide,
	.name = "fair",
};

char _license[] SEC("license") = "GPL";
