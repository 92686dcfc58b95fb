// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loader's decisions, with the kernel played by this file: which
 * registration is used for which VM, and for no other (I8).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admit.h"
#include "core.h"
#include "log.h"
#include "msg.h"
#include "tap.h"

#define MAX_VMS 4
#define CID 7
#define CONNECTED 1000	/* when guests connect, ns */
#define COOKIE 77
#define BEFORE 10	/* when their VMMs were started */

/* What the world looks like, and what was done to it. */
static struct {
	struct vprobe_stat vms[MAX_VMS];
	size_t nr_vms;
	pid_t owner;
	uint64_t owner_start, process_start;
	int load_fails, set_fails, attach_fails;
	/* done */
	unsigned int loads, sets, removes, replies, attaches,
		quarantines;
	uint64_t set_id;
	uint8_t set_first;	/* of the layout */
	uint64_t set_as_of;
	size_t set_len;
	uint32_t status;
	char text[512];
	struct job *pending[CORE_MAX_JOBS];
	unsigned int nr_pending;
	unsigned int most_running, most_loading;
} w;

static struct core core;

static int fake_load(void *ctx, const struct vpd_request *req, char *why,
		     size_t size)
{
	(void)ctx;
	(void)req;
	w.loads++;
	if (!w.load_fails)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	snprintf(why, size, "the verifier says no");
	return -EACCES;
}

static int pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

static pid_t fake_owner(void *ctx, uint32_t cid, int *fd, uint64_t *start,
			char *why, size_t size)
{
	(void)ctx;
	(void)cid;
	if (w.owner <= 0) {
		snprintf(why, size, "nobody claims it");
		return w.owner ? w.owner : -ESRCH;
	}
	*fd = pidfd(w.owner);
	*start = w.owner_start;
	return w.owner;
}

static struct vprobe_stat *attach(uint64_t id, pid_t pid, uint32_t cid)
{
	struct vprobe_stat *vm = &w.vms[w.nr_vms++];

	memset(vm, 0, sizeof(*vm));
	vm->id = id;
	vm->pid = (uint32_t)pid;
	vm->cid = cid;
	vm->state = VPROBE_VM_NO_HELPER;
	return vm;
}

static int fake_attach(void *ctx, pid_t pid, int fd, uint32_t cid,
		       uint64_t *id, char *why, size_t size)
{
	(void)ctx;
	w.attaches++;
	if (fd < 0 || w.attach_fails) {
		snprintf(why, size, "its RAM is no memfd");
		return w.attach_fails ? -w.attach_fails : -EOPNOTSUPP;
	}
	*id = 100 + w.attaches;
	attach(*id, pid, cid);
	return 0;
}

static int fake_set(void *ctx, uint64_t id, int prog_fd, const void *layout,
		    size_t len, uint64_t as_of_ns, char *why, size_t size)
{
	(void)ctx;
	w.set_id = id;
	w.set_as_of = as_of_ns;
	if (w.set_fails) {
		snprintf(why, size, "the module says no");
		return -EINVAL;
	}
	if (prog_fd < 0) {
		w.removes++;
		return 0;
	}
	w.sets++;
	w.set_len = len;
	w.set_first = len ? *(const uint8_t *)layout : 0;
	return 0;
}

static int fake_quarantine(void *ctx, uint64_t id, const char *reason,
			   char *why, size_t size)
{
	size_t i;

	(void)ctx;
	w.quarantines++;
	if (w.set_fails) {
		snprintf(why, size, "the module says no");
		return -ENOMEM;
	}
	for (i = 0; i < w.nr_vms; i++) {
		if (w.vms[i].id != id)
			continue;
		w.vms[i].state = VPROBE_VM_QUARANTINED;
		snprintf(w.vms[i].quarantine_why,
			 sizeof(w.vms[i].quarantine_why), "%s", reason);
	}
	return 0;
}

static int fake_process(void *ctx, pid_t pid, uint64_t *start)
{
	(void)ctx;
	*start = w.process_start;
	return pidfd(pid);
}

