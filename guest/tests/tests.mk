# SPDX-License-Identifier: GPL-2.0-only

# Static programs that tests put into a guest's initramfs.
GUEST_TESTS := $(O)/kcore_buddy $(O)/fake_vprobed
TEST_LIB := $(patsubst %,$(O)/%.o,file kcore vmcoreinfo btf layout)
UNIT_SRC := tests/unit_test.c $(patsubst %,%.c,file vmcoreinfo btf kcore guest)

CLANG	?= $(firstword $(foreach c,clang clang-19 clang-18 clang-16,\
		$(shell command -v $(c))))
MULTIARCH := $(shell $(CC) -print-multiarch)

check: all tests $(O)/unit_test
	$(O)/unit_test
	tests/flatten_test.sh $(O)/flatten "$(CLANG)" $(O)/flatten_test \
		-I/usr/include/$(MULTIARCH)
	tests/options_test.sh $(O)/vprobe-inject $(O)/options_test
	@if command -v mandoc >/dev/null; then \
		mandoc -Tlint -Wwarning vprobe-inject.8; fi
	@if command -v shellcheck >/dev/null; then shellcheck \
		initramfs-tools/hooks/vprobe tests/*.sh \
		initramfs-tools/scripts/init-bottom/vprobe \
		systemd-sleep/vprobe-inject; fi

# Takes KERNELS="VMLINUZ...", busybox-static, QEMU and half a minute for each.
check-guests: all tests
	tests/in_guest.sh $(O) $(O)/in_guest $(KERNELS)

tests: $(GUEST_TESTS)

$(O)/kcore_buddy: tests/kcore_buddy.c $(TEST_LIB) \
		../bpf/helpers/linux_buddy.bpf.c
	$(CC) $(CPPFLAGS) -I../bpf/tests/native $(CFLAGS) $(WARN) \
		-static $< $(TEST_LIB) -o $@

$(O)/fake_vprobed: tests/fake_vprobed.c vprobe_wire.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(WARN) -static $< -o $@

$(O)/unit_test: $(UNIT_SRC) inject.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -O1 -g $(WARN) -fsanitize=address,undefined \
		-fno-sanitize-recover=all $(UNIT_SRC) -o $@

.PHONY: tests check-guests
