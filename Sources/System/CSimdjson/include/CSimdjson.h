// A C face for simdjson's DOM parser; Runtime/JSON reads the tape it returns.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tessera_json_document;

enum tessera_json_status {
    TESSERA_JSON_OK = 0,
    TESSERA_JSON_SYNTAX = 1,
    TESSERA_JSON_DEPTH = 2,
    TESSERA_JSON_UTF8 = 3,
    TESSERA_JSON_NUMBER = 4,
    TESSERA_JSON_EMPTY = 5,
    TESSERA_JSON_MEMORY = 6,
};

// Parses `length` bytes, which need no padding: they are copied. On success `*out` is owned by the caller.
int tessera_json_parse(const uint8_t *bytes, size_t length, size_t depth,
                       struct tessera_json_document **out);

// The tape (simdjson's doc/tape.md) and the strings that it points into; both live as long as the document.
const uint64_t *tessera_json_tape(const struct tessera_json_document *document);
const uint8_t *tessera_json_strings(const struct tessera_json_document *document);

void tessera_json_free(struct tessera_json_document *document);

#ifdef __cplusplus
}
#endif
