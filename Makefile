# SPDX-License-Identifier: GPL-2.0-only
#
# Everything is built and tested in a Debian 13 build root under
# $(XDG_CACHE_HOME:-~/.cache)/vprobe, with the kernels and root file systems
# of the testbed beside it. `make help` lists what can be made.

BED	:= tests/testbed
JOBS	:= $(shell nproc)
DESTDIR	?= /

# Run make in a folder, in the build root, with a host kernel as /kernel.
in_root	= $(BED)/enter -b "$$(kern/build-kernel $(1)):/kernel" \
	make --no-print-directory -j$(JOBS)
folders	:= bpf guest user
# What a host gets, and what its guests do.
dist_bpf   := dist
dist_user  := dist
dist_guest := dist-guest

help:
	@echo 'make demo            build all, boot, show three guests share too small a host'
	@echo 'make check           build all, run the tests'
	@echo 'make check LONG=1    and those that take long'
	@echo 'make check T=NAME    only tests/NAME.bats (several: T="a b")'
	@echo 'make check-debug     the same on a kernel with lockdep, KASAN, kmemleak'
	@echo 'make check-selftests the kernel'"'"'s KVM and IOMMUFD selftests, patched'
	@echo '                     and unpatched'
	@echo 'make lint            shellcheck, checkpatch, codespell, mandoc'
	@echo 'make shell           a shell on the testbed'"'"'s host (F=debug: debug kernel)'
	@echo 'make all             build only'
	@echo 'make install         copy what a host needs to DESTDIR (default: /)'
	@echo 'make install-guest   copy what a guest needs to DESTDIR'
	@echo 'make uninstall       remove it again; a changed configuration stays'
	@echo 'make clean           remove build/'
	@echo 'make clean-cache     remove the build root, kernels and images, too'
	@echo
	@echo 'As root. To build all takes 20 to 40 minutes on two cores the first time.'

all: setup modules-plain $(folders) guest-image host-tools

setup:
	@$(BED)/setup
	@mkdir -p build/dist

# The host kernel and all that is built from it.
kernel-%: setup
	@kern/build-kernel $* >/dev/null

modules-%: kernel-%
	@[ ! -e kern/vprobe/Kbuild ] || $(call in_root,$*) -C /src/kern \
		O=/src/build/kern/$* DESTDIR=/src/build/dist install

vmlinux: kernel-plain
	@$(call in_root,plain) -C /src/vmlinux O=/src/build/vmlinux all

$(folders): vmlinux
	@[ ! -e $@/Makefile ] || $(call in_root,plain) -C /src/$@ \
		O=/src/build/$@ DESTDIR=/src/build/$(dist_$@) install

guest user: bpf

# What is installed for packaging is always as it comes.
user: fresh-conf
fresh-conf:
	@rm -rf build/dist/etc

guest-image: guest
	@$(call in_root,plain) -C /src/tests/guest O=/src/build/tests \
		DIST=/src/build/dist-guest all

# What the tests run on the testbed's host.
host-tools: vmlinux
	@[ ! -e tests/host/Makefile ] || $(call in_root,plain) \
		-C /src/tests/host O=/src/build/tests/host all

images: guest-image
	@$(BED)/l1root >/dev/null
	@$(BED)/l2guests >/dev/null
	@$(BED)/l2debian

check: all images
	@tests/run -u $(if $(LONG),-l) $(T)

check-debug: all modules-debug images
	@tests/run -f debug $(if $(LONG),-l) $(T)

check-selftests: all modules-selftest images
	@tests/selftests

# Builds by itself: a build that fails is to be its last line, too.
demo:
	@tests/demo

lint: setup
	@$(call in_root,plain) -C /src/tests lint

F ?= plain
shell: all modules-$(F) images
	@$(BED)/l1 -f $(F) -o build/out/shell

# What runs keeps the file that it was started from: others are put beside it.
install-guest:
	@[ -d build/dist-guest/usr ] || { echo 'run "make all" first' >&2; exit 1; }
	@mkdir -p $(DESTDIR)
	cp -a --remove-destination build/dist-guest/usr $(DESTDIR)

install:
	@[ -d build/dist/usr ] || { echo 'run "make all" first' >&2; exit 1; }
	@mkdir -p $(DESTDIR)
	cp -a --remove-destination build/dist/usr $(DESTDIR)
	# An operator's own configuration stays as it is.
	[ -e $(DESTDIR)/etc/vprobe/vprobed.conf ] || \
		cp -a build/dist/etc $(DESTDIR)

# What both of them copied, by the list of what was built. A configuration that was
# changed stays. Not while it is in use here: what stops it would be gone.
uninstall: DEST = $(or $(abspath $(DESTDIR)),/)
uninstall:
	@[ -d build/dist-guest/usr ] || { echo 'run "make all" first' >&2; exit 1; }
	@[ $(DEST) != / ] || [ ! -e /sys/module/vprobe ] || { \
		echo 'the module vprobe is loaded; before this:'; \
		echo 'systemctl disable --now vprobed; vprobe policy unload --all;'; \
		echo 'vprobe detach all; modprobe -r vprobe'; \
		exit 1; } >&2
	@[ $(DEST) != / ] || ! find /etc/systemd/system -name 'vprobe*.service' \
		2>/dev/null | grep . || { \
		echo 'a service is enabled; before this: systemctl disable'; \
		echo 'vprobed on a host, vprobe-inject in a guest'; exit 1; } >&2
	@for d in build/dist build/dist-guest; do \
		cd $(CURDIR)/$$d && find usr ! -type d -printf '$(DEST)/%p\0' | \
			xargs -0 rm -fv || exit; \
		find usr -depth -type d -path '*vprobe*' -printf '$(DEST)/%p\0' | \
			xargs -0 rmdir --ignore-fail-on-non-empty 2>/dev/null; \
		done; :
	@rm -fv $(DEST)/usr/lib/modules/*/updates/vprobe.ko
	@cd build/dist && find etc -type f -exec sh -c \
		'! cmp -s "$$1" "$(DEST)/$$1" || rm -v "$(DEST)/$$1"' - {} \;
	@rmdir --ignore-fail-on-non-empty $(DEST)/etc/vprobe 2>/dev/null || :
	@[ $(DEST) != / ] || \
		echo 'and now: depmod on a host, update-initramfs -u in a guest'

clean:
	rm -rf build

clean-cache: clean
	@$(BED)/clean-cache

.PHONY: help all setup vmlinux $(folders) fresh-conf guest-image host-tools images check check-debug \
	check-selftests demo lint shell install install-guest uninstall clean clean-cache
