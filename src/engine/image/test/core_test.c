/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An image is a core file: registers and stack of a real stopped process, read back by the tools
 * that people have. A tool that is not installed is left out. */
#include "image/test/image_test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static const uint64_t landmark = 0x5354415349532121; /* on the page the child stops with */

/* A child that stops itself; *ret_page is a page of its memory that holds the landmark. */
static pid_t child_start(uint64_t **ret_page)
{
	uint64_t *page = mmap(NULL, IMAGE_ALIGN, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int status;

	page[3] = landmark;
	pid = fork();
	if (pid == 0) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status)) { /* no ptrace here */
		*ret_page = NULL;
		return pid;
	}
	*ret_page = page;
	return pid;
}

static void put_registers(struct image_writer *w, pid_t pid, struct elf_prstatus *ret)
{
	struct iovec iov = {.iov_base = &ret->pr_reg, .iov_len = sizeof(ret->pr_reg)};
	struct elf_prpsinfo info = {.pr_pid = pid, .pr_fname = "core_test",
				    .pr_psargs = "core_test subject"};

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov), 0);
	ret->pr_pid = pid;
	assert_int_equal(image_put_note(w, "CORE", NT_PRSTATUS, ret, sizeof(*ret), NULL), 0);
	assert_int_equal(image_put_note(w, "CORE", NT_PRPSINFO, &info, sizeof(info), NULL), 0);
}

/* Any page of the child; this process still has the same ones. */
static void put_page(struct image_writer *w, pid_t pid, uint64_t addr, uint32_t prot)
{
	struct image_segment seg = {.vaddr = addr, .memsz = IMAGE_ALIGN, .filesz = IMAGE_ALIGN,
				    .prot = prot};
	unsigned char bytes[IMAGE_ALIGN];
	struct iovec to = {bytes, sizeof(bytes)};
	struct iovec from = {(void *)(uintptr_t)addr, sizeof(bytes)};
	ssize_t i = image_add_segment(w, &seg, NULL);

	assert_int_equal(process_vm_readv(pid, &to, 1, &from, 1, 0), sizeof(bytes));
	assert_int_equal(io_pwrite_full(image_draft_fd(w), bytes, sizeof(bytes), seg.offset, NULL),
			 0);
	image_set_digest(w, (size_t)i, image_digest(bytes, sizeof(bytes)));
}

/* A core of the child with its registers, the landmark's page, and nr_empty empty segments. */
static bool core_make(struct scratch *s, size_t nr_empty, struct elf_prstatus *ret_regs,
		      uint64_t **ret_page)
{
	struct image_segment empty = {.memsz = IMAGE_ALIGN};
	pid_t pid = child_start(ret_page);
	struct image_writer *w;

	if (!*ret_page)
		return false;
	assert_int_equal(image_create(s->dirfd, "core", false, &w, &s->err), 0);
	put_registers(w, pid, ret_regs);
	put_info(w);
	for (size_t i = 0; i < nr_empty; i++) {
		empty.vaddr = 0x10000 + i * 2 * IMAGE_ALIGN;
		assert_true(image_add_segment(w, &empty, &s->err) >= 0);
	}
	put_page(w, pid, (uint64_t)(uintptr_t)*ret_page, PROT_READ | PROT_WRITE);
	assert_int_equal(image_put_bulk(w, 1, 0, "pipe bytes", 10, &s->err), 0);
	assert_int_equal(image_seal(w, &s->err), 0);
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), 0);
	image_discard(w);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return true;
}

static bool has_tool(const char *name)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", name);
	return system(command) == 0;
}

/* Output of a command about the core, errors included; the caller frees it. */
static char *output_of(struct scratch *s, const char *command)
{
	enum { ROOM = 1 << 20 };
	char *text = calloc(1, ROOM), line[512];
	FILE *f;

	(void)snprintf(line, sizeof(line), "cd '%s' && LC_ALL=C %s 2>&1", s->path, command);
	f = popen(line, "r");
	assert_non_null(f);
	(void)!fread(text, 1, ROOM - 1, f);
	(void)pclose(f);
	return text;
}

static void expect_in(const char *text, const char *want)
{
	if (!strstr(text, want))
		fail_msg("no '%s' in:\n%.2000s", want, text);
}

static void check_gdb(struct scratch *s, const struct elf_prstatus *st, const uint64_t *page)
{
	struct user_regs_struct regs;
	char command[300], want[64];
	char *text;

	if (!has_tool("gdb"))
		return;
	memcpy(&regs, &st->pr_reg, sizeof(regs));
	(void)snprintf(command, sizeof(command),
		       "gdb -nx -batch -ex 'core-file core' -ex 'info registers' -ex 'x/gx %p'",
		       (const void *)(page + 3));
	text = output_of(s, command);
	(void)snprintf(want, sizeof(want), "0x%llx", regs.rip);
	expect_in(text, want);
	(void)snprintf(want, sizeof(want), "0x%llx", regs.rsp);
	expect_in(text, want);
	expect_in(text, "0x5354415349532121");
	expect_in(text, "core_test subject");
	assert_null(strstr(text, "warning: "));
	free(text);
}

static void check_elfutils(struct scratch *s, const char *want_notes)
{
	char *text;

	if (!has_tool("eu-readelf"))
		return;
	text = output_of(s, "eu-readelf -h -n core");
	expect_in(text, "CORE (Core file)");
	expect_in(text, want_notes);
	assert_null(strstr(text, "rror"));
	free(text);
	text = output_of(s, "eu-readelf -l core | grep LOAD");
	expect_in(text, "LOAD ");
	assert_null(strstr(text, "rror"));
	free(text);
}

static void is_a_core_file_for_the_tools(void **state)
{
	struct scratch *s = *state;
	struct elf_prstatus st;
	uint64_t *page;
	char *text;

	if (!core_make(s, 2, &st, &page))
		skip();
	check_gdb(s, &st, page);
	check_elfutils(s, "PRSTATUS");
	if (has_tool("file")) {
		text = output_of(s, "file core");
		expect_in(text, "ELF 64-bit LSB core file");
		expect_in(text, "from 'core_test subject'");
		free(text);
	}
	(void)munmap(page, IMAGE_ALIGN);
}

static void is_a_core_file_with_70000_segments(void **state)
{
	struct scratch *s = *state;
	struct elf_prstatus st;
	uint64_t *page;

	if (!core_make(s, 70000, &st, &page))
		skip();
	check_gdb(s, &st, page);
	/* where there is a section header, eu-readelf looks for notes in sections only; so it does
	 * with a core of the kernel */
	check_elfutils(s, "70003 in [0].sh_info");
	(void)munmap(page, IMAGE_ALIGN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_a_core_file_for_the_tools),
		TEST(is_a_core_file_with_70000_segments),
	};

	return cmocka_run_group_tests_name("image/core", tests, NULL, NULL);
}
