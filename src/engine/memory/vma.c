/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of /proc/PID/smaps. Only this file knows its layout: a header line per mapping (as in
 * /proc/PID/maps), then "Key: value" lines, of which the last is VmFlags. A process chooses the
 * names of its files, so a path may hold anything but a raw newline, which the kernel writes \012.
 */
#include "memory/vma.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

/* A path is at most 4 KiB, each byte of it at most four characters. */
#define SMAPS_MAX_LINE 32768u
#define SMAPS_BUF      (2 * SMAPS_MAX_LINE)
/* The kernel makes text in a page of its own until an entry does not fit, and throws that one away: every
 * sixth. Who asks for less than a page by an entry gets each as soon as it is made. */
#define SMAPS_READ     3072u
/* vm.max_map_count is an int, but a list that long would not fit into memory either. */
#define SMAPS_MAX_VMAS (16u << 20)
#define SMAPS_PAGE     4096u

/*
 * Where the lines that matter are, counted from the end of the header line. The kernel writes numbers in
 * columns, so that what the first entry shows holds for all others: two lines of three need not be looked
 * at. An entry that is laid out in another way (a number of more than eight digits) is read line by line.
 */
enum { SMAPS_KEYS = 7 };

struct smaps_parser {
	struct vma_list list;
	size_t cap;
	size_t line_nr;
	size_t header_nr; /* line of the last header */
	size_t offset;	  /* of the line from the end of that */
	size_t nr_keys, key_at[SMAPS_KEYS];
	char key_name[SMAPS_KEYS][8]; /* how it begins */
	size_t nr_lines;	      /* before the last of them */
	bool is_layout_known;
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

/* There are two dozen lines per mapping: most are left after a look at their first letters. False: it
 * is none of those that matter. */
static bool parse_key(struct vma *v, const char *line)
{
	static const struct {
		const char *name;
		size_t len, field;
	} keys[] = {
#define KEY(text, name) {text ":", sizeof(text), offsetof(struct vma, name)}
		KEY("Rss", rss_kb),
		KEY("Anonymous", anon_kb),
		KEY("Swap", swap_kb),
		KEY("Shared_Hugetlb", huge_kb),
		KEY("Private_Hugetlb", huge_kb),
		KEY("KernelPageSize", page_kb),
		KEY("ProtectionKey", pkey), /* a bare number, too */
#undef KEY
	};

	if (line[0] == 'V' && strncmp(line, "VmFlags:", 8) == 0) {
		parse_vm_flags(line + 8, v);
		return true;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (line[0] == keys[i].name[0] && strncmp(line, keys[i].name, keys[i].len) == 0) {
			*(uint64_t *)(void *)((char *)v + keys[i].field) +=
				parse_kb(line + keys[i].len);
			return true;
		}
	return false;
}

static void learn_key(struct smaps_parser *p, const char *line)
{
	if (p->is_layout_known || p->nr_keys == SMAPS_KEYS)
		return;
	p->key_at[p->nr_keys] = p->offset;
	memcpy(p->key_name[p->nr_keys], line, sizeof(p->key_name[0])); /* all are as long */
	p->nr_keys++;
	p->nr_lines = p->line_nr - p->header_nr - 1;
	p->is_layout_known = line[0] == 'V'; /* the last line */
}

/* The lines of an entry at once, but for the last. How many bytes that takes; 0: not so. */
static size_t parse_known(struct smaps_parser *p, char *text, size_t len)
{
	const size_t last = p->nr_keys ? p->key_at[p->nr_keys - 1] : 0;

	if (!p->is_layout_known || !last || len < last + sizeof(p->key_name[0]))
		return 0;
	for (size_t i = 0; i < p->nr_keys; i++)
		if ((p->key_at[i] && text[p->key_at[i] - 1] != '\n') ||
		    memcmp(text + p->key_at[i], p->key_name[i], sizeof(p->key_name[0])) != 0)
			return 0;
	for (size_t i = 0; i + 1 < p->nr_keys; i++)
		(void)parse_key(&p->list.v[p->list.nr - 1], text + p->key_at[i]);
	p->offset = last;
	p->line_nr += p->nr_lines;
	return last;
}

/* Keys begin with a capital letter, addresses have small ones. */
static int parse_line(struct smaps_parser *p, const char *line, size_t len, struct stasis_error *err)
{
	p->line_nr++;
	if (hex_value(line[0]) >= 0) {
		p->offset = 0;
		p->header_nr = p->line_nr;
		/* a NUL inside would hide the rest of the path */
		return strlen(line) == len ? parse_header(p, line, err) : malformed(p, err);
	}
	if (p->list.nr == 0 || line[0] < 'A' || line[0] > 'Z')
		return malformed(p, err);
	if (parse_key(&p->list.v[p->list.nr - 1], line))
		learn_key(p, line);
	p->offset += len + 1;
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
		if (p->offset == 0)
			at += parse_known(p, at, (size_t)(buf + len - at));
	}
	if ((size_t)(buf + len - at) >= SMAPS_MAX_LINE)
		return stasis_fail(err, STASIS_E_IO, "smaps: line %zu is longer than %u bytes",
				   p->line_nr + 1, SMAPS_MAX_LINE);
	return at - buf;
}

/* Fill the buffer behind what it has; how much there is then. */
static ssize_t read_some(int fd, char *buf, size_t have, bool *ret_is_end, struct stasis_error *err)
{
	ssize_t n = 1;

	while (n && have + SMAPS_READ <= SMAPS_BUF) {
		n = read(fd, buf + have, SMAPS_READ);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read smaps");
		have += (size_t)n;
	}
	*ret_is_end = n == 0;
	return (ssize_t)have;
}

static int parse_fd(struct smaps_parser *p, int fd, char *buf, struct stasis_error *err)
{
	bool is_end = false;
	ssize_t have = 0, n;

	while (!is_end) {
		have = read_some(fd, buf, (size_t)have, &is_end, err);
		n = have < 0 ? -1 : parse_lines(p, buf, (size_t)have, err);
		if (n < 0)
			return -1;
		have -= n;
		memmove(buf, buf + n, (size_t)have);
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
