// SPDX-License-Identifier: GPL-2.0-only
/*
 * flatten - turn a helper's BPF object into the plain instructions that go on
 * the wire, as a C header.
 *
 * Runs when the injector is built, so that neither the injector nor any host
 * process parses ELF. Calls to the host become BPF_PSEUDO_KFUNC_CALL with an
 * enum vprobe_call in imm. Whatever cannot be put in that form, or what the host
 * does not admit (maps, global data, kernel helpers, atomics, a second function),
 * is refused here, where its author sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vprobe_helper.h"
#include "vprobe_wire.h"

#define ENTRY_SECTION	"syscall"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#ifndef R_BPF_64_32
#define R_BPF_64_32	10
#endif

struct section {
	size_t index;		/* in the ELF file; 0 if there is none */
	size_t cnt;
	Elf_Data *rel;
	size_t nr_rel;
};

static const char *object;
static struct bpf_insn insns[VPROBE_WIRE_MAX_INSNS];
/* Instructions whose call was resolved through a relocation. */
static unsigned char resolved[VPROBE_WIRE_MAX_INSNS];
static size_t nr_insns;

static const struct {
	const char *name;
	int call;
} host_calls[] = {
	{ "vprobe_read",	VPROBE_CALL_READ },
	{ "vprobe_window",	VPROBE_CALL_WINDOW },
	{ "vprobe_layout",	VPROBE_CALL_LAYOUT },
	{ "vprobe_report",	VPROBE_CALL_REPORT },
};

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "flatten: %s: ", object);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static int host_call(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(host_calls); i++)
		if (!strcmp(name, host_calls[i].name))
			return host_calls[i].call;
	return 0;
}

static void __attribute__((noreturn)) die_local(size_t at)
{
	die("instruction %zu calls another function of the helper, which the host does not admit; make that one __always_inline",
	    at);
}

static void add_section(struct section *s, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);

	if (!data || sh->sh_size % sizeof(struct bpf_insn))
		die("a code section is not a whole number of instructions");
	s->cnt = sh->sh_size / sizeof(struct bpf_insn);
	if (s->cnt > VPROBE_WIRE_MAX_INSNS)
		die("more than %d instructions, the host would refuse it",
		    VPROBE_WIRE_MAX_INSNS);
	s->index = elf_ndxscn(scn);
	if (s->cnt)
		memcpy(insns, data->d_buf, sh->sh_size);
	nr_insns = s->cnt;
}