static int fake_list(void *ctx, struct vprobe_stat **vms, size_t *nr)
{
	(void)ctx;
	*vms = malloc(sizeof(w.vms));
	memcpy(*vms, w.vms, sizeof(w.vms));
	*nr = w.nr_vms;
	return 0;
}

static void fake_reply(void *ctx, uint32_t talker, uint64_t cookie,
		       uint32_t status, const char *text)
{
	(void)ctx;
	(void)talker;
	(void)cookie;
	w.replies++;
	w.status = status;
	snprintf(w.text, sizeof(w.text), "%s", text);
}

static void fake_start(void *ctx, struct job *job)
{
	unsigned int i, loading = 0;

	(void)ctx;
	w.pending[w.nr_pending++] = job;
	if (w.nr_pending > w.most_running)
		w.most_running = w.nr_pending;
	for (i = 0; i < w.nr_pending; i++)
		loading += w.pending[i]->phase == PHASE_LOAD;
	if (loading > w.most_loading)
		w.most_loading = loading;
}

static const struct core_ops fake_ops = {
	.load = fake_load,
	.find_owner = fake_owner,
	.attach = fake_attach,
	.set_helper = fake_set,
	.quarantine = fake_quarantine,
	.open_process = fake_process,
	.list = fake_list,
	.reply = fake_reply,
	.start = fake_start,
};

/* One worker is done. */
static void work_on(unsigned int i)
{
	struct job *job = w.pending[i];

	w.nr_pending--;
	memmove(w.pending + i, w.pending + i + 1,
		(w.nr_pending - i) * sizeof(w.pending[0]));
	job_work(job);
	core_done(job);
}

/* The workers: oldest first, until there is nothing left. */
static void work(void)
{
	while (w.nr_pending)
		work_on(0);
}

/* Those that load, while the others take long. */
static void work_loads(void)
{
	unsigned int i;

	for (i = 0; i < w.nr_pending;) {
		if (w.pending[i]->phase != PHASE_LOAD) {
			i++;
			continue;
		}
		work_on(i);
		i = 0;
	}
}

static void reset(void)
{
	store_clear(&core.store);
	memset(&core, 0, sizeof(core));
	memset(&w, 0, sizeof(w));
	core.ops = &fake_ops;
	w.owner_start = BEFORE;
	w.process_start = BEFORE;
}

/* A VMM: a process that does nothing. */
static pid_t vmm_new(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			pause();
	}
	return pid;
}

static void vmm_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void request(enum vpd_type type, uint32_t cid, uint8_t mark)
{
	const struct bpf_insn prog[] = { MOV_IMM(0, 0), EXIT() };
	struct {
		struct vpd_request req;
		uint8_t layout[8];
		struct bpf_insn insns[2];
	} r = {
		.req = {
			.magic = VPD_MAGIC,
			.type = type,
			.cid = cid,
			.cookie = COOKIE,
			.accepted_ns = CONNECTED,
			.name = "test",
			.release = "6.12",
		},
		.layout = { mark },
	};

	memcpy(r.insns, prog, sizeof(prog));
	if (type == VPD_REGISTER) {
		r.req.layout_len = 8;
		r.req.insn_cnt = 2;
	}
	core_request(&core, 1, &r.req, 1);
}

static void ask(enum vpd_type type, uint32_t cid, uint8_t mark)
{
	request(type, cid, mark);
	work();
}

static void sync_all(void)
{
	core_sync(&core);
	work();
}

