#include <zlib.h>

// A macro, which Swift does not see.
static inline int tessera_deflate_begin(z_stream *stream, int level) {
    // 16 more than the window's 15 bits: with the head and the end of a gzip file, whose time stays zero.
    return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}
