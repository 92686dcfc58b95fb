// SPDX-License-Identifier: GPL-2.0-only
/* Policies: files, knobs, links. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "policy.h"

/* The first thing that libbpf complained of, or what the verifier said. */
static char complaint[512];

/* The verifier's log ends with what is wrong, and "processed N insns ...". */
static void keep_verdict(char *log)
{
	char *end = strstr(log, "\nprocessed "), *line;

	if (!end)
		return;
	*end = 0;
	line = strrchr(log, '\n');
	snprintf(complaint, sizeof(complaint), "verifier: %s",
		 line ? line + 1 : log);
}

static int keep_complaint(enum libbpf_print_level level, const char *fmt,
			  va_list args)
{
	char *text = NULL;

	if (level != LIBBPF_WARN || vasprintf(&text, fmt, args) < 0)
		return 0;
	if (!complaint[0])
		snprintf(complaint, sizeof(complaint), "%s", text);
	if (strstr(text, "BEGIN PROG LOAD LOG"))
		keep_verdict(text);
	free(text);
	return 0;
}

static void slot_path(char *path, size_t len, const char *dir, uint64_t vm_id,
		      const char *ending)
{
	if (vm_id)
		snprintf(path, len, "%s/vm-%" PRIu64 "%s", dir, vm_id, ending);
	else
		snprintf(path, len, "%s/default%s", dir, ending);
}

int policy_lock(void)
{
	int fd;

	mkdir("/run/vprobe", 0755);
	mkdir(POLICY_NOTES, 0755);
	fd = open(POLICY_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	while (fd >= 0 && flock(fd, LOCK_EX) && errno == EINTR)
		;
	return fd;
}

/* What was loaded into a slot: an object, to be put, or NULL. */
static struct json_object *read_note(uint64_t vm_id)
{
	char path[PATH_MAX];

	slot_path(path, sizeof(path), POLICY_NOTES, vm_id, ".json");
	return json_object_from_file(path);
}

static void write_note(uint64_t vm_id, const char *file,
		       struct json_object *knobs)
{
	struct json_object *note = json_object_new_object();
	char path[PATH_MAX];

	slot_path(path, sizeof(path), POLICY_NOTES, vm_id, ".json");
	json_object_object_add(note, "file", json_object_new_string(file));
	json_object_object_add(note, "knobs", json_object_get(knobs));
	/* Without it only policy_set() does not work. */
	json_object_to_file(path, note);
	json_object_put(note);
}

static int find_file(const char *what, char *path, struct vprobe_error *err)
{
	char candidate[PATH_MAX];

	if (!strchr(what, '/') && !strstr(what, ".o"))
		snprintf(candidate, sizeof(candidate), "%s/%s.bpf.o",
			 POLICY_DIR, what);
	else
		snprintf(candidate, sizeof(candidate), "%s", what);
	if (!realpath(candidate, path))
		return vprobe_error_set(err, -errno,
			"cannot open the policy %s: %s", candidate,
			strerror(errno));
	return 0;
}

static struct bpf_map *ops_map(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			return map;
	return NULL;
}

/* The section that "const volatile" variables are in, and its contents. */
static void *rodata(struct bpf_object *obj, size_t *size)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		const char *dot = strchr(bpf_map__name(map), '.');

		if (dot && !strcmp(dot, ".rodata"))
			return bpf_map__initial_value(map, size);
	}
	return NULL;
}

static const struct btf_type *strip(const struct btf *btf,
				    const struct btf_type *t)
{
	while (btf_is_mod(t) || btf_is_typedef(t))
		t = btf__type_by_id(btf, t->type);
	return t;
}

static int set_value(void *at, size_t size, const char *name, const char *text,
		     struct vprobe_error *err)
{
	uint64_t value, most = size >= 8 ? UINT64_MAX : (1ULL << size * 8) - 1;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || *text < '0' || *text > '9' || value > most)
		return vprobe_error_set(err, -EINVAL,
			"the knob %s cannot be \"%s\": write a number from 0 to %" PRIu64,
			name, text, most);
	/* x86 is little endian. */
	memcpy(at, &value, size);
	return 0;
}

