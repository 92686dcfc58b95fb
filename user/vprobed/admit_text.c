// SPDX-License-Identifier: GPL-2.0-only
/* The sentences of admission; they end up in a guest's log. */
#include <stdio.h>

#include "admit.h"

static const struct {
	const char *name;
	const char *text;
} reasons[__ADMIT_MAX] = {
	[ADMIT_OK] = { "admitted", "the message is well formed" },
	[ADMIT_TRUNCATED] = { "truncated",
		"the message ends before the length that its header announces",
	},
	[ADMIT_MAGIC] = { "bad-magic",
		"the header does not start with the V-Probe magic number",
	},
	[ADMIT_VERSION] = { "bad-version",
		"the host speaks another version of the protocol; install the injector of the same release",
	},
	[ADMIT_TYPE] = { "bad-type",
		"the header's type is none that a guest may send",
	},
	[ADMIT_TOO_LONG] = { "too-long",
		"the message is longer than the largest registration",
	},
	[ADMIT_LENGTH] = { "bad-length",
		"the header's length does not fit what the message says that it holds",
	},
	[ADMIT_RESERVED] = { "reserved",
		"a reserved field of the header is not zero",
	},
	[ADMIT_TEXT] = { "bad-text",
		"the name or the release is not printable ASCII padded with NULs",
	},
	[ADMIT_LAYOUT_LEN] = { "bad-layout-length",
		"the layout is larger than 4096 bytes or not a multiple of 8",
	},
	[ADMIT_INSN_CNT] = { "bad-instruction-count",
		"the program is empty or longer than 4096 instructions",
	},
	[ADMIT_EVENT] = { "bad-event", "the notice's event is unknown" },
	[ADMIT_INSN_OP] = { "bad-operation",
		"the operation is not one that helpers may use",
	},
	[ADMIT_INSN_FIELDS] = { "bad-fields",
		"a field that this operation does not use is not zero, or has a value that it cannot have",
	},
	[ADMIT_REGISTER] = { "bad-register", "there is no such register" },
	[ADMIT_WRITE_FP] = { "writes-r10",
		"it writes the frame pointer r10, which is read-only",
	},
	[ADMIT_ATOMIC] = { "atomic",
		"helpers may not use atomic operations",
	},
	[ADMIT_PACKET] = { "packet-access",
		"helpers may not use the packet loads LD_ABS and LD_IND",
	},
	[ADMIT_MAP] = { "map-reference",
		"it refers to a map, a kernel variable or a callback; only plain 64-bit constants are possible",
	},
	[ADMIT_MAY_GOTO] = { "may-goto",
		"helpers may not use conditional pseudo jumps, their loops must end by themselves",
	},
	[ADMIT_HELPER_CALL] = { "helper-call",
		"it calls a kernel helper; only the calls of vprobe_helper.h are possible",
	},
	[ADMIT_LOCAL_CALL] = { "local-call",
		"it calls a function of its own; helpers are one function, the compiler has to inline all others",
	},
	[ADMIT_UNKNOWN_CALL] = { "unknown-call",
		"it calls a function that vprobe_helper.h does not have",
	},
	[ADMIT_JUMP_RANGE] = { "jump-range",
		"its target is outside the program",
	},
	[ADMIT_JUMP_MIDDLE] = { "jump-middle",
		"its target is the second half of a 64-bit load",
	},
	[ADMIT_LD64_CUT] = { "load-cut",
		"the second half of the 64-bit load is missing",
	},
	[ADMIT_LAST_INSN] = { "falls-off",
		"the last instruction is neither an exit nor a jump",
	},
};

const char *admit_reason_name(enum admit_reason reason)
{
	if ((unsigned int)reason >= __ADMIT_MAX || !reasons[reason].name)
		return "unknown";
	return reasons[reason].name;
}

const char *admit_reason_text(enum admit_reason reason)
{
	if ((unsigned int)reason >= __ADMIT_MAX || !reasons[reason].text)
		return "the reason is unknown";
	return reasons[reason].text;
}

void admit_explain(struct admit_verdict v, char *buf, size_t size)
{
	if (v.insn == ADMIT_NO_INSN)
		snprintf(buf, size, "refused: %s",
			 admit_reason_text(v.reason));
	else
		snprintf(buf, size, "refused: instruction %u: %s", v.insn,
			 admit_reason_text(v.reason));
}
