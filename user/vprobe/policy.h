/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loading of policies.
 *
 * There is one slot for all VMs and one for each VM. A slot is a BPF link that
 * is pinned at POLICY_PINS/SLOT; what was loaded into it is noted at
 * POLICY_NOTES/SLOT.json, to be loaded again with other knobs.
 */
#ifndef VPROBE_CLI_POLICY_H
#define VPROBE_CLI_POLICY_H

#include <json-c/json.h>

#include "libvprobe.h"

#define POLICY_DIR	"/usr/lib/vprobe/policies"
#define POLICY_PINS	"/sys/fs/bpf/vprobe"
#define POLICY_NOTES	"/run/vprobe/policies"
#define POLICY_LOCK	"/run/vprobe/policies.lock"

/**
 * policy_lock() - change slots one at a time
 *
 * For all of the functions below. Only root can open the file, and keep others
 * waiting; anybody else is refused by the kernel later on.
 *
 * Return: what to close() afterwards, -1 without the right
 */
int policy_lock(void);

/**
 * policy_load() - load a policy into a slot; swaps it if there is one
 * @what: a file, or the name of one in POLICY_DIR without its ending
 * @vm_id: the slot; 0: for all VMs
 * @knobs: object: values, as text, by name
 * @err: why not; the slot is as it was then
 *
 * Return: 0 or a negative errno
 */
int policy_load(const char *what, uint64_t vm_id, struct json_object *knobs,
		struct vprobe_error *err);

/**
 * policy_set() - change knobs of what a slot holds, leaving the others
 * @vm_id: the slot
 * @knobs: as for policy_load()
 * @err: why not
 *
 * Return: 0; -ENOENT if nothing was loaded into it by policy_load()
 */
int policy_set(uint64_t vm_id, struct json_object *knobs,
	       struct vprobe_error *err);

/* Empty a slot. Return: 0, -ENOENT if it is. */
int policy_unload(uint64_t vm_id, struct vprobe_error *err);

/**
 * policy_unload_all() - empty all slots, also those of VMs that have gone
 * @nr: out: how many there were; up to the first that fails
 * @err: why it failed
 *
 * Return: 0 or a negative errno
 */
int policy_unload_all(unsigned int *nr, struct vprobe_error *err);

#endif
