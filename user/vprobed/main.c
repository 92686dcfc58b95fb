// SPDX-License-Identifier: GPL-2.0-only
/* vprobed: hears what guests register, and loads it. */
#include <argp.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admit.h"
#include "config.h"
#include "daemon.h"
#include "log.h"

#ifndef VPROBE_VERSION
#error "the Makefile sets VPROBE_VERSION"
#endif
#ifndef VPROBED_CONFIG
#error "the Makefile sets VPROBED_CONFIG"
#endif

#define EXIT_USAGE 2

enum { OPT_RUNTIME = 256, OPT_USER, OPT_PORT, OPT_CHECK, OPT_ONESHOT, OPT_VM,
	OPT_NO_SECCOMP, OPT_TALKER, OPT_METRICS, OPT_CONFIG,
	OPT_NO_ATTACH, OPT_NO_QUARANTINE, OPT_VERIFY };

struct args {
	struct options opt;
	const char *check;
	const char *talker;
};

static const struct argp_option argp_options[] = {
	{ "verbose", 'v', NULL, 0, "Also log what is no news", 0 },
	{ "foreground", 'f', NULL, 0,
	  "Stay in the foreground: the default, and the only way it runs", 0 },
	{ "config", OPT_CONFIG, "FILE", 0,
	  "Read FILE instead of " VPROBED_CONFIG "; what is given here wins", 0 },
	{ "port", OPT_PORT, "N", 0, "vsock port to listen on (22096)", 0 },
	{ "verify-timeout", OPT_VERIFY, "MS", 0,
	  "How long the host kernel's verifier may take for a helper (60000)", 0 },
	{ "no-attach", OPT_NO_ATTACH, NULL, 0,
	  "Do not attach VMs whose guests register", 0 },
	{ "no-quarantine", OPT_NO_QUARANTINE, NULL, 0,
	  "Do not put VMs in quarantine whose helpers misbehave", 0 },
	{ "metrics", OPT_METRICS, "PATH", 0,
	  "Serve OpenMetrics on a unix socket at PATH, to root", 0 },
	{ "runtime-dir", OPT_RUNTIME, "DIR", 0,
	  "Where the talker's empty root directory is made, and removed again ($RUNTIME_DIRECTORY, or /run)",
	  0 },
	{ "talker-user", OPT_USER, "NAME", 0,
	  "Whom the part that hears guests becomes (nobody)", 0 },
	{ "no-seccomp", OPT_NO_SECCOMP, NULL, 0,
	  "Do not filter the system calls of that part, for kernels that cannot", 0 },
	{ "check", OPT_CHECK, "FILE", 0,
	  "Say whether the message in FILE would be admitted, and exit; needs no rights", 0 },
	{ "oneshot-file", OPT_ONESHOT, "FILE", 0,
	  "Handle the message in FILE as if a guest had sent it, and exit; without --vm, only load it",
	  0 },
	{ "vm", OPT_VM, "VM", 0, "The VM of --oneshot-file", 0 },
	{ "talker", OPT_TALKER, "ARG", OPTION_HIDDEN, NULL, 0 },
	{ 0 }
};

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'v':
		a->opt.verbose = true;
		break;
	case 'f':
		break;
	case OPT_PORT:
		if (!config_number(arg, VPROBE_VSOCK_RESERVED, UINT32_MAX - 1,
				   &a->opt.port))
			argp_error(state,
				   "\"%s\" is no vsock port from %u to %u",
				   arg, VPROBE_VSOCK_RESERVED, UINT32_MAX - 1);
		break;
	case OPT_VERIFY:
		if (!config_number(arg, LOAD_MS_MIN, LOAD_MS_MAX,
				   &a->opt.load_ms))
			argp_error(state,
				   "\"%s\" is no time from %u to %u milliseconds",
				   arg, LOAD_MS_MIN, LOAD_MS_MAX);
		break;
	case OPT_CONFIG:
		a->opt.config = arg;
		break;
	case OPT_NO_ATTACH:
		a->opt.attach = false;
		break;
	case OPT_NO_QUARANTINE:
		a->opt.quarantine = false;
		break;
	case OPT_METRICS:
		/* It would be a socket that has no file, and no owner. */
		if (!*arg)
			argp_error(state, "--metrics needs a path");
		a->opt.metrics = arg;
		break;
	case OPT_RUNTIME:
		a->opt.runtime_dir = arg;
		break;
	case OPT_USER:
		a->opt.user = arg;
		break;
	case OPT_NO_SECCOMP:
		a->opt.no_seccomp = true;
		break;
	case OPT_CHECK:
		a->check = arg;
		break;
	case OPT_ONESHOT:
		a->opt.oneshot_file = arg;
		break;
	case OPT_VM:
		a->opt.vm = arg;
		break;
	case OPT_TALKER:
		a->talker = arg;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", arg);
		break;
	case ARGP_KEY_END:
		if (a->opt.vm && !a->opt.oneshot_file)
			argp_error(state, "--vm goes with --oneshot-file");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int check_file(const char *name)
{
	static uint8_t buf[ADMIT_MAX_BYTES + 1];
	struct admit_message msg;
	struct admit_verdict v;
	char text[256];
	size_t len;
	FILE *f;

	f = fopen(name, "rb");
	if (!f) {
		fprintf(stderr, "vprobed: cannot open %s: %s\n", name,
			strerror(errno));
		return 1;
	}
	len = fread(buf, 1, sizeof(buf), f);
	if (ferror(f)) {
		fprintf(stderr, "vprobed: cannot read %s: %s\n", name,
			strerror(errno));
		fclose(f);
		return 1;
	}
	fclose(f);
	v = admit_message(buf, len, &msg);
	if (!v.reason) {
		printf("%s: admitted\n", name);
		return 0;
	}
	admit_explain(v, text, sizeof(text));
	printf("%s: %s [%s]\n", name, text, admit_reason_name(v.reason));
	return 1;
}

