/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the loader does with requests, without the system calls that it takes:
 * those come in as struct core_ops, so that a test can play kernel.
 *
 * One thread owns a struct core. What may take long (the verifier, the scan
 * for a VMM, attaching it, filling every hole) is a job's phase and runs in a
 * worker, which touches nothing but its job. Jobs of one guest run one after the
 * other, but for a quarantine, which waits for nobody. Helpers are loaded one after
 * the other, whosever they are.
 *
 * Whose a registration is (I8): the peer's vsock context id names a VM only as
 * long as that VM lives, so a registration is tied to the VMM *process* that
 * owned the number when it was made. That process is the one that attached
 * under this number, or, if none has, the only one that has it on its command
 * line and a KVM VM and a vhost-vsock device open. It must have been started
 * before the guest's connection was accepted: an older connection was an
 * earlier VM's. A pidfd keeps hold of the process; when it exits, what it
 * registered is forgotten. An attach is given a stored registration only if
 * its context id and its process match.
 *
 * A guest that registers has the process that owns its number attached, unless
 * that process was attached before: then somebody has detached it, and only a
 * person attaches it again.
 *
 * A guest kernel may also go away while its VMM stays. If it says goodbye, or
 * the module's fail-safe takes its helper away, the registration is dropped.
 */
#ifndef VPROBED_CORE_H
#define VPROBED_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc.h"
#include "limit.h"
#include "seen.h"
#include "store.h"
#include "vprobe.h"

#define CORE_MAX_JOBS		64
#define CORE_MAX_WORKERS	4
/* A stored registration that the module refuses is forgotten after so many. */
#define CORE_MAX_FAILURES	5

enum job_type { JOB_REGISTER, JOB_GOODBYE, JOB_REAPPLY, JOB_QUARANTINE };
enum job_phase {
	PHASE_QUEUED,
	PHASE_LOAD,
	PHASE_OWNER,
	PHASE_ATTACH,
	PHASE_APPLY,
	PHASE_REMOVE,
	PHASE_QUARANTINE,
};

struct core;

/**
 * struct job - one request on its way
 * @talker: which talker asked; a reply to an earlier one is thrown away
 * @closed: who asked is gone
 * @req: the checked request, a copy; NULL for JOB_REAPPLY and JOB_QUARANTINE
 * @reg: what is being registered or applied
 * @vm_id: the VM, once it is known
 * @owner: pid of the VMM found by the scan, or a negative errno
 * @owner_fd: its pidfd
 * @owner_start_ns: when it was started
 * @status: of the phase that ended: 0 or a negative errno
 * @text: sentence that goes with @status
 * @why: why it is put in quarantine
 * @owner_text: why there is no owner, or why it was not attached
 */
struct job {
	struct job *next;
	struct core *core;
	enum job_type type;
	enum job_phase phase;
	uint32_t cid;
	uint32_t talker;
	uint64_t cookie;
	bool closed;
	struct vpd_request *req;
	struct registration *reg;
	uint64_t vm_id;
	int prog_fd;
	pid_t owner;
	int owner_fd;
	uint64_t owner_start_ns;
	int status;
	char text[VPROBE_WIRE_MAX_TEXT];
	char why[VPROBE_WHY_LEN];
	char owner_text[VPROBE_WIRE_MAX_TEXT];
};

/**
 * struct core_ops - the outside world
 * @load: worker: load a helper; its descriptor or a negative errno
 * @find_owner: worker: the VMM of a context id, see vprobe_vmm_by_cid()
 * @attach: worker: attach the VMM @pid, which @pidfd refers to and which owns
 *	@cid; 0 with the id of the VM, or a negative errno
 * @set_helper: worker: see vprobe_dev_set_helper()
 * @quarantine: worker: see vprobe_dev_quarantine()
 * @open_process: see vprobe_process_open()
 * @list: every attached VM; the array is the caller's to free
 * @reply: to a guest, through talker number @talker
 * @start: run job_work(), then core_done() in the core's thread
 */
struct core_ops {
	int (*load)(void *ctx, const struct vpd_request *req, char *why,
		    size_t size);
	pid_t (*find_owner)(void *ctx, uint32_t cid, int *pidfd,
			    uint64_t *start_ns, char *why, size_t size);
	int (*attach)(void *ctx, pid_t pid, int pidfd, uint32_t cid,
		      uint64_t *id, char *why, size_t size);
	int (*set_helper)(void *ctx, uint64_t id, int prog_fd,
			  const void *layout, size_t len, uint64_t as_of_ns,
			  char *why, size_t size);
	int (*quarantine)(void *ctx, uint64_t id, const char *reason,
			  char *why, size_t size);
	int (*open_process)(void *ctx, pid_t pid, uint64_t *start_ns);
	int (*list)(void *ctx, struct vprobe_stat **vms, size_t *nr);
	void (*reply)(void *ctx, uint32_t talker, uint64_t cookie,
		      uint32_t status, const char *text);
	void (*start)(void *ctx, struct job *job);
};

/**
 * struct core - the loader's state
 * @load_only: the verifier's answer is all that is wanted
 * @attach: attach VMs whose guests register
 */
struct core {
	const struct core_ops *ops;
	void *ctx;
	bool load_only;
	bool attach;
	struct store store;
	struct seen seen;
	struct limit limit;	/* of registrations */
	struct limit goodbyes;
	struct job *jobs;
	unsigned int nr_jobs;
	unsigned int nr_running;
};

/* A request that vpd_request_check() accepted; @now_ns is monotonic. */
void core_request(struct core *c, uint32_t talker,
		  const struct vpd_request *req, uint64_t now_ns);
/*
 * Who made the request with that cookie is gone, NULL: and all others, with the talker;
 * before core_done() of its job. One that waits for its turn is over.
 */
void core_closed(struct core *c, uint32_t talker, const uint64_t *cookie);
/* Put a VM in quarantine. Nothing happens if vprobed is too busy: ask again. */
void core_quarantine(struct core *c, const struct vprobe_stat *vm,
		     const char *why);
/* In a worker: the phase of @job. */
void job_work(struct job *job);
/* In the core's thread: the phase of @job has ended. */
void core_done(struct job *job);
/* VMs were attached or detached, or may have lost their helper. */
void core_sync(struct core *c);
/* Whether core_sync() should be called now and then. */
bool core_wants_sync(const struct core *c);

#endif
