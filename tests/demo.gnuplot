# SPDX-License-Identifier: GPL-2.0-only
#
# From /out/samples (see testbed/l1-demo) to /out/memory.svg.

set terminal svg size 960,540 dynamic background '#ffffff' font 'sans-serif,13'
set output '/out/memory.svg'
set title 'Three guests of 2 GiB with passthrough on a host of 4 GiB'
set xlabel 'seconds (emulated: only the shape says something)'
set ylabel 'GiB'
set yrange [0:6.5]
set ytics 1
set grid ytics lc '#dddddd'
set key outside right center reverse Left
gib(x) = x / 1024.0
size_of(x) = x > 0 ? 2 : 0
set style data lines
plot '/out/samples' \
	using 1:(size_of($4) + size_of($5) + size_of($6)) lw 2 dt 2 lc '#888888' \
		title 'sum of the guests'' sizes', \
	'' using 1:(gib($2)) lw 2 lc '#000000' title 'the host''s memory', \
	'' using 1:(gib($3)) lw 3 lc '#d62728' title 'in use on the host', \
	'' using 1:(gib($4)) lw 1.5 lc '#1f77b4' title 'behind guest one', \
	'' using 1:(gib($5)) lw 1.5 lc '#2ca02c' title 'behind guest two', \
	'' using 1:(gib($6)) lw 1.5 lc '#9467bd' title 'behind guest three'