/* The next VM may have the number, and its process be older than the connection. */
static void test_closed(pid_t vmm)
{
	const uint64_t cookie = COOKIE, other = COOKIE + 1;

	reset();
	w.owner = vmm;
	core.attach = true;
	request(VPD_REGISTER, CID, 1);
	core_closed(&core, 1, &cookie);
	work();
	ok(w.status == ECONNRESET && !w.attaches && !w.sets && !core.store.nr,
	   "I8: a registration whose guest has gone is nobody's");
	request(VPD_REGISTER, CID, 1);
	core_closed(&core, 2, NULL);
	core_closed(&core, 1, &other);
	work();
	ok(!w.status && w.sets == 1, "it is not taken for another one");
	request(VPD_REGISTER, CID, 1);
	core_closed(&core, 1, NULL);
	work();
	ok(w.status == ECONNRESET && w.sets == 1,
	   "so is one whose talker has gone");

	reset();
	w.owner = vmm;
	request(VPD_REGISTER, CID, 1);
	request(VPD_REGISTER, CID + 1, 1);
	request(VPD_REGISTER, CID, 2);
	core_closed(&core, 1, NULL);
	ok(core.nr_jobs == 1 && w.replies == 2 && w.status == ECONNRESET,
	   "those that wait for their turn are over at once");
	work();
	ok(w.loads == 1 && !core.nr_jobs, "and are not loaded");
}

static void test_attached(pid_t vmm)
{
	struct vprobe_stat *vm;

	reset();
	vm = attach(5, vmm, CID);
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && w.sets == 1 && w.set_id == 5 && w.set_len == 8,
	   "a registration of an attached VM is applied to it");
	vm->state = VPROBE_VM_READY;
	ask(VPD_REGISTER, CID, 2);
	ok(w.sets == 2 && w.set_first == 2 && core.store.nr == 1,
	   "a second one replaces it");
	w.load_fails = 1;
	ask(VPD_REGISTER, CID, 3);
	ok(w.status == EACCES && w.sets == 2 &&
	   store_find(&core.store, CID)->layout[0] == 2,
	   "one that the verifier refuses replaces nothing");
	ok(!strcmp(w.text, "the verifier says no"), "and the guest hears why");
	w.load_fails = 0;
	w.set_fails = 1;
	ask(VPD_REGISTER, CID, 4);
	ok(w.status == EINVAL && store_find(&core.store, CID)->layout[0] == 2,
	   "one that the module refuses replaces nothing either");
	w.set_fails = 0;
	ask(VPD_GOODBYE, CID, 0);
	ok(!w.status && w.removes == 1 && w.set_id == 5 && !core.store.nr,
	   "goodbye fills every hole and forgets");
}

static void test_stored(pid_t vmm, pid_t other)
{
	reset();
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && !w.sets && core.store.nr == 1,
	   "without an attached VM a registration is kept");
	attach(1, other, CID);
	sync_all();
	ok(!w.sets, "I8: another process with the same context id gets nothing");
	attach(2, vmm, CID + 1);
	sync_all();
	ok(!w.sets, "nor does the same process with another context id");
	attach(3, vmm, CID);
	w.vms[0].cid = 0;
	sync_all();
	ok(w.sets == 1 && w.set_id == 3 && w.set_first == 1 &&
	   w.set_as_of == CONNECTED,
	   "the process that it belongs to gets it when it attaches");
	sync_all();
	ok(w.sets == 1 || w.vms[2].state == VPROBE_VM_NO_HELPER,
	   "and only once");
}

static void test_detach(pid_t vmm)
{
	struct vprobe_stat *vm;

	reset();
	vm = attach(1, vmm, CID);
	ask(VPD_REGISTER, CID, 1);
	vm->state = VPROBE_VM_READY;
	sync_all();
	ok(core.store.nr == 1 && w.sets == 1, "an applied one is kept");
	w.nr_vms = 0;
	sync_all();
	ok(core.store.nr == 1, "and still after the operator's detach");
	attach(2, vmm, CID);
	sync_all();
	ok(w.sets == 2 && w.set_id == 2, "so that a second attach can use it");
	w.vms[0].state = VPROBE_VM_NO_HELPER;
	sync_all();
	ok(!core.store.nr && w.sets == 2,
	   "it is dropped when the module's fail-safe took the helper away");
}

