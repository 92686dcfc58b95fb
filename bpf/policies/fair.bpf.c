// SPDX-License-Identifier: GPL-2.0-only
/*
 * fair: when the host is short of memory, those give first who use least of what
 * they have: the idle-memory tax of VMware ESX (Waldspurger, OSDI 2002).
 *
 * Each VM's shares are its configured size S. It holds P bytes of host memory, a
 * part f of which it uses or used a moment ago; idle memory counts 1/(1 - tax)
 * times. The VM with the least S / (P * (f + (1 - f) / (1 - tax))) gives, as
 * much as it has free, until enough of the host's memory is available.
 *
 * A VM that was asked and gave nothing (its blocks are pinned, its guest has no
 * helper any more) is passed over for a while.
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

/* So many looks tell what a VM uses now and then. */
#define WARM_UP		24
/* For so many looks a VM that gave nothing is passed over. */
#define PASSED_OVER	16

struct account {
	__u64 idle;		/* bytes that have been free for a while */
	__u64 taken;		/* vprobe_policy_vm::taken_bytes at the last look */
	__u32 asked;		/* to give, at the last look */
	__u32 passed_over;	/* looks left; to begin with: WARM_UP */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_VMS);
	__type(key, __u64);
	__type(value, struct account);
} accounts SEC(".maps");

static bool taking;

static struct account *account_of(__u64 vm_id)
{
	return bpf_map_lookup_elem(&accounts, &vm_id);
}

/* S / (P * ...), in 1/65536: the least gives first. */
static __u64 worth(const struct vprobe_policy_vm *vm, __u64 idle)
{
	__u64 held = (vm->ram_bytes - vm->hole_bytes) >> 12;
	__u32 tax = tax_percent > 99 ? 99 : tax_percent;
	__u64 taxed;

	idle >>= 12;
	if (idle > held)
		idle = held;
	taxed = held - idle + idle * 100 / (100 - tax);
	return ((vm->ram_bytes >> 12) << 16) / (taxed ?: 1);
}

/* Whether there is a VM that is to give before this one. */
static bool another_first(__u64 my_id, __u64 mine)
{
	struct vprobe_policy_vm other;
	struct account *acc;
	__u64 id = 0;
	int i;

	bpf_for(i, 0, MAX_VMS) {
		id = vprobe_vm_after(id);
		if (!id)
			break;
		if (id == my_id || vprobe_vm_info(id, &other, sizeof(other)))
			continue;
		acc = account_of(id);
		/* It has nothing to give, or does not. */
		if (!acc || acc->idle < (4 << 20) || acc->passed_over)
			continue;
		if (worth(&other, acc->idle) < mine)
			return true;
	}
	return false;
}

/*
 * What came of the last look. A busy guest has free memory now and then: what was
 * not free for a moment counts as used for about 32 looks.
 */
static void settle(struct account *acc, const struct vprobe_policy_vm *vm)
{
	if (vm->free_bytes < acc->idle)
		acc->idle = vm->free_bytes;
	else
		acc->idle += (vm->free_bytes - acc->idle) / 32;
	if (acc->passed_over)
		acc->passed_over--;
	if (acc->asked && vm->taken_bytes == acc->taken)
		acc->passed_over = PASSED_OVER;
	acc->taken = vm->taken_bytes;
	acc->asked = 0;
}

SEC("struct_ops/init")
int BPF_PROG(fair_init)
{
	if (low_percent > high_percent || high_percent > 100 || tax_percent > 99)
		return -VPROBE_KNOB_RANGE;
	return vprobe_again_may(calm_ms) && vprobe_again_may(busy_ms) ?
		0 : -VPROBE_KNOB_RANGE;
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
	struct account *acc = account_of(self.id);
	__u64 missing;

	if (host->available_bytes < low)
		taking = true;
	else if (host->available_bytes >= high)
		taking = false;
	/* The others need to know. */
	vprobe_measure(decision);
	vprobe_again(decision, taking ? busy_ms : calm_ms);
	if (!acc) {
		struct account fresh = {
			.idle = self.ram_bytes,
			.taken = self.taken_bytes,
			.passed_over = WARM_UP,
		};

		/* Nothing is known of it yet. */
		bpf_map_update_elem(&accounts, &self.id, &fresh, BPF_NOEXIST);
		vprobe_again(decision, busy_ms);
		return 0;
	}
	settle(acc, &self);
	missing = high - host->available_bytes;
	if (taking && host->available_bytes < high && acc->idle >= (4 << 20) &&
	    !acc->passed_over &&
	    !another_first(self.id, worth(&self, acc->idle))) {
		vprobe_take(decision,
			    missing < acc->idle ? missing : acc->idle, 0);
		acc->asked = 1;
	}
	return 0;
}

SEC(".struct_ops")
struct vprobe_policy_ops fair = {
	.init = (void *)fair_init,
	.decide = (void *)fair_decide,
	.name = "fair",
};

char _license[] SEC("license") = "GPL";
