/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the bytes of a record to its message. The generated parser is memory-safe but trusting: it
 * takes any amount of memory, merges repeated fields at quadratic cost, passes unknown enum values
 * and cuts strings at a NUL. So the wire form is checked first, against the same descriptor.
 */
#include "image/image_priv.h"
#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>

enum {
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_BYTES = 2,
	WIRE_32BIT = 5,
	MAX_FIELDS = 64, /* of one message: bits of `seen` */
	MAX_DEPTH = 8,	 /* of messages in messages; the schema has 3 */
};

struct span {
	const uint8_t *p;
	size_t left;
};

/* What is being checked, for the one line that says what is wrong. */
struct wire {
	const struct image *img;
	const ProtobufCMessageDescriptor *top;
	struct stasis_error *err;
};

static int wire_fail(const struct wire *w, const char *field, const char *what)
{
	return image_damaged(w->img->name, w->err, "record %s, field %s: %s", w->top->short_name,
			     field, what);
}

static bool take_varint(struct span *s, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && s->left; shift += 7) {
		uint8_t byte = *s->p++;

		s->left--;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct span *s, size_t len, struct span *ret)
{
	if (len > s->left)
		return false;
	ret->p = s->p;
	ret->left = len;
	s->p += len;
	s->left -= len;
	return true;
}

/* One field's value: a number, or bytes. */
struct wire_value {
	unsigned type;
	uint64_t number;
	struct span bytes;
};

static bool take_value(struct span *s, struct wire_value *v)
{
	switch (v->type) {
	case WIRE_VARINT:
		return take_varint(s, &v->number);
	case WIRE_64BIT:
		return take_bytes(s, 8, &v->bytes);
	case WIRE_32BIT:
		return take_bytes(s, 4, &v->bytes);
	case WIRE_BYTES:
		return take_varint(s, &v->number) && v->number <= s->left &&
		       take_bytes(s, (size_t)v->number, &v->bytes);
	default:
		return false;
	}
}

static unsigned wire_type_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_BYTES;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_64BIT;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_32BIT;
	default:
		return WIRE_VARINT;
	}
}

static int check_enum(const struct wire *w, const ProtobufCFieldDescriptor *f, uint64_t number)
{
	int value = (int)(int64_t)number;

	if ((uint64_t)(int64_t)value == number &&
	    protobuf_c_enum_descriptor_get_value(f->descriptor, value))
		return 0;
	return wire_fail(w, f->name, "unknown value");
}

static int check_packed(const struct wire *w, const ProtobufCFieldDescriptor *f, struct span s)
{
	struct wire_value v = {.type = wire_type_of(f->type)};

	if (f->label != PROTOBUF_C_LABEL_REPEATED || v.type == WIRE_BYTES)
		return wire_fail(w, f->name, "wrong type");
	while (s.left) {
		if (!take_value(&s, &v))
			return wire_fail(w, f->name, "cut short");
		if (f->type == PROTOBUF_C_TYPE_ENUM && check_enum(w, f, v.number) < 0)
			return -1;
	}
	return 0;
}

static int check_message(const struct wire *w, const ProtobufCMessageDescriptor *d, struct span s,
			 unsigned depth);

static int check_value(const struct wire *w, const ProtobufCFieldDescriptor *f,
		       const struct wire_value *v, unsigned depth)
{
	if (v->type != wire_type_of(f->type)) {
		if (v->type == WIRE_BYTES)
			return check_packed(w, f, v->bytes);
		return wire_fail(w, f->name, "wrong type");
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_ENUM:
		return check_enum(w, f, v->number);
	case PROTOBUF_C_TYPE_STRING:
		if (v->bytes.left && memchr(v->bytes.p, '\0', v->bytes.left))
			return wire_fail(w, f->name, "a NUL inside of a string");
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return check_message(w, f->descriptor, v->bytes, depth + 1);
	default:
		return 0;
	}
}

/* A field that is no list occurs at most once. */
static int check_once(const struct wire *w, const ProtobufCMessageDescriptor *d,
		      const ProtobufCFieldDescriptor *f, uint64_t *seen)
{
	uint64_t bit = 1ULL << (f - d->fields);

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return 0;
	if (*seen & bit)
		return wire_fail(w, f->name, "twice");
	*seen |= bit;
	return 0;
}

static int check_unknown(const struct wire *w, uint64_t number)
{
	if (number >= IMAGE_FIRST_OPTIONAL)
		return 0;
	return stasis_fail(w->err, STASIS_E_UNSUPPORTED,
			   "image '%s': record %s has a field %llu that this Stasis does not know: "
			   "use the version that made it", w->img->name, w->top->short_name,
			   (unsigned long long)number);
}

static int check_message(const struct wire *w, const ProtobufCMessageDescriptor *d, struct span s,
			 unsigned depth)
{
	uint64_t seen = 0, key;

	if (d->n_fields > MAX_FIELDS || depth > MAX_DEPTH)
		return stasis_fail(w->err, STASIS_E_INTERNAL, "record %s: the schema has outgrown "
				   "its check", d->short_name);
	while (s.left) {
		const ProtobufCFieldDescriptor *f;
		struct wire_value v;

		if (!take_varint(&s, &key) || key >> 3 == 0 || key >> 3 > (1u << 29) - 1)
			return wire_fail(w, d->short_name, "malformed");
		v.type = key & 7;
		f = protobuf_c_message_descriptor_get_field(d, (unsigned)(key >> 3));
		if (!take_value(&s, &v))
			return wire_fail(w, f ? f->name : d->short_name, "malformed");
		if (!f) {
			if (check_unknown(w, key >> 3) < 0)
				return -1;
			continue;
		}
		if (check_once(w, d, f, &seen) < 0 || check_value(w, f, &v, depth) < 0)
			return -1;
	}
	return 0;
}