static int find_user(struct options *opt)
{
	const struct passwd *pw = getpwnam(opt->user);

	if (!pw) {
		log_msg(LOG_ERR,
			"there is no user \"%s\" for the talker; create it, or name another one (talker-user in the configuration file, or --talker-user)",
			opt->user);
		return -1;
	}
	if (!pw->pw_uid) {
		log_msg(LOG_ERR, "the talker must not run as root");
		return -1;
	}
	opt->uid = pw->pw_uid;
	opt->gid = pw->pw_gid;
	return 0;
}

/* Exits with EXIT_USAGE if there is a mistake in it. */
static void read_config(struct options *opt)
{
	char why[1024];
	int ret;

	ret = config_load(opt->config ? opt->config : VPROBED_CONFIG, opt, why,
			  sizeof(why));
	if (!ret || (ret == -ENOENT && !opt->config))
		return;
	fprintf(stderr, "vprobed: %s\n", why);
	exit(EXIT_USAGE);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse_opt,
		.doc = "Hears over vsock what guests register, attaches their VMs, and loads it for them.\v"
		       "It stays in the foreground. Exit codes: 0 done, 1 failed, 2 usage.",
	};
	const char *dir = getenv("RUNTIME_DIRECTORY");
	struct args args = {
		.opt = {
			.runtime_dir = dir ? dir : "/run",
			.user = "nobody",
			.port = VPROBE_VSOCK_PORT,
			.load_ms = LOAD_MS_DEFAULT,
			.attach = true,
			.quarantine = true,
			.limits = watchdog_defaults,
		},
	};
	struct args first = args;

	argp_err_exit_status = EXIT_USAGE;
	argp_program_version = "vprobed " VPROBE_VERSION;
	if (argp_parse(&argp, argc, argv, 0, NULL, &first))
		return EXIT_USAGE;
	if (first.talker)
		return talker_main(first.talker);
	if (first.check)
		return check_file(first.check);
	/* Once more, on top of what the file says: the command line wins. */
	args.opt.config = first.opt.config;
	read_config(&args.opt);
	if (argp_parse(&argp, argc, argv, 0, NULL, &args))
		return EXIT_USAGE;
	log_init("vprobed", args.opt.verbose);
	if (find_user(&args.opt))
		return EXIT_USAGE;
	return daemon_run(&args.opt);
}
