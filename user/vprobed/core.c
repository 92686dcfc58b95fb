// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core.h"
#include "log.h"

static void say(struct job *job, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct job *job, int status, const char *fmt, ...)
{
	va_list ap;

	job->status = status;
	va_start(ap, fmt);
	vsnprintf(job->text, sizeof(job->text), fmt, ap);
	va_end(ap);
}

/* Jobs */

static struct job *job_new(struct core *c, enum job_type type, uint32_t cid)
{
	struct job *job, **tail;

	/* There is one of the others per VM at most; guests cannot keep them out. */
	if (c->nr_jobs >= CORE_MAX_JOBS &&
	    (type == JOB_REGISTER || type == JOB_GOODBYE))
		return NULL;
	job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->core = c;
	job->type = type;
	job->cid = cid;
	job->prog_fd = -1;
	job->owner = -ESRCH;
	job->owner_fd = -1;
	for (tail = &c->jobs; *tail; tail = &(*tail)->next)
		;
	*tail = job;
	c->nr_jobs++;
	return job;
}

static void job_end(struct job *job)
{
	struct core *c = job->core;
	struct job **p;

	for (p = &c->jobs; *p != job; p = &(*p)->next)
		;
	*p = job->next;
	c->nr_jobs--;
	if (job->prog_fd >= 0)
		close(job->prog_fd);
	if (job->owner_fd >= 0)
		close(job->owner_fd);
	registration_put(job->reg);
	free(job->req);
	free(job);
}

static const char *job_what(const struct job *job)
{
	switch (job->type) {
	case JOB_REGISTER:
		return "registration";
	case JOB_GOODBYE:
		return "goodbye";
	case JOB_QUARANTINE:
		return "quarantine";
	default:
		return "stored registration";
	}
}

/* The last word: to the log, to the guest, and the job is gone. */
static void job_finish(struct job *job)
{
	struct core *c = job->core;

	log_msg(job->status || job->type == JOB_QUARANTINE ? LOG_WARNING :
		LOG_INFO, "%s: %s: %s",
		log_guest(job->cid), job_what(job), job->text);
	if (job->req)
		c->ops->reply(c->ctx, job->talker, job->cookie,
			      (uint32_t)-job->status, job->text);
	job_end(job);
}

static void job_start(struct job *job, enum job_phase phase)
{
	struct core *c = job->core;

	job->phase = phase;
	c->nr_running++;
	c->ops->start(c->ctx, job);
}

void job_work(struct job *job)
{
	const struct core_ops *ops = job->core->ops;
	void *ctx = job->core->ctx;

	switch (job->phase) {
	case PHASE_LOAD:
		job->prog_fd = ops->load(ctx, job->req, job->text,
					 sizeof(job->text));
		job->status = job->prog_fd < 0 ? job->prog_fd : 0;
		break;
	case PHASE_OWNER:
		job->owner = ops->find_owner(ctx, job->cid, &job->owner_fd,
			&job->owner_start_ns, job->owner_text,
			sizeof(job->owner_text));
		break;
	case PHASE_ATTACH:
		job->status = ops->attach(ctx, job->owner, job->owner_fd,
			job->cid, &job->vm_id, job->owner_text,
			sizeof(job->owner_text));
		break;
	case PHASE_APPLY:
		job->status = ops->set_helper(ctx, job->vm_id,
			job->reg->prog_fd, job->reg->layout,
			job->reg->layout_len, job->reg->accepted_ns,
			job->text, sizeof(job->text));
		break;
	case PHASE_REMOVE:
		job->status = ops->set_helper(ctx, job->vm_id, -1, NULL, 0, 0,
			job->text, sizeof(job->text));
		break;
	case PHASE_QUARANTINE:
		job->status = ops->quarantine(ctx, job->vm_id, job->why,
			job->text, sizeof(job->text));
		break;
	case PHASE_QUEUED:
		break;
	}
}

/* VMs */

/* How many live VMs have this context id, or an errno; @vm is one of them. */
static int find_vm(struct core *c, uint32_t cid,
		   struct vprobe_stat *vm)
{
	struct vprobe_stat *vms = NULL;
	size_t nr = 0, i;
	int ret, found = 0;

