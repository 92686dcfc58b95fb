// SPDX-License-Identifier: GPL-2.0-only
/* See Documentation/accounting/psi.rst of the kernel for the interface. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libvprobe.h"
#include "log.h"
#include "pressure.h"

#define PSI	"/proc/pressure/memory"
/* 150 ms within 2 s, the shortest window without CAP_SYS_RESOURCE. */
#define TRIGGER	"some 150000 2000000"

void pressure_open(struct pressure *p)
{
	*p = (struct pressure){ .fd = -1 };
	p->fd = open(PSI, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (p->fd >= 0 &&
	    write(p->fd, TRIGGER, sizeof(TRIGGER)) == sizeof(TRIGGER))
		return;
	log_msg(LOG_WARNING,
		"cannot follow memory pressure (%s: %s): policies do not hear of it",
		PSI, strerror(errno));
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

bool pressure_due(const struct pressure *p, uint64_t now_ms)
{
	return p->told && now_ms - p->told_ms >= PRESSURE_AGAIN_MS;
}

bool pressure_parse(const char *text, unsigned int *pressure)
{
	unsigned int whole, part;

	if (sscanf(text, "some avg10=%u.%2u", &whole, &part) != 2 ||
	    whole > 100 || part > 99)
		return false;
	*pressure = whole * 100 + part;
	return true;
}

static unsigned int read_pressure(void)
{
	unsigned int pressure = 0;
	char text[256] = "";
	int fd = open(PSI, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0 || !pressure_parse(text, &pressure))
		return 0;
	return pressure;
}

void pressure_tell(struct pressure *p, int dev, uint64_t now_ms, bool event)
{
	unsigned int pressure = read_pressure();
	struct vprobe_error err;

	/* The average is up to two seconds older than the event. */
	if (event && !pressure)
		pressure = 1;
	if (pressure > 10000)
		pressure = 10000;
	if (!p->told && pressure)
		log_msg(LOG_NOTICE, "memory pressure: %u.%02u %% of the last 10 s",
			pressure / 100, pressure % 100);
	else if (p->told && !pressure)
		log_msg(LOG_NOTICE, "no more memory pressure");
	p->told_ms = now_ms;
	if (!pressure && !p->told)
		return;
	if (vprobe_dev_pressure(dev, pressure, &err))
		log_msg(LOG_WARNING, "%s", err.text);
	else
		p->told = pressure;
}
