/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: any bytes as an image. The digests of the tables are made right first, or tables are
 * made around bare records, else nothing behind the digests would ever be reached; then everything a
 * restart would read is read.
 *
 * With clang -fsanitize=fuzzer this is a libFuzzer target. With -DFUZZ_STANDALONE it has its own
 * main: `reader_fuzz [-n ROUNDS] [-s SEED] [-w FOLDER] [FILE...]` replays the files, or the built-in
 * seeds, then mutates them; -w writes the seeds and stops.
 */
#include "image/test/fixup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { MAX_FILE = 1 << 20 };

static const struct {
	enum image_tag tag;
	const ProtobufCMessageDescriptor *desc;
} kinds[] = {
	{IMAGE_TAG_INFO, &stasis__image_info__descriptor},
	{IMAGE_TAG_PROCESS, &stasis__process__descriptor},
	{IMAGE_TAG_THREAD, &stasis__thread__descriptor},
	{IMAGE_TAG_MM, &stasis__mm__descriptor},
	{IMAGE_TAG_FDTABLE, &stasis__fd_table__descriptor},
	{IMAGE_TAG_DESCRIPTION, &stasis__description__descriptor},
	{IMAGE_TAG_OBJECT, &stasis__object__descriptor},
};

static void die(const char *what)
{
	(void)fprintf(stderr, "reader_fuzz: %s\n", what);
	abort();
}

/* A failure says so in one line and has a class. */
static void check_error(const struct stasis_error *err)
{
	if (err->cls == STASIS_E_OK || err->cls == STASIS_E_INTERNAL || !err->text[0])
		die("a failure without a clear error");
}

static void read_records(struct image *img)
{
	struct stasis_error err;

	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		size_t nr = image_nr_records(img, kinds[k].tag);

		for (size_t i = 0; i < nr; i++) {
			const void *first;

			memset(&err, 0, sizeof(err));
			first = image_record(img, kinds[k].tag, i, kinds[k].desc, &err);
			if (!first)
				check_error(&err);
			else if (!protobuf_c_message_check(first))
				die("an unpacked record that is none");
			else if (image_record(img, kinds[k].tag, i, kinds[k].desc, NULL) != first)
				die("a record is read twice");
		}
		if (image_record(img, kinds[k].tag, nr, kinds[k].desc, NULL))
			die("one record more than there are");
	}
}

/* The sum of all note bytes, so that each is looked at. */
static unsigned read_notes(const struct image *img)
{
	unsigned sum = 0;
	size_t len;

	for (size_t i = 0; i < img->nr_refs; i++) {
		const struct image_note_ref *ref = &img->refs[i];
		const unsigned char *desc = image_note(img, ref->owner, ref->type, 0, &len);

		if (!desc)
			die("a note that is there is not found");
		for (size_t k = 0; k < len; k++)
			sum += desc[k];
	}
	return sum;
}

static void read_all(struct image *img, size_t file_len)
{
	struct stasis_error err = {.cls = STASIS_E_OK};

	for (size_t i = 0; i < image_nr_segments(img); i++) {
		const struct image_segment *seg = image_segment(img, i);

		if (seg->filesz > file_len || seg->offset > file_len - seg->filesz)
			die("a segment outside of the file");
	}
	(void)read_notes(img);
	read_records(img);
	if (image_verify_data(img, 1, &err) < 0)
		check_error(&err);
}

static int file_make(const uint8_t *data, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		die("memfd");
	return fd;
}

static void run_file(const uint8_t *data, size_t len)
{
	struct stasis_error err = {.cls = STASIS_E_OK};
	int fd = file_make(data, len);
	struct image *img = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (image_open(AT_FDCWD, path, &img, &err) == 0)
		read_all(img, len);
	else
		check_error(&err);
	image_close(img);
	(void)close(fd);
}

/* ---- an image around records: mutations that change a length would be lost on its tables */