static void test_refused_again(pid_t vmm)
{
	unsigned int i;

	reset();
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	attach(1, vmm, CID);
	w.set_fails = 1;
	for (i = 0; i < CORE_MAX_FAILURES - 1; i++)
		sync_all();
	ok(core.store.nr == 1, "a stored one that fails is tried again");
	sync_all();
	ok(!core.store.nr, "but not for ever");
}

static void test_owner_exits(void)
{
	pid_t vmm = vmm_new();

	reset();
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	ok(core.store.nr == 1, "kept for a VMM");
	vmm_kill(vmm);
	/* A VM with the dead one's pid and context id: as bad as it gets. */
	attach(1, vmm, CID);
	sync_all();
	ok(!core.store.nr && !w.sets,
	   "I8: gone with the VMM, even for a VM with its pid and context id");
}

static void test_ownership(pid_t vmm, pid_t other)
{
	reset();
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == ENOENT && strstr(w.text, "nobody claims it") &&
	   !core.store.nr, "a guest that nobody claims is refused");

	w.owner = vmm;
	w.owner_start = CONNECTED;
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == ESTALE && !core.store.nr,
	   "I8: a connection that is older than the VMM is refused");

	reset();
	w.process_start = CONNECTED + 1;
	attach(1, vmm, CID);
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == ESTALE && !w.sets, "also when the VM is attached");

	reset();
	w.owner = other;
	attach(1, vmm, CID);
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == EEXIST && !w.sets,
	   "I8: an attach under another VM's context id is not believed");

	reset();
	w.owner = -EAGAIN;
	attach(1, vmm, CID);
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == EAGAIN && !w.sets,
	   "I8: nor one whose owner could not be looked for to the end");

	reset();
	attach(1, vmm, CID);
	attach(2, other, CID);
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == EEXIST && !w.sets, "two VMs with one context id");

	reset();
	attach(1, other, CID)->state = VPROBE_VM_DYING;
	attach(2, vmm, CID);
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && w.set_id == 2, "a dying VM does not count");
}

static void test_auto_attach(pid_t vmm, pid_t other)
{
	reset();
	core.attach = true;
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && w.attaches == 1 && w.sets == 1 && w.set_id == 101 &&
	   strstr(w.text, "in use for VM 101"),
	   "the VM of a guest that registers is attached, and has its helper");
	ok(core.store.nr == 1 && store_find(&core.store, CID)->pid == vmm,
	   "its registration belongs to the VMM");
	ask(VPD_REGISTER, CID, 2);
	ok(w.attaches == 1 && w.sets == 2, "it is attached once");

	w.nr_vms = 0;
	ask(VPD_REGISTER, CID, 3);
	ok(!w.status && w.attaches == 1 && w.sets == 2 && core.store.nr == 1 &&
	   strstr(w.text, "somebody has detached it"),
	   "what somebody has detached is not attached again");
	attach(7, vmm, CID);
	sync_all();
	ok(w.sets == 3 && w.set_id == 7, "but by hand it can be");
	w.nr_vms = 0;
	w.owner = other;
	ask(VPD_REGISTER, CID, 1);
	ok(w.attaches == 2 && w.sets == 4, "and another process is another VM");

	reset();
	core.attach = true;
	attach(7, vmm, CID);
	sync_all();
	w.nr_vms = 0;
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	ok(!w.attaches && core.store.nr == 1,
	   "so it is if it was attached by hand");
}

