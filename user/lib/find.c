// SPDX-License-Identifier: GPL-2.0-only
/* From what an operator writes to an attached VM. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libvprobe.h"

enum spec_kind { SPEC_ID, SPEC_PID, SPEC_NAME, SPEC_BAD };

static enum spec_kind parse_number(const char *s, enum spec_kind kind,
				   uint64_t *num)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return SPEC_BAD;
	errno = 0;
	*num = strtoull(s, &end, 10);
	return errno || *end ? SPEC_BAD : kind;
}

static enum spec_kind parse_spec(const char *spec, uint64_t *num)
{
	if (!strncmp(spec, "id:", 3))
		return parse_number(spec + 3, SPEC_ID, num);
	if (!strncmp(spec, "pid:", 4))
		return parse_number(spec + 4, SPEC_PID, num);
	if (*spec && spec[strspn(spec, "0123456789")] == '\0')
		return parse_number(spec, SPEC_ID, num);
	return *spec ? SPEC_NAME : SPEC_BAD;
}

bool vprobe_is_name(const char *text)
{
	uint64_t num;

	return strcmp(text, "all") && parse_spec(text, &num) == SPEC_NAME;
}

static bool matches(const struct vprobe_stat *st, enum spec_kind kind,
		    uint64_t num, const char *name)
{
	if (kind == SPEC_PID)
		return st->pid == num;
	return !strcmp(st->name, name);
}

static int search(int dev, const char *spec, enum spec_kind kind, uint64_t num,
		  struct vprobe_stat *stat, struct vprobe_error *err)
{
	struct vprobe_stat *stats;
	unsigned int found = 0;
	size_t nr, i;
	int ret;

	ret = vprobe_dev_stat_all(dev, &stats, &nr, err);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		if (matches(&stats[i], kind, num, spec)) {
			*stat = stats[i];
			found++;
		}
	}
	free(stats);
	if (!found)
		return vprobe_error_set(err, -ENOENT,
			"no attached VM has the %s \"%s\"; 'vprobe ls' shows those that there are",
			kind == SPEC_PID ? "process id" : "name",
			kind == SPEC_PID ? spec + 4 : spec);
	if (found > 1)
		return vprobe_error_set(err, -EEXIST,
			"%u attached VMs match \"%s\"; give the id that 'vprobe ls' shows",
			found, spec);
	return 0;
}

int vprobe_find_vm(int dev, const char *spec, struct vprobe_stat *stat,
		   struct vprobe_error *err)
{
	struct vprobe_stat st;
	enum spec_kind kind;
	uint64_t num = 0;
	int ret;

	kind = parse_spec(spec, &num);
	switch (kind) {
	case SPEC_BAD:
		return vprobe_error_set(err, -EINVAL,
			"\"%s\" is no VM; give the id or the name that 'vprobe ls' shows, or pid:N",
			spec);
	case SPEC_ID:
		ret = vprobe_dev_stat(dev, num, &st, err);
		if (ret && err && err->reason == VPROBE_REASON_NO_VM) {
			vprobe_error_set(err, ret,
					 "no attached VM has the id %llu; 'vprobe ls' shows those that there are (a process id is written pid:%llu)",
					 (unsigned long long)num,
					 (unsigned long long)num);
			err->reason = VPROBE_REASON_NO_VM;
		}
		break;
	default:
		ret = search(dev, spec, kind, num, &st, err);
	}
	if (!ret && stat)
		*stat = st;
	return ret;
}