	ret = c->ops->list(c->ctx, &vms, &nr);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		if (vms[i].cid == cid && vms[i].state != VPROBE_VM_DYING) {
			*vm = vms[i];
			found++;
		}
	}
	free(vms);
	return found;
}

static bool find_one_vm(struct job *job, struct vprobe_stat *vm, bool *none)
{
	int n = find_vm(job->core, job->cid, vm);

	*none = !n;
	if (n < 0)
		say(job, n, "cannot look at the attached VMs: %s", strerror(-n));
	if (n > 1)
		say(job, -EEXIST,
		    "%d attached VMs have the vsock context id %u; detach all but one, or attach them with the right --cid",
		    n, job->cid);
	return n == 1;
}

/* Registrations */

static bool is_older(struct job *job, uint64_t start_ns)
{
	if (start_ns < job->req->accepted_ns)
		return false;
	say(job, -ESTALE,
	    "the connection is older than the VM that has the vsock context id %u now",
	    job->cid);
	return true;
}

/*
 * It may have been an earlier VM's, and the one that has the number now may have been
 * started as a process before the connection was accepted.
 */
static bool is_closed(struct job *job)
{
	if (job->closed)
		say(job, -ECONNRESET,
		    "whoever registered has closed the connection since");
	return job->closed;
}

/* The VM is attached: whose is the number? Returns false after say(). */
static bool own_by_vm(struct job *job, const struct vprobe_stat *vm)
{
	struct core *c = job->core;
	uint64_t start_ns = 0;

	job->vm_id = vm->id;
	if (!vm->pid)
		return true;	/* not even the operator knows */
	if (job->owner == -EEXIST || job->owner == -EAGAIN) {
		say(job, job->owner, "%s", job->owner_text);
		return false;
	}
	if (job->owner > 0 && job->owner != (pid_t)vm->pid) {
		say(job, -EEXIST,
		    "VM %llu was attached with the vsock context id %u, which belongs to process %d; attach it with the right --cid",
		    (unsigned long long)vm->id, job->cid, job->owner);
		return false;
	}
	job->reg->pid = (pid_t)vm->pid;
	job->reg->pidfd = c->ops->open_process(c->ctx, (pid_t)vm->pid,
					       &start_ns);
	if (job->reg->pidfd < 0) {
		say(job, -ESRCH, "the VMM of VM %llu is exiting",
		    (unsigned long long)vm->id);
		return false;
	}
	return !is_older(job, start_ns);
}

/* No VM is attached: keep it for the process that owns the number. */
static void keep_for_owner(struct job *job)
{
	if (job->owner <= 0) {
		say(job, -ENOENT,
		    "no attached VM has the vsock context id %u, and %s; attach the VM ('vprobe attach PID --cid %u'), then register again",
		    job->cid, job->owner_text, job->cid);
		return;
	}
	if (is_older(job, job->owner_start_ns))
		return;
	job->reg->pid = job->owner;
	job->reg->pidfd = job->owner_fd;
	job->owner_fd = -1;
	if (store_put(&job->core->store, job->reg)) {
		say(job, -ENOSPC,
		    "vprobed keeps the registrations of %d VMs already", STORE_MAX);
		return;
	}
	say(job, 0, "helper %s for Linux %s loaded; kept until the VM is attached ('vprobe attach %d')%s%s",
	    job->reg->name, job->reg->release, job->owner,
	    job->owner_text[0] ? "; it was not attached now: " : "",
	    job->owner_text);
}

/* No VM is attached: shall, and can, its owner be? */
static bool may_attach(struct job *job)
{
	struct core *c = job->core;

	if (!c->attach || job->owner <= 0 ||
	    job->owner_start_ns >= job->req->accepted_ns)
		return false;
	if (!seen_process(&c->seen, job->owner, job->owner_start_ns))
		return true;
	snprintf(job->owner_text, sizeof(job->owner_text),
		 "it was attached before, and somebody has detached it");
	return false;
}

