// SPDX-License-Identifier: GPL-2.0-only
/*
 * forge: a policy for tests, that hands the module memory of its own instead of
 * what it was called with. The verifier has to refuse all modes but the first.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

enum mode {
	HONEST,
	KICKS_ITS_OWN,
	KICKS_A_COPY,
	TAKES_FROM_ITS_OWN,
};

const volatile __u32 mode = HONEST;

struct vprobe_policy_vm own_vm;
struct vprobe_decision own_decision;

SEC("struct_ops/decide")
int BPF_PROG(forge_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	struct vprobe_policy_vm copy;

	switch (mode) {
	case KICKS_ITS_OWN:
		vprobe_kick(&own_vm);
		break;
	case KICKS_A_COPY:
		copy = *vm;
		vprobe_kick(&copy);
		break;
	case TAKES_FROM_ITS_OWN:
		vprobe_take(&own_decision, ~0ULL, 0);
		break;
	default:
		vprobe_kick(vm);
		vprobe_again(decision, 1000);
		break;
	}
	return 0;
}

SEC(".struct_ops.link")
struct vprobe_policy_ops forge = {
	.decide = (void *)forge_decide,
	.name = "forge",
};

char _license[] SEC("license") = "GPL";