/* ---- memory */

static void *budget_alloc(void *data, size_t size)
{
	uint64_t *budget = data;

	if (size > *budget)
		return NULL;
	*budget -= size;
	return malloc(size);
}

static void budget_free(void *data, void *p)
{
	(void)data; /* what was spent is not given back: the bound is on the work as well */
	free(p);
}

void image_free_record(ProtobufCMessage *msg)
{
	ProtobufCAllocator only_free = {.free = budget_free};

	if (msg)
		protobuf_c_message_free_unpacked(msg, &only_free);
}

/* ---- what a reader of any record may rely on */

static int compare_u32(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	return (a > b) - (a < b);
}

static bool pids_are_unique(uint32_t *pids, size_t nr)
{
	qsort(pids, nr, sizeof(*pids), compare_u32);
	for (size_t i = 1; i < nr; i++)
		if (pids[i] == pids[i - 1])
			return false;
	return true;
}

static int check_member(const struct image *img, const Stasis__Member *m, struct stasis_error *err)
{
	if (m->pid == 0 || m->pid >= IMAGE_MAX_MEMBERS || m->ppid >= IMAGE_MAX_MEMBERS)
		return image_damaged(img->name, err, "process with the impossible pid %u", m->pid);
	if (*m->name && !image_name_is_plain(m->name))
		return image_damaged(img->name, err, "process %u: '%.64s' is no file name", m->pid,
				     m->name);
	return 0;
}

/* The file names and pids that a restart starts from. */
static int check_members(const struct image *img, const Stasis__ImageInfo *info,
			 struct stasis_error *err)
{
	scoped_free uint32_t *pids = NULL;
	bool has_own = false;

	if (info->n_members == 0 || info->n_members > IMAGE_MAX_MEMBERS)
		return image_damaged(img->name, err, "lists %zu processes", info->n_members);
	pids = calloc(info->n_members, sizeof(*pids));
	if (!pids)
		return stasis_fail(err, STASIS_E_NOMEM, "image '%s': no memory for its processes",
				   img->name);
	for (size_t i = 0; i < info->n_members; i++) {
		if (check_member(img, info->members[i], err) < 0)
			return -1;
		pids[i] = info->members[i]->pid;
		has_own |= pids[i] == info->pid;
	}
	if (!pids_are_unique(pids, info->n_members))
		return image_damaged(img->name, err, "lists a process twice");
	if (!has_own || info->members[0]->pid != info->root_pid)
		return image_damaged(img->name, err, "its own process or the root is not listed");
	return 0;
}

static int check_info(const struct image *img, const Stasis__ImageInfo *info,
		      struct stasis_error *err)
{
	enum { DUMP_ID_BYTES = 16 };

	if (image_nr_records(img, IMAGE_TAG_INFO) != 1)
		return image_damaged(img->name, err, "more than one record ImageInfo");
	if (info->version != IMAGE_FORMAT_VERSION)
		return image_damaged(img->name, err, "versions of header and ImageInfo differ");
	if (info->dump_id.len != DUMP_ID_BYTES)
		return image_damaged(img->name, err, "dump id has %zu bytes, not %d",
				     info->dump_id.len, DUMP_ID_BYTES);
	return check_members(img, info, err);
}

/* ---- public */

static ProtobufCMessage *unpack(struct image *img, const struct image_note_ref *ref,
				const ProtobufCMessageDescriptor *desc, struct stasis_error *err)
{
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &img->unpack_budget};
	struct wire wire = {.img = img, .top = desc, .err = err};
	struct span bytes = {.p = ref->desc, .left = ref->len};
	ProtobufCMessage *msg;

	if (check_message(&wire, desc, bytes, 0) < 0)
		return NULL;
	msg = protobuf_c_message_unpack(desc, &allocator, ref->len, ref->desc);
	if (!msg)
		(void)image_damaged(img->name, err, "record %s: malformed, or too much memory",
				    desc->short_name);
	return msg;
}

const void *image_record(struct image *img, enum image_tag tag, size_t nth,
			 const ProtobufCMessageDescriptor *desc, struct stasis_error *err)
{
	struct image_note_ref *ref = image_find_note(img, IMAGE_OWNER, tag, nth);
	ProtobufCMessage *msg;

	if (!ref) {
		(void)image_damaged(img->name, err, "record %s %zu is missing", desc->short_name,
				    nth + 1);
		return NULL;
	}
	if (ref->msg && ref->msg->descriptor != desc)
		return stasis_fail_null(err, STASIS_E_INTERNAL, "record %u read as %s and as %s",
					tag, ref->msg->descriptor->short_name, desc->short_name);
	if (ref->msg)
		return ref->msg;
	msg = unpack(img, ref, desc, err);
	if (!msg)
		return NULL;
	if (tag == IMAGE_TAG_INFO &&
	    check_info(img, (const Stasis__ImageInfo *)(const void *)msg, err) < 0) {
		image_free_record(msg);
		return NULL;
	}
	ref->msg = msg;
	return msg;
}