/* Nothing that a loader would have to turn into a map may be there. */
static void refuse_data(const char *name, const GElf_Shdr *sh)
{
	static const char * const prefixes[] = {
		".data", ".rodata", ".bss", ".maps", "maps", ".kconfig",
	};
	size_t i;

	for (i = 0; sh->sh_size && i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			die("it has a section %s of %llu bytes; a helper cannot have maps or global variables",
			    name, (unsigned long long)sh->sh_size);
}

static void relocate(struct section *s, Elf *elf, Elf_Data *syms, size_t strndx)
{
	size_t i;

	for (i = 0; i < s->nr_rel; i++) {
		struct bpf_insn *insn;
		const char *name;
		GElf_Sym sym;
		GElf_Rel rel;
		size_t at;
		int call;

		if (!gelf_getrel(s->rel, i, &rel) ||
		    !gelf_getsym(syms, GELF_R_SYM(rel.r_info), &sym))
			die("relocation %zu cannot be read", i);
		name = elf_strptr(elf, strndx, sym.st_name);
		at = rel.r_offset / sizeof(*insn);
		if (at >= s->cnt || rel.r_offset % sizeof(*insn))
			die("relocation %zu is outside its section", i);
		insn = &insns[at];
		if (GELF_R_TYPE(rel.r_info) != R_BPF_64_32 ||
		    insn->code != (BPF_JMP | BPF_CALL))
			die("instruction %zu refers to '%s'; only calls can be relocated, a helper cannot have maps or global variables",
			    at, name ? name : "?");
		if (sym.st_shndx != SHN_UNDEF)
			die_local(at);
		call = name ? host_call(name) : 0;
		if (!call)
			die("instruction %zu calls '%s', which the host does not offer",
			    at, name ? name : "?");
		insn->src_reg = BPF_PSEUDO_KFUNC_CALL;
		insn->imm = call;
		insn->off = 0;
		resolved[at] = 1;
	}
}

/* What the host's admission would refuse. */
static void check_insns(void)
{
	size_t i;

	for (i = 0; i < nr_insns; i++) {
		const struct bpf_insn *in = &insns[i];
		int class = BPF_CLASS(in->code);
		int mode = BPF_MODE(in->code);

		if (in->code == (BPF_LD | BPF_IMM | BPF_DW)) {
			if (in->src_reg)
				die("instruction %zu loads the address of a map or variable",
				    i);
			i++;	/* the second half of the constant */
			continue;
		}
		if (class == BPF_LD)
			die("instruction %zu is a packet load (LD_ABS, LD_IND)",
			    i);
		if (class == BPF_STX && mode != BPF_MEM)
			die("instruction %zu is atomic; the host takes none",
			    i);
		if (in->code == (BPF_JMP | BPF_CALL)) {
			if (in->src_reg == BPF_PSEUDO_CALL)
				die_local(i);
			if (!resolved[i])
				die("instruction %zu calls kernel helper %d; a helper may only call the host's four functions",
				    i, in->imm);
		}
		if (in->code == (BPF_JMP | 0xe0 /* BPF_JCOND */))
			die("instruction %zu is may_goto; loops need a constant bound",
			    i);
	}
}

/* The entry and the symbols. Returns the symbols, whose names are in section @strndx. */
static Elf_Data *read_entry(Elf *elf, size_t shstrndx, struct section *entry,
			    size_t *strndx)
{
	Elf_Data *syms = NULL;
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(elf, scn))) {
		const char *name;

		if (!gelf_getshdr(scn, &sh))
			die("a section header cannot be read: %s",
			    elf_errmsg(-1));
		name = elf_strptr(elf, shstrndx, sh.sh_name);
		if (!name)
			die("a section has no name");
		refuse_data(name, &sh);
		if (!strcmp(name, ENTRY_SECTION)) {
			if (entry->cnt)
				die("it has two sections \"" ENTRY_SECTION "\"");
			add_section(entry, scn, &sh);
		} else if (sh.sh_type == SHT_SYMTAB) {
			syms = elf_getdata(scn, NULL);
			*strndx = sh.sh_link;
		}
	}
	if (!entry->cnt)
		die("it has no section \"" ENTRY_SECTION "\"");
	if (!syms)
		die("it has no symbol table");
	return syms;
}

static void read_relocations(Elf *elf, struct section *entry)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(elf, scn))) {
		gelf_getshdr(scn, &sh);
		if (sh.sh_type != SHT_REL || sh.sh_info != entry->index)
			continue;
		entry->rel = elf_getdata(scn, NULL);
		entry->nr_rel = sh.sh_size / sh.sh_entsize;
	}
}

static void read_object(void)
{
	struct section entry = { 0 };
	size_t shstrndx, strndx = 0;
	Elf_Data *syms;
	GElf_Ehdr eh;
	Elf *elf;
	int fd;

	fd = open(object, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("cannot open it: %s", strerror(errno));
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf || !gelf_getehdr(elf, &eh) || eh.e_machine != EM_BPF ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    elf_getshdrstrndx(elf, &shstrndx))
		die("it is not a little-endian BPF object");

	syms = read_entry(elf, shstrndx, &entry, &strndx);
	read_relocations(elf, &entry);
	relocate(&entry, elf, syms, strndx);
	elf_end(elf);
	close(fd);
}

static void write_header(const char *name)
{
	size_t i;

	printf("/* %s: GPL-2.0-only */\n", "SPDX-License-Identifier");
	printf("/* Generated by flatten; do not edit. */\n");
	printf("#define VPROBE_HELPER_NAME \"%s\"\n\n", name);
	printf("static const struct bpf_insn vprobe_helper_insns[] = {\n");
	for (i = 0; i < nr_insns; i++)
		printf("\t{ .code = 0x%02x, .dst_reg = %u, .src_reg = %u, .off = %d, .imm = %d },\n",
		       insns[i].code, insns[i].dst_reg, insns[i].src_reg,
		       insns[i].off, insns[i].imm);
	printf("};\n");
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: flatten OBJECT NAME > HEADER\n");
		return 2;
	}
	object = argv[1];
	if (strlen(argv[2]) >=
	    sizeof(((struct vprobe_register *)NULL)->name))
		die("the name '%s' is too long for the wire", argv[2]);
	if (elf_version(EV_CURRENT) == EV_NONE)
		die("libelf is too old");
	read_object();
	check_insns();
	write_header(argv[2]);
	if (fflush(stdout) || ferror(stdout))
		die("cannot write the header: %s", strerror(errno));
	return 0;
}
