// SPDX-License-Identifier: GPL-2.0-only
/* Filling struct vprobe_error. */
#include <stdarg.h>
#include <stdio.h>

#include "libvprobe.h"

int vprobe_error_set(struct vprobe_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	err->reason = VPROBE_REASON_NONE;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}
