// SPDX-License-Identifier: GPL-2.0-only
/* Command lines: any local user may start a process with any of them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libvprobe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	char name[VPROBE_NAME_LEN];
	size_t i;

	memcpy(copy, data, size);
	vprobe_cmdline_cid(copy, size);
	vprobe_cmdline_name(copy, size, name);
	assert(strnlen(name, sizeof(name)) < sizeof(name));
	for (i = 0; name[i]; i++)
		assert(name[i] >= 0x20 && name[i] < 0x7f);
	free(copy);
	return 0;
}