static void note_append(unsigned char *notes, size_t *at, uint32_t tag, const void *desc,
			size_t len)
{
	Elf64_Nhdr head = {.n_namesz = sizeof(IMAGE_OWNER), .n_descsz = (uint32_t)len,
			   .n_type = tag};

	memcpy(notes + *at, &head, sizeof(head));
	memcpy(notes + *at + sizeof(head), IMAGE_OWNER, sizeof(IMAGE_OWNER));
	memcpy(notes + *at + sizeof(head) + 8, desc, len);
	*at += sizeof(head) + 8 + image_align(len, 4);
}

/* data is a list of: tag, length (2 bytes), payload. `file` is zeroed and large enough. */
static size_t build_file(const uint8_t *data, size_t len, unsigned char *file)
{
	unsigned char *notes = file + sizeof(struct image_page);
	struct image_page page = {.trailer = {.notes_off = sizeof(page), .nr_phdrs = 1}};
	struct image_trailer *t = &page.trailer;
	static const uint64_t no_digest;
	size_t at = 0;

	note_append(notes, &at, IMAGE_TAG_DIGESTS, &no_digest, sizeof(no_digest));
	while (len >= 3) {
		size_t payload = data[1] | (size_t)data[2] << 8;

		if (payload > len - 3)
			payload = len - 3;
		note_append(notes, &at, 1 + data[0] % 7, data + 3, payload);
		data += 3 + payload;
		len -= 3 + payload;
	}
	t->notes_len = at;
	t->phdrs_off = image_align(sizeof(page) + at, 8);
	t->file_len = t->phdrs_off + sizeof(Elf64_Phdr);
	image_phdr_of_notes((Elf64_Phdr *)(void *)(file + t->phdrs_off), t);
	image_page_fill(&page);
	memcpy(file, &page, sizeof(page));
	return t->file_len;
}

static void run_records(const uint8_t *data, size_t len)
{
	/* a note's head, name and padding take less than 8 bytes for each of the data's 3 */
	size_t room = sizeof(struct image_page) + 9 * len + 1024;
	unsigned char *file = calloc(1, room);

	if (!file)
		return;
	len = build_file(data, len, file);
	fix_digests(file, len);
	run_file(file, len);
	free(file);
}

static void run_mended(const uint8_t *data, size_t len)
{
	unsigned char *file = malloc(len + 1);

	if (!file)
		return;
	memcpy(file, data, len);
	fix_digests(file, len);
	run_file(file, len);
	free(file);
}

/* The last byte says what the others are. */
enum input_kind {
	INPUT_FILE,	/* as it is */
	INPUT_MENDED,	/* a file whose digests are made right */
	INPUT_RECORDS,	/* a list of records, see build_file() */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1 || len > MAX_FILE)
		return 0;
	len--;
	switch (data[len] % 3) {
	case INPUT_FILE:
		run_file(data, len);
		break;
	case INPUT_MENDED:
		run_mended(data, len);
		break;
	default:
		run_records(data, len);
	}
	return 0;
}

#ifdef FUZZ_STANDALONE

#include "lib/io.h"

enum { MAX_SEEDS = 64, DEFAULT_ROUNDS = 20000 };

struct seed {
	uint8_t *bytes;
	size_t len;
};

static struct seed seeds[MAX_SEEDS];
static size_t nr_seeds;

static void seed_add(const uint8_t *bytes, size_t len)
{
	if (nr_seeds == MAX_SEEDS || len == 0 || len > MAX_FILE)
		return;
	seeds[nr_seeds].bytes = malloc(len);
	memcpy(seeds[nr_seeds].bytes, bytes, len);
	seeds[nr_seeds++].len = len;
}

/* ---- built-in seeds: one record of every kind with every kind of field */

/* Give each field of a message a small value, submessages too. */
static void message_fill(ProtobufCMessage *msg, unsigned depth);