static bool make_registration(struct job *job)
{
	struct registration *r;

	r = registration_new(job->cid, vpd_layout(job->req),
			     job->req->layout_len);
	if (!r) {
		say(job, -ENOMEM, "vprobed has no memory left");
		return false;
	}
	r->accepted_ns = job->req->accepted_ns;
	r->prog_fd = job->prog_fd;
	job->prog_fd = -1;
	memcpy(r->name, job->req->name, sizeof(r->name));
	memcpy(r->release, job->req->release, sizeof(r->release));
	job->reg = r;
	return true;
}

static void loaded(struct job *job)
{
	if (!job->status && !job->core->load_only && !is_closed(job)) {
		job_start(job, PHASE_OWNER);
		return;
	}
	if (!job->status)
		say(job, 0, "the host kernel's verifier accepts the helper");
	job_finish(job);
}

static void owner_found(struct job *job)
{
	struct vprobe_stat vm;
	bool none;

	if (is_closed(job) || !make_registration(job)) {
		job_finish(job);
		return;
	}
	if (find_one_vm(job, &vm, &none) && own_by_vm(job, &vm)) {
		job_start(job, PHASE_APPLY);
		return;
	}
	if (none && may_attach(job)) {
		job_start(job, PHASE_ATTACH);
		return;
	}
	if (none)
		keep_for_owner(job);
	job_finish(job);
}

/* The job's process is a VM now: remember it, whoever asked for it. */
static void own_attached(struct job *job)
{
	log_msg(LOG_INFO, "%s: attached process %d as VM %llu",
		log_guest(job->cid), job->owner,
		(unsigned long long)job->vm_id);
	seen_add(&job->core->seen, job->vm_id, job->owner, job->owner_start_ns);
	job->reg->pid = job->owner;
	job->reg->pidfd = job->owner_fd;
	job->owner_fd = -1;
}

/* No memory, or a VMM that is busy: the guest may register again, and be attached. */
static bool is_passing(int status)
{
	return status == -ENOMEM || status == -EAGAIN;
}

static void attached(struct job *job)
{
	struct vprobe_stat vm;
	bool none;

	if (!job->status)
		own_attached(job);
	if (is_closed(job)) {
		job_finish(job);
		return;
	}
	/* If it failed, somebody else may have been faster. */
	if (!job->status || (find_one_vm(job, &vm, &none) && own_by_vm(job, &vm))) {
		job_start(job, PHASE_APPLY);
		return;
	}
	if (none && is_passing(job->status))
		say(job, -EAGAIN, "process %d cannot be attached now: %s",
		    job->owner, job->owner_text);
	else if (none)
		keep_for_owner(job);
	job_finish(job);
}

static void applied(struct job *job)
{
	struct core *c = job->core;
	struct registration *r = job->reg;

	/* What was registered before stays as it is if this one failed. */
	if (!job->status) {
		r->applied = true;
		r->failures = 0;
		r->vm_id = job->vm_id;
		say(job, 0, "helper %s for Linux %s is in use for VM %llu",
		    r->name, r->release, (unsigned long long)job->vm_id);
		if (job->type == JOB_REGISTER) {
			/* Not of this VM any more, whatever comes next. */
			store_drop(&c->store, job->cid);
			if (r->pidfd >= 0 && store_put(&c->store, r))
				log_msg(LOG_NOTICE,
					"%s: too many registrations, this one ends with its attachment",
					log_guest(job->cid));
		}
	}
	/* It may have been detached meanwhile; it may also never work. */
	if (job->status && job->type == JOB_REAPPLY &&
	    (job->status == -ESTALE || ++r->failures >= CORE_MAX_FAILURES) &&
	    store_find(&c->store, job->cid) == r)
		store_drop(&c->store, job->cid);
	job_finish(job);
}

static void start_goodbye(struct job *job)
{
	struct vprobe_stat vm;
	bool none;

	store_drop(&job->core->store, job->cid);
	if (find_one_vm(job, &vm, &none)) {
		job->vm_id = vm.id;
		job_start(job, PHASE_REMOVE);
		return;
	}
	if (none)
		say(job, 0, "nothing of this guest was taken");
	job_finish(job);
}

