// SPDX-License-Identifier: GPL-2.0-only
/* What /proc/pressure/memory says. */
#include "pressure.h"
#include "tap.h"

static void is(const char *text, bool want_ok, unsigned int want)
{
	unsigned int got = 0;
	bool ret = pressure_parse(text, &got);

	if (!ok(ret == want_ok && got == want, "pressure \"%.24s\"", text))
		tap_note("got %d, %u, want %d, %u", ret, got, want_ok, want);
}

int main(void)
{
	is("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull ...", true, 0);
	is("some avg10=12.34 avg60=1.00 avg300=0.00 total=5", true, 1234);
	is("some avg10=100.00 avg60=1.00 avg300=0.00 total=5", true, 10000);
	is("some avg10=0.07 avg60=1.00", true, 7);
	is("", false, 0);
	is("full avg10=1.00", false, 0);
	is("some avg10=101.00", false, 0);
	is("some avg10=", false, 0);
	return tap_end();
}