static void test_no_auto_attach(pid_t vmm)
{
	reset();
	core.attach = true;
	w.owner = vmm;
	w.attach_fails = ENOMEM;
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == EAGAIN && w.attaches == 1 && !core.store.nr,
	   "a VM that cannot be attached now: the guest is to try again");
	w.attaches = 0;
	w.attach_fails = EOPNOTSUPP;
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && w.attaches == 1 && !w.sets && core.store.nr == 1 &&
	   strstr(w.text, "its RAM is no memfd"),
	   "a VM that cannot be attached: kept, and the guest hears why");
	w.attach_fails = 0;
	ask(VPD_REGISTER, CID, 2);
	ok(w.attaches == 2 && w.sets == 1, "and tried again next time");

	reset();
	core.attach = true;
	w.owner = vmm;
	w.owner_start = CONNECTED;
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == ESTALE && !w.attaches,
	   "I8: not for a connection that is older than the VM");

	reset();
	core.attach = true;
	w.owner = vmm;
	w.attach_fails = 1;
	request(VPD_REGISTER, CID, 1);
	attach(7, vmm, CID);
	work();
	ok(!w.status && w.sets == 1 && w.set_id == 7,
	   "somebody else was faster");

	reset();
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && !w.attaches && core.store.nr == 1,
	   "nothing is attached without being asked for");
}

static void test_quarantine(pid_t vmm, pid_t other)
{
	struct vprobe_stat *vm;

	reset();
	vm = attach(1, vmm, CID);
	attach(2, other, CID + 1);
	ask(VPD_REGISTER, CID, 1);
	ask(VPD_REGISTER, CID + 1, 1);
	w.vms[0].state = VPROBE_VM_READY;
	w.vms[1].state = VPROBE_VM_READY;
	core_quarantine(&core, vm, "it lies");
	core_quarantine(&core, vm, "it lies");
	ok(w.nr_pending == 1, "a VM is put in quarantine once at a time");
	work();
	ok(w.quarantines == 1 && w.replies == 2 &&
	   !strcmp(vm->quarantine_why, "it lies"), "with the reason");
	ok(!store_find(&core.store, CID) && store_find(&core.store, CID + 1),
	   "what it registered is forgotten, and nobody else's");
	w.set_fails = 1;
	ask(VPD_REGISTER, CID, 1);
	ok(w.status == EINVAL && !store_find(&core.store, CID),
	   "what it registers then is refused and not kept");
	w.set_fails = 0;
	memset(vm->quarantine_why, 0, sizeof(vm->quarantine_why));
	vm->state = VPROBE_VM_NO_HELPER;
	sync_all();
	ok(w.sets == 2, "released, it has no helper");
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && w.sets == 3, "before it registers again");

	vm->state = VPROBE_VM_QUARANTINED;
	snprintf(vm->quarantine_why, sizeof(vm->quarantine_why),
		 "an operator put it there");
	sync_all();
	ok(!store_find(&core.store, CID),
	   "what an operator puts in quarantine is forgotten, too");
	request(VPD_REGISTER, CID + 1, 1);
	core_quarantine(&core, &w.vms[1], "it lies");
	ok(w.nr_pending == 2, "it does not wait for a registration on its way");
	work();
	sync_all();
	ok(!store_find(&core.store, CID + 1), "which is forgotten as well");
	w.set_fails = 1;
	core_quarantine(&core, &w.vms[1], "it lies");
	work();
	ok(!core.nr_jobs, "a quarantine that fails is over, too");
}

static void test_goodbye(pid_t vmm)
{
	unsigned int i;

	reset();
	w.owner = vmm;
	ask(VPD_REGISTER, CID, 1);
	ask(VPD_GOODBYE, CID, 0);
	ok(!w.status && !w.removes && !core.store.nr,
	   "goodbye of a guest that is not attached forgets it");
	ask(VPD_GOODBYE, CID, 0);
	ok(!w.status, "and may be said twice");
	attach(1, vmm, CID);
	sync_all();
	ok(!w.sets, "after goodbye nothing is applied");
	w.set_fails = 1;
	ask(VPD_GOODBYE, CID, 0);
	ok(w.status == EINVAL && !strcmp(w.text, "the module says no"),
	   "a fill that fails is told");
	w.set_fails = 0;
	for (i = 0; i < LIMIT_BURST; i++)
		ask(VPD_GOODBYE, CID, 0);
	ok(w.status == EAGAIN, "who says it all the time has to wait");
}

