/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of /proc/PID/smaps. Only this file knows its layout: a header line per mapping (as in
 * /proc/PID/maps), then "Key: value" lines, of which the last is VmFlags. A process chooses the
 * names of its files, so a path may hold anything but a raw newline, which the kernel writes \012.
 */
#include "memory/vma.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

/* A path is at most 4 KiB, each byte of it at most four characters. */
#define SMAPS_MAX_LINE 32768u
#define SMAPS_BUF      (4 * SMAPS_MAX_LINE)
/* vm.max_map_count is an int, but a list that long would not fit into memory either. */
#define SMAPS_MAX_VMAS (16u << 20)
#define SMAPS_PAGE     4096u

struct smaps_parser {
	struct vma_list list;
	size_t cap;
	size_t line_nr;
};

static const struct {
	char name[3];
	uint32_t flag;
} vm_flag_names[] = {
	{ "gd", VMA_F_GROWSDOWN },
	{ "nr", VMA_F_NORESERVE },
	{ "dc", VMA_F_DONTFORK },
	{ "dd", VMA_F_DONTDUMP },
	{ "hg", VMA_F_HUGEPAGE },
	{ "nh", VMA_F_NOHUGEPAGE },
	{ "mg", VMA_F_MERGEABLE },
	{ "sr", VMA_F_SEQUENTIAL },
	{ "rr", VMA_F_RANDOM },
	{ "lo", VMA_F_LOCKED },
	{ "wf", VMA_F_WIPEONFORK },
	{ "ht", VMA_F_HUGETLB },
	{ "io", VMA_F_IO },
	{ "pf", VMA_F_PFNMAP },
	{ "um", VMA_F_UFFD },
	{ "uw", VMA_F_UFFD },
	{ "ui", VMA_F_UFFD },
	{ "sl", VMA_F_SEALED },
	{ "ss", VMA_F_SHADOW_STACK },
	{ "ms", VMA_F_MAYSHARE },
	{ "mw", VMA_F_MAYWRITE },
	{ "ac", VMA_F_ACCOUNT },
	{ "dp", VMA_F_DROPPABLE },
	{ "gu", VMA_F_GUARD },
	{ "lf", VMA_F_LOCKONFAULT },
};

static uint32_t vm_flag_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(vm_flag_names) / sizeof(vm_flag_names[0]); i++)
		if (name[0] == vm_flag_names[i].name[0] && name[1] == vm_flag_names[i].name[1])
			return vm_flag_names[i].flag;
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Take a number and the separator behind it; NULL when there is none or it does not fit. */
static const char *take_hex(const char *s, char sep, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; hex_value(*s) >= 0; s++, n++)
		v = v << 4 | (uint64_t)hex_value(*s);
	if (n == 0 || n > 16 || *s != sep)
		return NULL;
	*ret = v;
	return s + 1;
}

static const char *take_decimal(const char *s, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; *s >= '0' && *s <= '9'; s++, n++) {
		if (v > (UINT64_MAX - 9) / 10)
			return NULL;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	if (n == 0)
		return NULL;
	*ret = v;
	return s;
}

static const char *take_perms(const char *s, struct vma *v)
{
	if (strnlen(s, 5) < 5 || s[4] != ' ')
		return NULL;
	if (!strchr("r-", s[0]) || !strchr("w-", s[1]) || !strchr("x-", s[2]) || !strchr("ps", s[3]))
		return NULL;
	v->prot = (s[0] == 'r' ? PROT_READ : 0u) | (s[1] == 'w' ? PROT_WRITE : 0u) |
		  (s[2] == 'x' ? PROT_EXEC : 0u);
	v->flags = s[3] == 's' ? VMA_F_SHARED : 0;
	return s + 5;
}

/* A raw backslash is not escaped by the kernel, so "\012" may also stand for itself: whoever needs
 * certainty about a path with a newline asks /proc/PID/map_files. */