static void start_reapply(struct job *job)
{
	struct registration *r = store_find(&job->core->store, job->cid);
	struct vprobe_stat vm;
	bool none;

	if (r && !r->applied && registration_alive(r) &&
	    find_one_vm(job, &vm, &none) && (pid_t)vm.pid == r->pid &&
	    vm.state == VPROBE_VM_NO_HELPER) {
		job->reg = registration_get(r);
		job->vm_id = vm.id;
		job_start(job, PHASE_APPLY);
		return;
	}
	job_end(job);	/* overtaken by events */
}

/* Whether an earlier job of the same guest has not ended. */
static bool has_predecessor(const struct job *job)
{
	const struct job *j;

	for (j = job->core->jobs; j != job; j = j->next) {
		if (j->cid == job->cid)
			return true;
	}
	return false;
}

/* The verifier takes its time and memory for one guest at a time. */
static bool may_start(const struct job *job)
{
	const struct job *j;

	if (job->phase != PHASE_QUEUED || has_predecessor(job))
		return false;
	for (j = job->core->jobs; j && job->type == JOB_REGISTER; j = j->next) {
		if (j->phase == PHASE_LOAD)
			return false;
	}
	return true;
}

/* A quarantine waits for nobody: the module puts it in order with the others. */
static struct job *next_job(struct core *c)
{
	struct job *job;

	for (job = c->jobs; job; job = job->next) {
		if (job->phase == PHASE_QUEUED && job->type == JOB_QUARANTINE)
			return job;
	}
	for (job = c->jobs; job && c->nr_running < CORE_MAX_WORKERS;
	     job = job->next) {
		if (may_start(job))
			return job;
	}
	return NULL;
}

static void kick(struct core *c)
{
	struct job *job;

	while ((job = next_job(c))) {
		switch (job->type) {
		case JOB_REGISTER:
			job_start(job, PHASE_LOAD);
			break;
		case JOB_GOODBYE:
			start_goodbye(job);
			break;
		case JOB_REAPPLY:
			start_reapply(job);
			break;
		case JOB_QUARANTINE:
			job_start(job, PHASE_QUARANTINE);
			break;
		}
	}
}

static void quarantined(struct job *job)
{
	struct store *s = &job->core->store;
	struct registration *r = store_find(s, job->cid);

	if (!job->status) {
		if (r && r->applied && r->vm_id == job->vm_id)
			store_drop(s, job->cid);
		say(job, 0, "VM %llu has all its memory back and no helper: %s; 'vprobe release %llu' ends that",
		    (unsigned long long)job->vm_id, job->why,
		    (unsigned long long)job->vm_id);
	}
	job_finish(job);
}

void core_done(struct job *job)
{
	struct core *c = job->core;

	c->nr_running--;
	switch (job->phase) {
	case PHASE_LOAD:
		loaded(job);
		break;
	case PHASE_OWNER:
		owner_found(job);
		break;
	case PHASE_ATTACH:
		attached(job);
		break;
	case PHASE_APPLY:
		applied(job);
		break;
	case PHASE_QUARANTINE:
		quarantined(job);
		break;
	default:
		if (!job->status)
			say(job, 0, "VM %llu has all its memory back, its helper is forgotten",
			    (unsigned long long)job->vm_id);
		job_finish(job);
	}
	kick(c);
}

void core_request(struct core *c, uint32_t talker,
		  const struct vpd_request *req, uint64_t now_ns)
{
	enum job_type type = req->type == VPD_REGISTER ? JOB_REGISTER :
							 JOB_GOODBYE;
	size_t len = sizeof(*req) + req->layout_len + 8UL * req->insn_cnt;
	struct limit *limit = type == JOB_REGISTER ? &c->limit : &c->goodbyes;
	struct job *job;

	if (!limit_take(limit, req->cid, now_ns)) {
		c->ops->reply(c->ctx, talker, req->cookie, EAGAIN,
			      type == JOB_REGISTER ?
			      "this guest registers too often; try again later" :
			      "this guest says goodbye too often; try again later");
		return;
	}
	job = job_new(c, type, req->cid);
	if (job)
		job->req = malloc(len);
	if (!job || !job->req) {
		if (job)
			job_end(job);
		c->ops->reply(c->ctx, talker, req->cookie, EBUSY,
			      "vprobed is busy; try again later");
		return;
	}
	memcpy(job->req, req, len);
	job->talker = talker;
	job->cookie = req->cookie;
	kick(c);
}

