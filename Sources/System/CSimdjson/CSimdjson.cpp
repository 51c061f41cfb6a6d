#include "CSimdjson.h"

#include <new>
#include <simdjson.h>

struct tessera_json_document {
    simdjson::dom::document value;
};

namespace {

// A parser's buffers grow with what it has parsed; texts above this get a parser of their own, so that one
// large body does not stay in the memory of each loop.
constexpr size_t kept_capacity = 256 * 1024;

int status_of(simdjson::error_code error) {
    switch (error) {
    case simdjson::SUCCESS: return TESSERA_JSON_OK;
    case simdjson::DEPTH_ERROR: return TESSERA_JSON_DEPTH;
    case simdjson::UTF8_ERROR: return TESSERA_JSON_UTF8;
    case simdjson::NUMBER_OUT_OF_RANGE:
    case simdjson::NUMBER_ERROR: return TESSERA_JSON_NUMBER;
    case simdjson::EMPTY: return TESSERA_JSON_EMPTY;
    case simdjson::MEMALLOC:
    case simdjson::CAPACITY: return TESSERA_JSON_MEMORY;
    default: return TESSERA_JSON_SYNTAX;
    }
}

simdjson::error_code parse(simdjson::dom::parser &parser, simdjson::dom::document &document,
                           const uint8_t *bytes, size_t length, size_t depth) {
    if (parser.max_depth() != depth || parser.capacity() == 0) {
        auto error = parser.allocate(length < 1024 ? 1024 : length, depth);
        if (error) return error;
    }
    return parser.parse_into_document(document, bytes, length).error();
}

} // namespace

extern "C" int tessera_json_parse(const uint8_t *bytes, size_t length, size_t depth,
                                  tessera_json_document **out) {
    *out = nullptr;
    auto *document = new (std::nothrow) tessera_json_document;
    if (!document) return TESSERA_JSON_MEMORY;
    simdjson::error_code error;
    if (length <= kept_capacity) {
        static thread_local simdjson::dom::parser parser;
        error = parse(parser, document->value, bytes, length, depth);
    } else {
        simdjson::dom::parser parser;
        error = parse(parser, document->value, bytes, length, depth);
    }
    if (error) {
        delete document;
        return status_of(error);
    }
    *out = document;
    return TESSERA_JSON_OK;
}

extern "C" const uint64_t *tessera_json_tape(const tessera_json_document *document) {
    return document->value.tape.get();
}

extern "C" const uint8_t *tessera_json_strings(const tessera_json_document *document) {
    return document->value.string_buf.get();
}

extern "C" void tessera_json_free(tessera_json_document *document) { delete document; }
