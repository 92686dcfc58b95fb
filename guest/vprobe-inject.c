// SPDX-License-Identifier: GPL-2.0-only
/*
 * vprobe-inject: tells the host how to see which memory of this guest is
 * free. Runs once at boot, registers, and exits; see vprobe-inject(8).
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "inject.h"

#ifndef VPROBE_VERSION
#error "VPROBE_VERSION comes from the Makefile"
#endif

/* In a tmpfs that no later kernel sees. */
#define STAMP		"/run/vprobe-inject.registered"
#define SECONDS_MAX	86400
#define TIMEOUT		120	/* a big guest takes time to fill */

enum { OPT_CID = 256, OPT_TIMEOUT, OPT_ONCE };

struct options {
	bool dump, goodbye, once;
	const char *output;
	unsigned int wait, timeout, cid;
};

const char *argp_program_version = "vprobe-inject " VPROBE_VERSION;
static bool is_verbose;

int refuse(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("vprobe-inject: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

void verbose(const char *fmt, ...)
{
	va_list ap;

	if (!is_verbose)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static const struct argp_option option_list[] = {
	{ "goodbye", 'g', NULL, 0,
	  "Tell the host that this kernel is about to go away", 0 },
	{ "wait", 'w', "SECONDS", 0,
	  "Try again that long while nobody answers or the host is busy", 0 },
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0,
	  "Wait that long for the answer to a request", 0 },
	{ "once", OPT_ONCE, NULL, 0,
	  "Do nothing if this boot has registered already", 0 },
	{ "dump", 'd', NULL, 0,
	  "Print what would be registered as JSON, and do not connect", 0 },
	{ "output", 'o', "FILE", 0,
	  "Write the message to FILE, and do not connect", 0 },
	{ "cid", OPT_CID, "CID", 0, "Connect to CID instead of the host", 0 },
	{ "verbose", 'v', NULL, 0, "Say more on the standard error", 0 },
	{ 0 }
};

static unsigned int parse_number(struct argp_state *state, const char *what,
				 const char *arg, unsigned long max)
{
	unsigned long val;
	char *end;

	errno = 0;
	val = strtoul(arg, &end, 10);
	if (errno || end == arg || *end || *arg == '-' || val > max)
		argp_error(state, "%s takes a number up to %lu, not '%s'",
			   what, max, arg);
	return val;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;

	switch (key) {
	case 'g':
		opt->goodbye = true;
		break;
	case 'w':
		opt->wait = parse_number(state, "--wait", arg, SECONDS_MAX);
		break;
	case OPT_TIMEOUT:
		opt->timeout = parse_number(state, "--timeout", arg,
					    SECONDS_MAX);
		break;
	case OPT_ONCE:
		opt->once = true;
		break;
	case 'd':
		opt->dump = true;
		break;
	case 'o':
		opt->output = arg;
		break;
	case OPT_CID:
		opt->cid = parse_number(state, "--cid", arg, 0xfffffffe);
		break;
	case 'v':
		is_verbose = true;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num || strcmp(arg, "goodbye"))
			argp_error(state, "do not know what to do with '%s'",
				   arg);
		opt->goodbye = true;
		break;
	case ARGP_KEY_END:
		if (opt->dump && (opt->goodbye || opt->output))
			argp_error(state,
				   "--dump goes with neither goodbye nor --output");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	option_list, parse_option, "[goodbye]",
	"Registers this guest's free page metadata with the host's vprobed.",
	NULL, NULL, NULL
};

/* Only what a kernel release may contain can get through as it is. */
static void print_json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
			printf("\\u%04x", *s);
		else
			putchar(*s);
	}
	putchar('"');
}

static int dump(const struct guest_facts *facts)
{
	const struct linux_buddy_layout *l = &facts->layout;

	printf("{\n  \"release\": ");
	print_json_string(facts->release);
	printf(",\n  \"helper\": { \"name\": \"%s\", \"insns\": %zu },\n",
	       helper_name(), helper_insn_cnt());
	printf("  \"btf\": \"%s\",\n",
	       facts->btf_checked ? "agrees" : "absent");
	printf("  \"layout\": {\n");
	printf("    \"bytes\": %zu,\n", sizeof(*l));
	printf("    \"pgd\": \"%#llx\",\n", l->pgd);
	printf("    \"levels\": %u,\n", l->levels);
	printf("    \"phys_mask\": \"%#llx\",\n", l->phys_mask);
	printf("    \"vmemmap\": \"%#llx\",\n", l->vmemmap);
	printf("    \"page_size\": %u,\n", l->page_size);
	printf("    \"off_refcount\": %u,\n", l->off_refcount);
	printf("    \"off_type\": %u,\n", l->off_type);
	printf("    \"off_order\": %u,\n", l->off_order);
	printf("    \"buddy_value\": \"%#x\",\n", l->buddy_value);
	printf("    \"buddy_mask\": \"%#x\",\n", l->buddy_mask);
	printf("    \"watch_order\": %u,\n", l->watch_order);
	printf("    \"max_order\": %u\n", l->max_order);
	printf("  }\n}\n");
	if (fflush(stdout) || ferror(stdout))
		return refuse(EXIT_SYSTEM, "cannot write: %s",
			      strerror(errno));
	return EXIT_OK;
}

static int write_output(const struct message *msg, const char *path)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "we") : stdout;
	bool bad;

	if (!f)
		return refuse(EXIT_SYSTEM, "cannot open %s: %s", path,
			      strerror(errno));
	bad = fwrite(msg->data, msg->len, 1, f) != 1;
	if (fflush(f))
		bad = true;
	if (bad)
		refuse(EXIT_SYSTEM, "cannot write %s: %s", path,
		       strerror(errno));
	if (f != stdout)
		fclose(f);
	return bad ? EXIT_SYSTEM : EXIT_OK;
}

static int find_facts(struct guest_facts *facts)
{
	struct kcore *kc;
	int code;

	code = guest_check();
	if (!code)
		code = kcore_open(&kc);
	if (code)
		return code;
	code = layout_find(kc, facts);
	kcore_close(kc);
	return code;
}

/* Only --once reads it, so a failure to write it is no failure. */
static void set_stamp(void)
{
	int fd;

	fd = open(STAMP, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		verbose("cannot create " STAMP ": %s", strerror(errno));
	else
		close(fd);
}

int main(int argc, char **argv)
{
	struct options opt = { .cid = VMADDR_CID_HOST, .timeout = TIMEOUT };
	struct guest_facts facts;
	struct message msg = { 0 };
	int code;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&parser, argc, argv, 0, NULL, &opt);

	if (opt.once && !opt.goodbye && !opt.dump && !access(STAMP, F_OK)) {
		verbose("this boot has registered already");
		return EXIT_OK;
	}
	if (opt.goodbye) {
		/* Also if nobody hears it: --once registers again then. */
		if (!opt.output)
			unlink(STAMP);
		code = message_goodbye(&msg);
	} else {
		code = find_facts(&facts);
		if (!code && opt.dump)
			return dump(&facts);
		if (!code)
			code = message_register(&msg, &facts);
	}
	if (!code && opt.output)
		code = write_output(&msg, opt.output);
	else if (!code)
		code = host_ask(&msg, opt.cid, opt.wait, opt.timeout);
	if (!code && !opt.output && !opt.goodbye)
		set_stamp();
	free(msg.data);
	return code;
}
