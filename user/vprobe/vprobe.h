/* SPDX-License-Identifier: GPL-2.0-only */
/* What the subcommands of vprobe share. */
#ifndef VPROBE_CLI_H
#define VPROBE_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "array.h"
#include "libvprobe.h"
#include "out.h"

#define EXIT_OK		0
#define EXIT_FAILED	1
#define EXIT_USAGE	2

/**
 * struct command - a subcommand
 * @name: as typed
 * @help: one line
 * @run: gets its own argv, with "vprobe NAME" as the first; returns an exit
 *	code
 */
struct command {
	const char *name;
	const char *help;
	int (*run)(int argc, char **argv);
};

int cmd_ls(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_reclaim(int argc, char **argv);
int cmd_fill(int argc, char **argv);
int cmd_free_map(int argc, char **argv);
int cmd_helper(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_quarantine(int argc, char **argv);
int cmd_release(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_version(int argc, char **argv);

/**
 * parse_args() - the options that every subcommand has, and its own
 * @argp: its own; may be without options and parser
 * @argc: from run()
 * @argv: likewise
 * @input: for its own parser
 *
 * Exits with EXIT_USAGE if they do not parse.
 */
void parse_args(const struct argp *argp, int argc, char **argv, void *input);

/**
 * usage_error() - argp_error(), in JSON if that was asked for
 * @state: of the parser, or NULL
 * @fmt: a sentence
 *
 * Exits with EXIT_USAGE.
 */
void usage_error(const struct argp_state *state, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* A parser's helpers: they exit with EXIT_USAGE and a sentence. */
uint32_t arg_u32(struct argp_state *state, const char *what, const char *arg);

/**
 * struct vm_args - of a subcommand that takes "VM [SIZE|all]"
 * @vm: as typed
 * @size: bytes, or VPROBE_ALL
 * @has_size: whether there was one
 */
struct vm_args {
	const char *vm;
	uint64_t size;
	bool has_size;
};

/* Parsers for "VM" and "VM [SIZE|all]"; input: struct vm_args. */
error_t parse_vm(int key, char *arg, struct argp_state *state);
error_t parse_vm_size(int key, char *arg, struct argp_state *state);

/* Open the device. Returns -1 after the message. */
int open_device(void);
/* Open the device and find a VM. Returns -1 after the message. */
int open_vm(const char *spec, struct vprobe_stat *stat);

/* What JSON has of an error, in an object that also says what was done. */
void error_fields(const struct vprobe_error *err);
/* A sentence on stderr, or an object with it in JSON. Returns EXIT_FAILED */
int fail(const struct vprobe_error *err);
/* The same after what was done is shown, in JSON with error_fields(). */
int fail_partly(const struct vprobe_error *err);

#endif
