/* SPDX-License-Identifier: GPL-2.0-only */
/* For all of user space; not installed. */
#ifndef VPROBE_ARRAY_H
#define VPROBE_ARRAY_H

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