void core_closed(struct core *c, uint32_t talker, const uint64_t *cookie)
{
	struct job *job, *next;

	for (job = c->jobs; job; job = next) {
		next = job->next;
		if (job->type != JOB_REGISTER || job->talker != talker ||
		    (cookie && job->cookie != *cookie))
			continue;
		job->closed = true;
		if (job->phase == PHASE_QUEUED && is_closed(job))
			job_finish(job);
	}
	kick(c);
}

void core_quarantine(struct core *c, const struct vprobe_stat *vm,
		     const char *why)
{
	struct job *job;

	for (job = c->jobs; job; job = job->next) {
		if (job->type == JOB_QUARANTINE && job->vm_id == vm->id)
			return;
	}
	job = job_new(c, JOB_QUARANTINE, vm->cid);
	if (!job)
		return;
	job->vm_id = vm->id;
	snprintf(job->why, sizeof(job->why), "%s", why);
	kick(c);
}

/* Sync with the module */

static bool has_job(const struct core *c, uint32_t cid)
{
	const struct job *job;

	for (job = c->jobs; job; job = job->next) {
		if (job->cid == cid)
			return true;
	}
	return false;
}

static void sync_registration(struct core *c, struct registration *r,
			      const struct vprobe_stat *vms, size_t nr)
{
	size_t i;

	if (has_job(c, r->cid))
		return;		/* its end will tell */
	if (r->applied) {
		for (i = 0; i < nr && vms[i].id != r->vm_id; i++)
			;
		if (i < nr && vms[i].quarantine_why[0]) {
			log_msg(LOG_NOTICE,
				"%s: VM %llu is in quarantine (%s); forgot what it had registered",
				log_guest(r->cid),
				(unsigned long long)r->vm_id,
				vms[i].quarantine_why);
			store_drop(&c->store, r->cid);
			return;
		}
		if (i < nr && vms[i].state == VPROBE_VM_NO_HELPER) {
			log_msg(LOG_NOTICE,
				"%s: VM %llu has lost its helper (reset, kexec or crash of the guest kernel, or 'vprobe helper remove'); forgot it until the guest registers again",
				log_guest(r->cid),
				(unsigned long long)r->vm_id);
			store_drop(&c->store, r->cid);
			return;
		}
		if (i < nr)
			return;
		r->applied = false;	/* detached, its VMM goes on */
	}
	for (i = 0; i < nr; i++) {
		if (vms[i].cid == r->cid && (pid_t)vms[i].pid == r->pid &&
		    vms[i].state == VPROBE_VM_NO_HELPER) {
			job_new(c, JOB_REAPPLY, r->cid);
			return;
		}
	}
}

/* Who has it attached does not matter. */
static void remember(struct core *c, const struct vprobe_stat *vm)
{
	uint64_t start_ns = 0;
	int fd;

	if (!vm->pid || seen_vm(&c->seen, vm->id))
		return;
	fd = c->ops->open_process(c->ctx, (pid_t)vm->pid, &start_ns);
	if (fd < 0)
		return;
	close(fd);
	seen_add(&c->seen, vm->id, (pid_t)vm->pid, start_ns);
}

void core_sync(struct core *c)
{
	struct registration *r, *next;
	struct vprobe_stat *vms = NULL;
	size_t nr = 0, i;

	store_reap(&c->store);
	if (c->ops->list(c->ctx, &vms, &nr))
		return;
	for (i = 0; c->attach && i < nr; i++)
		remember(c, &vms[i]);
	for (r = store_next(&c->store, NULL); r; r = next) {
		next = store_next(&c->store, r);
		sync_registration(c, r, vms, nr);
	}
	free(vms);
	kick(c);
}

bool core_wants_sync(const struct core *c)
{
	return c->store.nr != 0;
}