/* Find a knob in BTF, or add all names to @names. */
static int set_knob(struct bpf_object *obj, const char *name, const char *text,
		    struct vprobe_error *err)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf ? btf__find_by_name_kind(btf, ".rodata",
					      BTF_KIND_DATASEC) : -1;
	const struct btf_type *sec = id < 0 ? NULL : btf__type_by_id(btf, id);
	char names[256] = "";
	size_t size = 0, i;
	uint8_t *data = rodata(obj, &size);

	for (i = 0; data && sec && i < btf_vlen(sec); i++) {
		const struct btf_var_secinfo *v = &btf_var_secinfos(sec)[i];
		const struct btf_type *var = btf__type_by_id(btf, v->type);
		const struct btf_type *t =
			strip(btf, btf__type_by_id(btf, var->type));
		const char *var_name = btf__name_by_offset(btf, var->name_off);
		size_t len = strlen(names);

		if (!btf_is_int(t) || v->size > 8 || v->offset + v->size > size)
			continue;
		if (!strcmp(var_name, name))
			return set_value(data + v->offset, v->size, name, text,
					 err);
		snprintf(names + len, sizeof(names) - len, "%s%s",
			 len ? ", " : "", var_name);
	}
	return vprobe_error_set(err, -ENOENT, "the policy has no knob %s; it has %s",
				name, *names ? names : "none");
}

/* Checks that it is one of ours, and says which VM it is for. */
static int set_vm(struct bpf_object *obj, struct bpf_map *map, uint64_t vm_id,
		  struct vprobe_error *err)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf ? btf__find_by_name_kind(btf, "vprobe_policy_ops",
					      BTF_KIND_STRUCT) : -1;
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, id);
	uint8_t *ops = map ? bpf_map__initial_value(map, NULL) : NULL;
	size_t i;

	for (i = 0; ops && t && i < btf_vlen(t); i++) {
		const struct btf_member *m = &btf_members(t)[i];

		if (strcmp(btf__name_by_offset(btf, m->name_off), "vm_id"))
			continue;
		memcpy(ops + m->offset / 8, &vm_id, sizeof(vm_id));
		return 0;
	}
	return vprobe_error_set(err, -EINVAL,
		"the file holds no struct vprobe_policy_ops, so it is no policy");
}

static const char *first_line(void)
{
	complaint[strcspn(complaint, "\n")] = 0;
	return complaint;
}

static const char *why_refused(int ret, uint64_t vm_id)
{
	switch (ret) {
	case -ENOENT:
		return vm_id ? "the VM is gone" : strerror(-ret);
	case -ENODEV:
		return "the module vprobe is not loaded";
	case -ERANGE:
		return "its init() says that a knob is out of range, or that two do not go "
		       "together; see its file, or vprobe(1)";
	case -EINVAL:
		return "it needs a decide(), a name of 1 to 31 letters, digits, '-', '_' or '.', "
		       "and flags of 0; or its own init() returned an error";
	default:
		return strerror(-ret);
	}
}

/* Before it is linked, as it decides from then on. */
static int make_pins(struct vprobe_error *err)
{
	struct statfs fs;

	if (mkdir(POLICY_PINS, 0700) && errno != EEXIST)
		return vprobe_error_set(err, -errno, "cannot make %s: %s",
					POLICY_PINS, strerror(errno));
	if (statfs(POLICY_PINS, &fs) || fs.f_type != BPF_FS_MAGIC)
		return vprobe_error_set(err, -ENODEV,
			"%s is on no BPF file system, which keeps a policy in use; mount one: mount -t "
			"bpf -o mode=700 bpf /sys/fs/bpf",
			POLICY_PINS);
	return 0;
}

/*
 * The newest policy is the one that decides, so there is none without for a
 * moment: link the new one, put its pin in place of the old one's, end the old.
 */
static int attach(struct bpf_map *map, uint64_t vm_id, struct vprobe_error *err)
{
	char pin[PATH_MAX], fresh[PATH_MAX];
	struct bpf_link *link, *old;
	int ret;

	ret = make_pins(err);
	if (ret)
		return ret;
	slot_path(pin, sizeof(pin), POLICY_PINS, vm_id, "");
	slot_path(fresh, sizeof(fresh), POLICY_PINS, vm_id, "-new");
	link = bpf_map__attach_struct_ops(map);
	if (!link) {
		ret = -errno;
		return vprobe_error_set(err, ret, "the policy is refused: %s",
					why_refused(ret, vm_id));
	}
	unlink(fresh);
	ret = bpf_link__pin(link, fresh);
	if (ret) {
		vprobe_error_set(err, ret, "cannot pin the policy at %s: %s",
				 fresh, strerror(-ret));
		bpf_link__destroy(link);
		return ret;
	}
	old = bpf_link__open(pin);
	if (rename(fresh, pin)) {
		ret = vprobe_error_set(err, -errno,
				       "cannot pin the policy at %s: %s", pin,
				       strerror(errno));
		unlink(fresh);
		bpf_link__detach(link);
	} else if (old) {
		bpf_link__detach(old);
	}
	bpf_link__destroy(old);
	bpf_link__disconnect(link);
	bpf_link__destroy(link);
	return ret;
}

