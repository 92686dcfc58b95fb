// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module answers with numbers; these are the sentences. A reason without
 * an entry here is a bug that tests/t_lib.c finds.
 */
#include "array.h"
#include "libvprobe.h"

struct reason {
	const char *name;
	const char *text;
};

static const struct reason reasons[] = {
	[VPROBE_REASON_NONE] = { "none", "the module gave no reason" },
	[VPROBE_REASON_NOT_KVM] = { "not-kvm",
		"the file descriptor is not a KVM virtual machine; give the process id of the VMM itself, not of a wrapper around it",
	},
	[VPROBE_REASON_NOT_IOMMUFD] = { "not-iommufd",
		"a file descriptor taken for an iommufd is none; the VMM must use /dev/iommu for its devices",
	},
	[VPROBE_REASON_ATTACHED] = { "attached",
		"this virtual machine is attached already; see 'vprobe ls', or detach it first",
	},
	[VPROBE_REASON_RAM_NOT_MEMFD] = { "ram-not-memfd",
		"the guest's RAM is not a shared memfd, or userfaultfd watches it, so it cannot be taken back page by page; start QEMU with -object memory-backend-memfd,id=m0,size=...,share=on and -machine memory-backend=m0",
	},
	[VPROBE_REASON_IOPTE_UNBOUNDED] = { "iopte-unbounded",
		"its devices may be mapped with IO page table entries larger than the granule, which cannot be split; bound them when iommufd is loaded ('options iommufd max_iopte_shift=21' in /etc/modprobe.d, or iommufd.max_iopte_shift=21 on the kernel command line; 21 is a granule of 2M), then start the VMM again",
	},
	[VPROBE_REASON_CONFIDENTIAL] = { "confidential",
		"the virtual machine is confidential (SEV, SNP or TDX), the host can neither read its page metadata nor zero its pages; there is nothing to change, such a VM cannot be used with V-Probe",
	},
	[VPROBE_REASON_GRANULE] = { "granule",
		"the granule is out of range; use a power of two from 64K to 32M, 2M fits nearly always",
	},
	[VPROBE_REASON_DYING] = { "dying",
		"the VMM is exiting, or has closed the virtual machine; its memory comes back by itself",
	},
	[VPROBE_REASON_NO_MEMORY] = { "no-memory",
		"the host has no memory for it: none at all, or the VM's memory cgroup, its pool of huge pages or the mount of its RAM is at its limit; free some and try again",
	},
	[VPROBE_REASON_PINNED] = { "pinned",
		"somebody else holds a DMA pin on the block (a legacy VFIO container, vDPA, RDMA or io_uring buffers over the same memory), so it was left alone",
	},
	[VPROBE_REASON_RACED] = { "raced",
		"the guest took the block between the first and the second look; nothing to change",
	},
	[VPROBE_REASON_BAD_REPORT] = { "bad-report",
		"the guest's helper reported a block that is out of range, misaligned, overlapping, or has its watch inside a free block; the guest's injector does not fit its kernel, update it",
	},
	[VPROBE_REASON_NOT_BACKED] = { "not-backed",
		"no memfd, or more than one, is behind the block, or the VMM has something else mapped there by now; use one memory backend per memory slot",
	},
	[VPROBE_REASON_IOMMU] = { "iommu",
		"iommufd could not take the block away from the devices: it had no memory for that, or the VMM has mapped the block twice or very often; nothing to change unless this grows",
	},
	[VPROBE_REASON_WATCH] = { "watch",
		"the block's metadata page could not be write-tracked, as its memory slot has changed since; nothing to change",
	},
	[VPROBE_REASON_STRADDLE] = { "straddle",
		"a large folio reaches out of the block; use a granule that is at least as large as the memory backend's pages",
	},
	[VPROBE_REASON_NO_HELPER] = { "no-helper",
		"the guest has registered no helper, so nobody knows which memory is free; run vprobed on the host and vprobe-inject in the guest (with a vhost-vsock device), then try again",
	},
	[VPROBE_REASON_HELPER_BAD] = { "helper-bad",
		"the program is no V-Probe helper: wrong type, or it reaches beyond its context or its layout",
	},
	[VPROBE_REASON_HELPER_FAILED] = { "helper-failed",
		"the guest's helper returned an error or did not get on; register it again from within the guest",
	},
	[VPROBE_REASON_STOPPED] = { "stopped",
		"the virtual machine is stopped, as the host had no memory for a block that it needs, or its VMM kept others from mapping it; free memory on the host, then give it back with 'vprobe fill'; QEMU wants a system_reset before it runs such a guest on",
	},
	[VPROBE_REASON_BUSY] = { "busy",
		"all memory is being given back to this virtual machine as its guest was reset, or its VMM is mapping memory or attaching a device, or somebody else is taking or giving its memory; try again when that is done",
	},
	[VPROBE_REASON_NO_VM] = { "no-vm",
		"no attached virtual machine has this id; 'vprobe ls' shows those that there are",
	},
	[VPROBE_REASON_QUARANTINED] = { "quarantined",
		"the virtual machine is in quarantine, so it may not have a helper; 'vprobe stat' says why, 'vprobe release' ends it, then its guest has to register again",
	},
	[VPROBE_REASON_RESET] = { "reset",
		"the guest was reset, or its kernel replaced, or its helper taken away, since it connected to register; it may register again",
	},
};

const char *vprobe_reason_name(unsigned int reason)
{
	if (reason >= ARRAY_SIZE(reasons) || !reasons[reason].name)
		return "unknown";
	return reasons[reason].name;
}

const char *vprobe_reason_text(unsigned int reason)
{
	if (reason < ARRAY_SIZE(reasons) && reasons[reason].text)
		return reasons[reason].text;
	return "the module gave a reason that this version of libvprobe does not know; update it";
}

const char *vprobe_vm_state_name(unsigned int state)
{
	static const char *const names[] = {
		[VPROBE_VM_NO_HELPER] = "no-helper",
		[VPROBE_VM_READY] = "ready",
		[VPROBE_VM_STOPPED] = "stopped",
		[VPROBE_VM_DYING] = "dying",
		[VPROBE_VM_QUARANTINED] = "quarantined",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

const char *vprobe_block_state_name(unsigned int state)
{
	static const char *const names[] = {
		[VPROBE_BLOCK_FREE] = "free",
		[VPROBE_BLOCK_WATCHED] = "watched",
		[VPROBE_BLOCK_RECLAIMING] = "reclaiming",
		[VPROBE_BLOCK_HOLE] = "hole",
		[VPROBE_BLOCK_FILLING] = "filling",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}