static void test_order(pid_t vmm)
{
	unsigned int i;

	reset();
	attach(1, vmm, CID);
	request(VPD_REGISTER, CID, 1);
	request(VPD_GOODBYE, CID, 0);
	ok(w.nr_pending == 1, "a guest's requests run one after the other");
	work();
	ok(w.sets == 1 && w.removes == 1 && w.replies == 2 && !core.store.nr,
	   "a goodbye that came second wins");

	reset();
	for (i = 0; i < CORE_MAX_JOBS + 8; i++)
		request(VPD_REGISTER, 100 + i, 1);
	ok(w.nr_pending == 1 && core.nr_jobs == CORE_MAX_JOBS,
	   "jobs are bounded");
	ok(w.replies == 8 && w.status == EBUSY, "who comes too late hears so");
	work_loads();
	ok(w.nr_pending == CORE_MAX_WORKERS, "and so are workers");
	work();
	ok(w.most_loading == 1, "the verifier has one helper at a time");
	ok(!core.nr_jobs && !core.nr_running && w.replies == CORE_MAX_JOBS + 8,
	   "and the others are all answered");
	ok(w.most_running == CORE_MAX_WORKERS, "never more workers than allowed");
}

static void test_limits(pid_t vmm)
{
	unsigned int i;

	reset();
	w.owner = vmm;
	for (i = 0; i < LIMIT_BURST; i++)
		ask(VPD_REGISTER, CID, 1);
	ok(w.loads == LIMIT_BURST && !w.status, "a burst is loaded");
	ask(VPD_REGISTER, CID, 1);
	ok(w.loads == LIMIT_BURST && w.status == EAGAIN,
	   "then the guest has to wait");
	ask(VPD_REGISTER, CID + 1, 1);
	ok(w.loads == LIMIT_BURST + 1, "which is not another guest's problem");
	ask(VPD_GOODBYE, CID, 0);
	ok(!w.status, "and a goodbye is never limited");
	ok(!limit_take(&core.limit, CID, 2) &&
	   limit_take(&core.limit, CID, 2 + LIMIT_REFILL_NS) &&
	   !limit_take(&core.limit, CID, 2 + LIMIT_REFILL_NS),
	   "one more per interval");

	reset();
	w.owner = vmm;
	for (i = 0; i < STORE_MAX; i++)
		ask(VPD_REGISTER, 1000 + i, 1);
	ok(core.store.nr == STORE_MAX, "the store takes its maximum");
	ask(VPD_REGISTER, 5000, 1);
	ok(w.status == ENOSPC && core.store.nr == STORE_MAX, "and no more");
	ask(VPD_REGISTER, 1000, 9);
	ok(!w.status && store_find(&core.store, 1000)->layout[0] == 9,
	   "but still replaces");
}

static void test_load_only(void)
{
	reset();
	core.load_only = true;
	ask(VPD_REGISTER, CID, 1);
	ok(!w.status && !w.sets && !core.store.nr, "load only keeps nothing");
}

static void test_leaks(int before)
{
	int after;

	reset();
	after = open("/dev/null", O_RDONLY);
	close(after);
	if (!ok(after == before, "no descriptor was left open"))
		tap_note("the next one is %d, was %d", after, before);
}

int main(void)
{
	int fd = open("/dev/null", O_RDONLY);
	pid_t vmm, other;

	/* Their own lines would only confuse here. */
	dup2(fd, STDERR_FILENO);
	close(fd);
	vmm = vmm_new();
	other = vmm_new();
	test_closed(vmm);
	test_attached(vmm);
	test_stored(vmm, other);
	test_detach(vmm);
	test_refused_again(vmm);
	test_owner_exits();
	test_ownership(vmm, other);
	test_auto_attach(vmm, other);
	test_no_auto_attach(vmm);
	test_quarantine(vmm, other);
	test_goodbye(vmm);
	test_order(vmm);
	test_limits(vmm);
	test_load_only();
	vmm_kill(vmm);
	vmm_kill(other);
	test_leaks(fd);
	return tap_end();
}
