/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Capabilities of the loader. They belong to a thread: a worker that lowers
 * its own does not touch those of the others.
 */
#ifndef VPROBED_CAPS_H
#define VPROBED_CAPS_H

/**
 * caps_limit() - keep what the daemon ever needs, drop the rest for good
 *
 * Return: 0, or a negative errno after a message that names what is missing
 */
int caps_limit(void);

/**
 * caps_bpf_only() - make CAP_BPF the only effective capability
 *
 * What is permitted stays. Verified before it returns, so that the kernel's
 * verifier runs in the mode that it has for loaders it does not trust.
 *
 * Return: 0 or a negative errno
 */
int caps_bpf_only(void);

/* Back to what the ioctls of /dev/vprobe need. Return: 0 or a negative errno */
int caps_normal(void);

#endif
