// SPDX-License-Identifier: GPL-2.0-only
/*
 * What rules a guest out before its memory is looked at: each refusal names
 * the reason and what to change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "inject.h"

#define LOCKDOWN	"/sys/kernel/security/lockdown"

/* As the kernel's kstrtobool(), and "enable", in case that one knows it. */
static bool is_true(const char *s, size_t len)
{
	if (!len)
		return false;
	if (strchr("yYtTeE1", *s))
		return true;
	return len >= 2 && (*s == 'o' || *s == 'O') &&
	       (s[1] == 'n' || s[1] == 'N');
}

/* To the next blank that is not in quotes: as the kernel's next_arg(). */
static size_t word_length(const char *s)
{
	bool quoted = false;
	size_t len;

	for (len = 0; s[len]; len++) {
		if (!quoted && strchr(" \t\n", s[len]))
			break;
		quoted ^= s[len] == '"';
	}
	return len;
}

/* As the kernel's parameqn(): a dash is as good as an underscore. */
static bool is_key(const char *s, const char *key)
{
	while (*key && (*s == *key || (*s == '-' && *key == '_'))) {
		s++;
		key++;
	}
	return !*key;
}

/* The last one counts; what follows "--" is for init. */
bool cmdline_poisons(const char *cmdline)
{
	static const char key[] = "page_poison=";
	const size_t klen = sizeof(key) - 1;
	bool on = false;

	while (*cmdline) {
		size_t len = word_length(cmdline);
		const char *end = cmdline + len, *val;

		if (len == 2 && !strncmp(cmdline, "--", 2))
			break;
		cmdline += *cmdline == '"';
		if (is_key(cmdline, key)) {
			val = cmdline + klen;
			val += *val == '"';
			on = is_true(val, val < end ? end - val : 0);
		}
		cmdline = end + strspn(end, " \t\n");
	}
	return on;
}

static bool cpu_has(const char *flag)
{
	char *info = read_file("/proc/cpuinfo", NULL), *line, *word, *save;
	bool found = false;

	if (!info)
		return false;
	line = strstr(info, "\nflags");
	if (line)
		line = strtok_r(line + 1, "\n", &save);
	for (word = line ? strtok_r(line, " \t:", &save) : NULL; word;
	     word = strtok_r(NULL, " \t:", &save))
		if (!strcmp(word, flag))
			found = true;
	free(info);
	return found;
}

static int check_lockdown(void)
{
	char *s = read_file(LOCKDOWN, NULL);
	int code = EXIT_OK;

	if (s && strstr(s, "[confidentiality]"))
		code = refuse_lockdown();
	free(s);
	return code;
}

static int check_poison(void)
{
	char *s = read_file("/proc/cmdline", NULL);
	int code = EXIT_OK;

	if (!s)
		return refuse(EXIT_NO_KCORE,
			      "cannot read /proc/cmdline (%s): mount /proc",
			      strerror(errno));
	if (cmdline_poisons(s))
		code = refuse(EXIT_POISON,
			      "this kernel fills free pages with a pattern and checks it (page_poison on its command line), while memory comes back from the host as zeroes: boot it without page_poison");
	free(s);
	return code;
}

int guest_check(void)
{
	struct utsname uts;
	int code;

	if (uname(&uts))
		return refuse(EXIT_SYSTEM, "uname: %s", strerror(errno));
	if (strcmp(uts.machine, "x86_64"))
		return refuse(EXIT_UNSUPPORTED,
			      "this guest is %s; only x86_64 guests are supported",
			      uts.machine);
	if (geteuid())
		return refuse(EXIT_PERMISSION,
			      "reading the kernel's layout takes root: run this as root");
	if (cpu_has("tdx_guest"))
		return refuse(EXIT_CONFIDENTIAL,
			      "this is a TDX guest: the host cannot read its page metadata");
	code = check_lockdown();
	if (!code)
		code = check_poison();
	return code;
}
