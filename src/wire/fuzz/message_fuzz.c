/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: the text of a message from whoever connects. Includes the source, as it is not in libengine. */
#include "wire/message.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct wire_msg m;
	uint64_t n;

	if (len > WIRE_MAX_TEXT)
		return 0;
	memcpy(m.text, data, len);
	m.len = len;
	if (wire_parse(&m, NULL) < 0)
		return 0;
	for (size_t i = 0; i < m.nr_fields; i++)
		(void)wire_get_number(&m, m.keys[i], UINT32_MAX, 0, &n, NULL);
	return 0;
}
