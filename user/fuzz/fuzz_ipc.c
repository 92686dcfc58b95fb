// SPDX-License-Identifier: GPL-2.0-only
/* Records from a talker that was taken over. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = malloc(size ? size : 1);
	const struct vpd_request *req = copy;
	const char *why;

	memcpy(copy, data, size);
	if (!vpd_request_check(copy, size, &why)) {
		assert(size == sizeof(*req) + req->layout_len +
			       8UL * req->insn_cnt);
		assert(req->type == VPD_READY || req->cid > 2);
		assert(req->type == VPD_REGISTER || !req->insn_cnt);
		assert(size <= VPD_REQUEST_MAX);
	}
	free(copy);
	return 0;
}
