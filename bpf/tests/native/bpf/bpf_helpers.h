/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for libbpf's header of this name where a helper's source is
 * compiled as ordinary C, to be run against memory that a test made up.
 */
#ifndef NATIVE_BPF_HELPERS_H
#define NATIVE_BPF_HELPERS_H

#define SEC(...)	__attribute__((used))
#define __ksym
#undef __always_inline
#define __always_inline	inline

#endif
