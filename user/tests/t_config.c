// SPDX-License-Identifier: GPL-2.0-only
/* The configuration file: what is taken over, and what is said of mistakes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "tap.h"

static struct options opt;
static char why[1024];
static const char nobody[] = "nobody";

/* vprobed keeps its texts for as long as it runs. */
static void forget(void)
{
	if (opt.user != nobody)
		free((char *)(uintptr_t)opt.user);
	free((char *)(uintptr_t)opt.metrics);
	memset(&opt, 0, sizeof(opt));
}

static int read_bytes(const char *text, size_t len)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, len, "r");
	int ret;

	forget();
	opt.port = 22096;
	opt.user = nobody;
	why[0] = '\0';
	ret = config_read(f, "conf", &opt, why, sizeof(why));
	fclose(f);
	return ret;
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

/* The mistake is reported as @want. */
static void is_bad(const char *text, const char *want)
{
	int ret = read_text(text);

	if (!ok(ret == -EINVAL && !strncmp(why, want, strlen(want)),
		"mistake: %s", want))
		tap_note("got %d, \"%s\"", ret, why);
}

static void test_values(void)
{
	ok(!read_text("\n") && opt.port == 22096 && !strcmp(opt.user, "nobody"),
	   "nothing in it changes nothing");
	ok(!read_text("# port = 1\n  #x\n\n \t\n") && opt.port == 22096,
	   "comments and empty lines");
	ok(!read_text("port = 7000\nmetrics=/run/a b\n  talker-user =x \t\nverbose = yes") &&
	   opt.port == 7000 && !strcmp(opt.metrics, "/run/a b") &&
	   !strcmp(opt.user, "x") && opt.verbose, "every kind of value");
	ok(!read_text("attach = yes\nstray = fault\ngranule = 64K\nfill-timeout = 5000") &&
	   opt.attach && opt.how.stray_fault && opt.how.granule_shift == 16 &&
	   opt.how.fill_timeout_ms == 5000, "how VMs are attached");
	ok(!read_text("quarantine = yes\nquarantine-run-ms = 0\nquarantine-failsafes = 9") &&
	   opt.quarantine && !opt.limits.run_ms && opt.limits.failsafes == 9,
	   "when there is a quarantine");
	ok(!read_text("metrics = /run/a#b # c\n") &&
	   !strcmp(opt.metrics, "/run/a#b"), "a comment behind a value");
	ok(!read_text("port = 4294967294\r\n") && opt.port == 4294967294U,
	   "the largest port, and a line end of another system");
}

static void test_mistakes(void)
{
	is_bad("port = 0\n",
	       "conf:1: port is a number from 1024 to 4294967294, not \"0\"");
	is_bad("\n\nport = 4294967296\n", "conf:3: port is a number");
	is_bad("port = -1\n", "conf:1: port is a number");
	is_bad("port = 0x10\n", "conf:1: port is a number");
	is_bad("port = 5 6\n", "conf:1: port is a number");
	is_bad("port =\n", "conf:1: port is a number");
	is_bad("verbose = true\n",
	       "conf:1: verbose is \"yes\" or \"no\", not \"true\"");
	is_bad("stray = yes\n",
	       "conf:1: stray is \"absorb\" or \"fault\", not \"yes\"");
	is_bad("granule = 3M\n",
	       "conf:1: granule is a power of two from 64K to 32M, not \"3M\"");
	is_bad("fill-timeout = 999\n",
	       "conf:1: fill-timeout is a number from 1000 to 2147483647");
	is_bad("verify-timeout = 240001\n",
	       "conf:1: verify-timeout is a number from 1000 to 240000");
	is_bad("quarantine-raced-percent = 101\n",
	       "conf:1: quarantine-raced-percent is a number from 0 to 100");
	is_bad("quarantine-intervals = 0\n",
	       "conf:1: quarantine-intervals is a number from 1 to 1000");
	is_bad("metrics = # none\n", "conf:1: metrics has no value");
	is_bad("# x\nprot = 5\n",
	       "conf:2: there is no key \"prot\"; there are port, metrics, ");
	is_bad("verbose\n",
	       "conf:1: \"verbose\" is not of the form \"key = value\"");
	is_bad("[vprobed]\n", "conf:1: \"[vprobed]\" is not of the form");
	is_bad("= 5\n", "conf:1: there is no key \"\"");
	is_bad("verbose = no\nport = 5000\nverbose = no\n",
	       "conf:3: verbose was set in line 1 already");
	ok(read_bytes("port = 5\0\n", 10) == -EINVAL && strstr(why, "NUL byte"),
	   "mistake: a NUL byte");
}

static void test_files(void)
{
	ok(config_load("/nonexistent", &opt, why, sizeof(why)) == -ENOENT &&
	   !strcmp(why, "cannot open /nonexistent: No such file or directory"),
	   "a file that is not there");
	ok(config_load("/", &opt, why, sizeof(why)) < 0 && strstr(why, "/: "),
	   "a file that is none");
	memset(&opt, 0, sizeof(opt));
	ok(!config_load("vprobed/vprobed.conf", &opt, why, sizeof(why)) &&
	   !strcmp(opt.metrics, "/run/vprobed/metrics"),
	   "the one that comes along");
}

/* The lines of the shipped file that are commented out, as a file. */
static size_t shipped_defaults(char *text, size_t size)
{
	FILE *f = fopen("vprobed/vprobed.conf", "r");
	char line[256];
	size_t n = 0;

	text[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z')
			n += (size_t)snprintf(text + n, size - n, "%s",
					      line + 1);
	}
	if (f)
		fclose(f);
	return n;
}

static void test_shipped(void)
{
	static char text[4096];

	ok(shipped_defaults(text, sizeof(text)) > 100 && !read_text(text),
	   "the defaults that it shows are allowed");
	ok(opt.port == 22096 && opt.attach && opt.quarantine && !opt.verbose &&
	   !opt.how.stray_fault && opt.how.granule_shift == 21 &&
	   opt.how.fill_timeout_ms == 10000 &&
	   !memcmp(&opt.limits, &watchdog_defaults, sizeof(opt.limits)),
	   "and are the defaults");
}

int main(void)
{
	test_values();
	test_mistakes();
	test_files();
	test_shipped();
	forget();
	return tap_end();
}
