/* SPDX-License-Identifier: GPL-2.0-only */
/* Giving up what the talker must not have. */
#ifndef VPROBED_SANDBOX_H
#define VPROBED_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * sandbox_enter() - for good: root directory, user, capabilities, system calls
 * @dir: a directory that can be written to; an empty one is made in it,
 *	entered and removed
 * @uid: user to become, if this is root
 * @gid: group to become
 * @filter: whether to filter system calls, too
 *
 * Logs what failed. Return: 0 or a negative errno; the caller must exit then.
 */
int sandbox_enter(const char *dir, uid_t uid, gid_t gid, bool filter);

#endif
