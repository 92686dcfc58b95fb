#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Boots unmodified guest kernels under plain emulation and looks at what the
# injector and the helper make of each: the layout has to be complete, the
# helper's counts have to be those of /proc/buddyinfo, with four and with five
# levels of page tables and with memory far behind a gap, and what cannot be
# supported has to be refused.
#
# usage: in_guest.sh BUILD_DIR WORKDIR VMLINUZ...
set -u

build=$1 dir=$2
shift 2
failed=0
qemu=${QEMU:-qemu-system-x86_64}
busybox=${BUSYBOX:-$(command -v busybox)}

make_initramfs()
{
	local root=$dir/root

	rm -rf "$root"
	mkdir -p "$root"/{bin,etc,proc,sys,run} || exit 1
	cp "$busybox" "$root/bin/busybox" || exit 1
	cp "$build"/{vprobe-inject,kcore_buddy} "$root/bin/" || exit 1
	echo 'user:x:1000:1000::/:/bin/sh' > "$root/etc/passwd"
	cat > "$root/init" <<-'EOF'
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	echo "release: $(uname -r)"
	vprobe-inject --dump
	echo "dump: exit $?"
	sleep 1
	kcore_buddy
	echo "buddy: exit $?"
	su user -c vprobe-inject
	echo "user: exit $?"
	vprobe-inject
	echo "connect: exit $?"
	poweroff -f
	EOF
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 \
		> "$dir/initrd" || exit 1
}

# boot NAME VMLINUZ APPEND QEMU_OPTION...; then expect and expect_not
boot()
{
	name=$1 log=$dir/$1.log
	timeout 300 "$qemu" -accel tcg -machine q35 -nodefaults -nographic \
		-serial stdio -no-reboot -kernel "$2" -initrd "$dir/initrd" \
		-append "console=ttyS0 panic=-1 quiet $3" "${@:4}" \
		< /dev/null > "$log" 2>&1
	echo "# $name: $(grep -ao 'release: .*' "$log" | tr -d '\r')"
}

expect()
{
	local text

	for text; do
		grep -aq "$text" "$log" && continue
		echo "not ok: $name: no '$text' in $log"
		failed=1
	done
}

[ $# -gt 0 ] || { echo "in_guest.sh: no kernel to boot"; exit 1; }
make_initramfs
for kernel; do
	boot "${kernel##*/}" "$kernel" "" -m 1G -cpu EPYC
	expect '"levels": 4' '"btf": "agrees"' '"max_order": ' \
		'dump: exit 0' 'ok: helper and buddyinfo' 'buddy: exit 0' \
		'user: exit 3' 'connect: exit 9'
done
# What follows does not depend on the version: the last one will do.
boot five-levels "$kernel" "" -m 1G -cpu max,la57=on
expect '"levels": 5' 'dump: exit 0' 'buddy: exit 0'
boot gap "$kernel" memhp_default_state=online -cpu EPYC \
	-m 1G,slots=2,maxmem=64G -object memory-backend-ram,id=m1,size=1G \
	-device pc-dimm,memdev=m1,addr=0x800000000
expect 'dump: exit 0' 'buddy: exit 0'
boot poison "$kernel" page_poison=1 -m 512M -cpu EPYC
expect 'page_poison' 'dump: exit 7' 'connect: exit 7'
boot lockdown "$kernel" lockdown=confidentiality -m 512M -cpu EPYC
expect 'locked down' 'dump: exit 5' 'connect: exit 5'

[ $failed = 0 ] && echo "ok: injector and helper in guests"
exit $failed