static char *copy_path(const char *s)
{
	char *path = strdup(s);
	char *to = path;

	if (!path || !strchr(s, '\\'))
		return path;
	while (*s) {
		if (strncmp(s, "\\012", 4) == 0) {
			*to++ = '\n';
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
	return path;
}

static int malformed(const struct smaps_parser *p, struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_IO, "smaps: line %zu is malformed", p->line_nr);
}

static struct vma *append(struct smaps_parser *p, struct stasis_error *err)
{
	size_t cap = p->cap ? 2 * p->cap : 64;
	struct vma *v;

	if (p->list.nr == p->cap) {
		if (p->cap >= SMAPS_MAX_VMAS)
			return stasis_fail_null(err, STASIS_E_UNSUPPORTED,
						"smaps: more than %u mappings", SMAPS_MAX_VMAS);
		v = reallocarray(p->list.v, cap, sizeof(*v));
		if (!v)
			return stasis_fail_null(err, STASIS_E_NOMEM, "list of mappings");
		p->list.v = v;
		p->cap = cap;
	}
	v = &p->list.v[p->list.nr];
	memset(v, 0, sizeof(*v));
	return v;
}

static const char *parse_header_fields(const char *s, struct vma *v)
{
	uint64_t major_nr, minor_nr;

	s = take_hex(s, '-', &v->start);
	s = s ? take_hex(s, ' ', &v->end) : NULL;
	s = s ? take_perms(s, v) : NULL;
	s = s ? take_hex(s, ' ', &v->pgoff) : NULL;
	s = s ? take_hex(s, ':', &major_nr) : NULL;
	s = s ? take_hex(s, ' ', &minor_nr) : NULL;
	s = s ? take_decimal(s, &v->ino) : NULL;
	if (!s || (*s != ' ' && *s != '\0') || major_nr > UINT32_MAX || minor_nr > UINT32_MAX)
		return NULL;
	v->dev = makedev((unsigned)major_nr, (unsigned)minor_nr);
	return s;
}

static bool is_in_order(const struct smaps_parser *p, const struct vma *v)
{
	const struct vma *last = p->list.nr ? &p->list.v[p->list.nr - 1] : NULL;

	return v->start < v->end && v->start % SMAPS_PAGE == 0 && v->end % SMAPS_PAGE == 0 &&
	       (!last || last->end <= v->start);
}

static int parse_header(struct smaps_parser *p, const char *line, struct stasis_error *err)
{
	struct vma *v = append(p, err);
	const char *s;

	if (!v)
		return -1;
	s = parse_header_fields(line, v);
	if (!s || !is_in_order(p, v))
		return malformed(p, err);
	while (*s == ' ')
		s++;
	if (*s) {
		v->path = copy_path(s);
		if (!v->path)
			return stasis_fail(err, STASIS_E_NOMEM, "path of a mapping");
	}
	p->list.nr++;
	return 0;
}

static uint64_t parse_kb(const char *s)
{
	uint64_t kb;

	while (*s == ' ')
		s++;
	return take_decimal(s, &kb) ? kb : 0;
}

static void parse_vm_flags(const char *s, struct vma *v)
{
	for (;;) {
		while (*s == ' ')
			s++;
		if (!s[0] || !s[1])
			return;
		v->flags |= vm_flag_by_name(s);
		while (*s && *s != ' ')
			s++;
	}
}

/* There are two dozen lines per mapping: most are left after a look at their first letters. */
static void parse_key(struct vma *v, const char *line)
{
	switch (line[0]) {
	case 'R':
		if (strncmp(line, "Rss:", 4) == 0)
			v->rss_kb = parse_kb(line + 4);
		break;
	case 'A':
		if (strncmp(line, "Anonymous:", 10) == 0)
			v->anon_kb = parse_kb(line + 10);
		break;
	case 'S':
		if (strncmp(line, "Swap:", 5) == 0)
			v->swap_kb = parse_kb(line + 5);
		if (strncmp(line, "Shared_Hugetlb:", 15) == 0)
			v->huge_kb += parse_kb(line + 15);
		break;
	case 'P':
		if (strncmp(line, "Private_Hugetlb:", 16) == 0)
			v->huge_kb += parse_kb(line + 16);
		break;
	case 'K':
		if (strncmp(line, "KernelPageSize:", 15) == 0)
			v->page_kb = parse_kb(line + 15);
		break;
	case 'V':
		if (strncmp(line, "VmFlags:", 8) == 0)
			parse_vm_flags(line + 8, v);
		break;
	default:
		break;
	}
}

/* Keys begin with a capital letter, addresses have small ones. */
static int parse_line(struct smaps_parser *p, const char *line, size_t len, struct stasis_error *err)
{
	p->line_nr++;
	/* a NUL inside would hide the rest of the path */
	if (hex_value(line[0]) >= 0 && strlen(line) != len)
		return malformed(p, err);
	if (hex_value(line[0]) >= 0)
		return parse_header(p, line, err);
	if (p->list.nr == 0 || line[0] < 'A' || line[0] > 'Z')
		return malformed(p, err);
	parse_key(&p->list.v[p->list.nr - 1], line);
	return 0;
}

/* Parse the whole lines in buf; returns how many bytes they took, or -1. */
static ssize_t parse_lines(struct smaps_parser *p, char *buf, size_t len, struct stasis_error *err)
{
	char *at = buf;
	char *nl;

	while ((nl = memchr(at, '\n', (size_t)(buf + len - at))) != NULL) {
		*nl = '\0';
		if (parse_line(p, at, (size_t)(nl - at), err) < 0)
			return -1;
		at = nl + 1;
	}
	if ((size_t)(buf + len - at) >= SMAPS_MAX_LINE)
		return stasis_fail(err, STASIS_E_IO, "smaps: line %zu is longer than %u bytes",
				   p->line_nr + 1, SMAPS_MAX_LINE);
	return at - buf;
}

static int parse_fd(struct smaps_parser *p, int fd, char *buf, struct stasis_error *err)
{
	size_t have = 0;
	ssize_t n;

	for (;;) {
		n = read(fd, buf + have, SMAPS_BUF - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read smaps");
		if (n == 0)
			break;
		have += (size_t)n;
		n = parse_lines(p, buf, have, err);
		if (n < 0)
			return -1;
		have -= (size_t)n;
		memmove(buf, buf + n, have);
	}
	if (have)
		return stasis_fail(err, STASIS_E_IO, "smaps: the last line is cut off");
	return 0;
}

static int finish(struct smaps_parser *p, int result, struct vma_list *ret)
{
	if (result < 0)
		vma_list_done(&p->list);
	else
		*ret = p->list;
	return result;
}

int vma_list_read(int procfd, struct vma_list *ret, struct stasis_error *err)
{
	scoped_fd int fd = openat(procfd, "smaps", O_RDONLY | O_CLOEXEC);
	scoped_free char *buf = malloc(SMAPS_BUF);
	struct smaps_parser p = { 0 };

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open smaps");
	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "buffer for smaps");
	return finish(&p, parse_fd(&p, fd, buf, err), ret);
}

int vma_list_parse(const char *text, size_t len, struct vma_list *ret, struct stasis_error *err)
{
	scoped_free char *copy = malloc(len + 1);
	struct smaps_parser p = { 0 };
	ssize_t n;

	if (!copy)
		return stasis_fail(err, STASIS_E_NOMEM, "copy of smaps");
	memcpy(copy, text, len);
	n = parse_lines(&p, copy, len, err);
	if (n >= 0 && (size_t)n < len)
		n = stasis_fail(err, STASIS_E_IO, "smaps: the last line is cut off");
	return finish(&p, n < 0 ? -1 : 0, ret);
}

void vma_list_done(struct vma_list *l)
{
	int saved = errno;

	for (size_t i = 0; i < l->nr; i++)
		free(l->v[i].path);
	free(l->v);
	l->v = NULL;
	l->nr = 0;
	errno = saved;
}