static void *field_value(const ProtobufCFieldDescriptor *f, unsigned depth, size_t *ret_size)
{
	static char text[] = "text";
	ProtobufCBinaryData bytes = {.len = 4, .data = (uint8_t *)text};
	uint64_t number = f->type == PROTOBUF_C_TYPE_ENUM ? 1 : 5;
	ProtobufCMessage *sub;
	char *string = text;
	void *from = &number;

	*ret_size = 8;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		const ProtobufCMessageDescriptor *d = f->descriptor;

		sub = calloc(1, d->sizeof_message);
		protobuf_c_message_init(d, sub);
		message_fill(sub, depth + 1);
		from = &sub;
	} else if (f->type == PROTOBUF_C_TYPE_STRING) {
		from = &string;
	} else if (f->type == PROTOBUF_C_TYPE_BYTES) {
		from = &bytes;
		*ret_size = sizeof(bytes);
	} else if (f->type == PROTOBUF_C_TYPE_INT32 || f->type == PROTOBUF_C_TYPE_UINT32 ||
		   f->type == PROTOBUF_C_TYPE_FIXED32 || f->type == PROTOBUF_C_TYPE_ENUM ||
		   f->type == PROTOBUF_C_TYPE_BOOL) {
		*ret_size = 4;
	}
	from = memcpy(calloc(2, *ret_size), from, *ret_size);
	return from;
}

static void message_fill(ProtobufCMessage *msg, unsigned depth)
{
	const ProtobufCMessageDescriptor *d = msg->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		char *base = (char *)msg;
		size_t size;
		void *value = field_value(f, depth, &size);

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			memcpy(base + f->offset, &value, sizeof(value));
			memcpy(base + f->quantifier_offset, &(size_t){1}, sizeof(size_t));
			continue; /* the message keeps it; a seed generator may leak */
		}
		memcpy(base + f->offset, value, size);
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			memcpy(base + f->quantifier_offset, &f->id, sizeof(f->id));
		free(value);
	}
}

static ProtobufCMessage *kind_make(size_t k)
{
	ProtobufCMessage *msg = calloc(1, kinds[k].desc->sizeof_message);

	protobuf_c_message_init(kinds[k].desc, msg);
	message_fill(msg, 0);
	if (kinds[k].tag == IMAGE_TAG_INFO) {
		Stasis__ImageInfo *info = (Stasis__ImageInfo *)(void *)msg;
		static uint8_t id[16];

		info->version = IMAGE_FORMAT_VERSION;
		info->dump_id.data = id;
		info->dump_id.len = sizeof(id);
	}
	return msg;
}

static void seed_record(size_t k)
{
	ProtobufCMessage *msg = kind_make(k);
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t *bytes = malloc(len + 4);

	bytes[0] = (uint8_t)(kinds[k].tag - 1);
	bytes[1] = (uint8_t)len;
	bytes[2] = (uint8_t)(len >> 8);
	(void)protobuf_c_message_pack(msg, bytes + 3);
	bytes[len + 3] = INPUT_RECORDS;
	seed_add(bytes, len + 4);
	free(bytes);
}

/* Record kinds of the bits in `mask`, and segments when asked for. */
static void seed_make(unsigned mask, bool has_segments)
{
	struct image_segment seg = {.vaddr = 0x1000, .memsz = 0x3000, .prot = 5};
	char folder[] = "/tmp/reader-fuzz.XXXXXX", *bytes = NULL;
	struct image_writer *w;
	size_t len = 0;
	int dirfd;

	if (!mkdtemp(folder))
		die("mkdtemp");
	dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (image_create(dirfd, "seed", false, &w, NULL) < 0)
		die("seed");
	(void)image_put_note(w, "CORE", 1, "abc", 3, NULL);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		if (mask & 1u << k && image_put_record(w, kinds[k].tag, kind_make(k), NULL) < 0)
			die("seed record");
	if (has_segments && (image_add_segment(w, &seg, NULL) < 0 ||
			     image_put_bulk(w, 5, 0, "bulk", 4, NULL) < 0))
		die("seed segments");
	if (image_seal(w, NULL) < 0 ||
	    io_read_file_at(dirfd, w->draft, MAX_FILE, &bytes, &len, NULL) < 0)
		die("seed file");
	bytes[len] = INPUT_FILE; /* where the NUL was */
	seed_add((uint8_t *)bytes, len + 1);
	bytes[len] = INPUT_MENDED;
	seed_add((uint8_t *)bytes, len + 1);
	free(bytes);
	image_discard(w);
	(void)close(dirfd);
	(void)rmdir(folder);
}