static int load_object(struct bpf_object *obj, uint64_t vm_id,
		       struct json_object *knobs, struct vprobe_error *err)
{
	struct bpf_map *map = ops_map(obj);
	int ret;

	ret = set_vm(obj, map, vm_id, err);
	if (ret)
		return ret;
	json_object_object_foreach(knobs, name, value) {
		ret = set_knob(obj, name, json_object_get_string(value), err);
		if (ret)
			return ret;
	}
	/* As with SEC(".struct_ops.link"), whatever the file says. */
	bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_LINK);
	complaint[0] = 0;
	ret = bpf_object__load(obj);
	if (ret)
		return vprobe_error_set(err, ret,
			"the kernel refuses the policy: %s: %s", strerror(-ret),
			first_line());
	return attach(map, vm_id, err);
}

int policy_load(const char *what, uint64_t vm_id, struct json_object *knobs,
		struct vprobe_error *err)
{
	struct bpf_object *obj;
	char path[PATH_MAX];
	int ret;

	ret = find_file(what, path, err);
	if (ret)
		return ret;
	libbpf_set_print(keep_complaint);
	complaint[0] = 0;
	obj = bpf_object__open_file(path, NULL);
	if (!obj)
		return vprobe_error_set(err, -errno,
			"%s is no BPF object: %s", path, first_line());
	ret = load_object(obj, vm_id, knobs, err);
	bpf_object__close(obj);
	if (!ret)
		write_note(vm_id, path, knobs);
	return ret;
}

int policy_set(uint64_t vm_id, struct json_object *knobs,
	       struct vprobe_error *err)
{
	struct json_object *note = read_note(vm_id), *file, *old;
	char pin[PATH_MAX];
	int ret;

	slot_path(pin, sizeof(pin), POLICY_PINS, vm_id, "");
	if (!note || access(pin, F_OK) || !json_object_object_get_ex(note, "file", &file) ||
	    !json_object_object_get_ex(note, "knobs", &old)) {
		json_object_put(note);
		return vprobe_error_set(err, -ENOENT,
			"no policy was loaded there with 'vprobe policy load'");
	}
	json_object_object_foreach(knobs, name, value)
		json_object_object_add(old, name, json_object_get(value));
	ret = policy_load(json_object_get_string(file), vm_id, old, err);
	json_object_put(note);
	return ret;
}

/* End the link at @pin; @note goes with it. */
static int unload(const char *pin, const char *note, struct vprobe_error *err)
{
	struct bpf_link *link = bpf_link__open(pin);
	int ret;

	if (!link)
		return vprobe_error_set(err, -errno, errno == ENOENT ?
			"no policy was loaded there with 'vprobe policy load'" :
			"cannot unload the policy: %s", strerror(errno));
	/* The pin alone would end it some time later. */
	ret = bpf_link__detach(link);
	bpf_link__destroy(link);
	if (ret)
		return vprobe_error_set(err, ret, "cannot unload the policy: %s",
					strerror(-ret));
	unlink(pin);
	unlink(note);
	return 0;
}

int policy_unload(uint64_t vm_id, struct vprobe_error *err)
{
	char pin[PATH_MAX], note[PATH_MAX];

	slot_path(pin, sizeof(pin), POLICY_PINS, vm_id, "");
	slot_path(note, sizeof(note), POLICY_NOTES, vm_id, ".json");
	return unload(pin, note, err);
}

int policy_unload_all(unsigned int *nr, struct vprobe_error *err)
{
	char pin[PATH_MAX], note[PATH_MAX];
	DIR *dir = opendir(POLICY_PINS);
	struct dirent *e;
	int ret = 0;

	if (!dir && errno != ENOENT)
		return vprobe_error_set(err, -errno, "cannot open %s: %s",
					POLICY_PINS, strerror(errno));
	while (!ret && dir && (e = readdir(dir))) {
		if (*e->d_name == '.')
			continue;
		snprintf(pin, sizeof(pin), "%s/%s", POLICY_PINS, e->d_name);
		snprintf(note, sizeof(note), "%s/%s.json", POLICY_NOTES,
			 e->d_name);
		ret = unload(pin, note, err);
		*nr += !ret;
	}
	if (dir)
		closedir(dir);
	return ret;
}