static void seeds_make(void)
{
	for (unsigned k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		seed_record(k);
	seed_make(0, true);
	seed_make(~0u, true);
}

static void seeds_write(const char *folder)
{
	char path[512];

	for (size_t i = 0; i < nr_seeds; i++) {
		int fd;

		(void)snprintf(path, sizeof(path), "%s/seed-%zu", folder, i);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || io_write_full(fd, seeds[i].bytes, seeds[i].len, NULL) < 0)
			die(path);
		(void)close(fd);
	}
}

/* ---- mutation: the same for the same seed, on every machine */

static uint64_t rng;

static uint64_t next_random(void) /* xorshift64 */
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static void mutate_once(uint8_t *bytes, size_t *len)
{
	static const uint64_t evil[] = {0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
					1ULL << 62, 1ULL << 63, UINT64_MAX};
	/* page 0's zeros are no place worth changing */
	size_t page = next_random() % 4 ? 4096 : 0, at;
	uint64_t value = evil[next_random() % (sizeof(evil) / sizeof(*evil))];

	if (page >= *len)
		page = 0;
	at = page + next_random() % (page ? *len - page : *len < 160 ? *len : 160);
	switch (next_random() % 6) {
	case 0:
	case 1:
		bytes[at] = (uint8_t)next_random();
		break;
	case 2:
		bytes[at] ^= (uint8_t)(1u << next_random() % 8);
		break;
	case 3:
		memcpy(bytes + at, &value, *len - at < 8 ? *len - at : next_random() % 2 ? 4 : 8);
		break;
	case 4: { /* cut out a few bytes */
		size_t n = 1 + next_random() % 16;

		if (at + n < *len) {
			memmove(bytes + at, bytes + at + n, *len - at - n);
			*len -= n;
		}
		break;
	}
	default: { /* double a few bytes */
		size_t n = 1 + next_random() % 16;

		if (at + n <= *len && *len + n <= MAX_FILE) {
			memmove(bytes + at + n, bytes + at, *len - at);
			*len += n;
		}
	}
	}
}

static void mutation_loop(unsigned long rounds)
{
	uint8_t *bytes = malloc(MAX_FILE);

	for (unsigned long i = 0; i < rounds && nr_seeds; i++) {
		const struct seed *seed = &seeds[next_random() % nr_seeds];
		size_t len = seed->len;

		memcpy(bytes, seed->bytes, len);
		for (uint64_t n = 1 + next_random() % 6; n > 0; n--)
			mutate_once(bytes, &len);
		bytes[len - 1] = seed->bytes[seed->len - 1];
		(void)LLVMFuzzerTestOneInput(bytes, len);
	}
	free(bytes);
}

int main(int argc, char **argv)
{
	unsigned long rounds = DEFAULT_ROUNDS;
	const char *write_to = NULL;
	int option;

	rng = 1;
	while ((option = getopt(argc, argv, "n:s:w:")) != -1) {
		if (option == 'n')
			rounds = strtoul(optarg, NULL, 10);
		else if (option == 's')
			rng = strtoull(optarg, NULL, 10) | 1;
		else if (option == 'w')
			write_to = optarg;
		else
			return 2;
	}
	for (int i = optind; i < argc; i++) {
		char *bytes;
		size_t len;

		if (io_read_file_at(AT_FDCWD, argv[i], MAX_FILE, &bytes, &len, NULL) < 0)
			die(argv[i]);
		seed_add((uint8_t *)bytes, len);
		free(bytes);
	}
	if (!nr_seeds)
		seeds_make();
	if (write_to) {
		seeds_write(write_to);
		return 0;
	}
	(void)printf("1..2\n");
	for (size_t i = 0; i < nr_seeds; i++)
		(void)LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].len);
	(void)printf("ok 1 - %zu seeds\n", nr_seeds);
	mutation_loop(rounds);
	(void)printf("ok 2 - %lu mutations\n", rounds);
	return 0;
}

#endif
