// libvips behind functions with fixed signatures: Swift cannot call its variadic ones.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// An image in memory: upright, sRGB, 8 bits a channel, without metadata.
typedef struct tessera_image tessera_image;

/// What a file's header says, before any pixel is decoded.
typedef struct {
    int32_t width;
    int32_t height;
    int32_t pages;
} tessera_image_header;

typedef enum {
    TESSERA_IMAGE_JPEG,
    TESSERA_IMAGE_PNG,
    TESSERA_IMAGE_WEBP,
    TESSERA_IMAGE_GIF,
    TESSERA_IMAGE_HEIF,
} tessera_image_format;

/// Starts libvips: only the loaders of the formats above stay allowed, nothing is cached, and each operation uses
/// `threads` threads. Call it once, before anything else. Returns 0, or -1.
int tessera_vips_start(int threads);

/// Whether this build of libvips reads the format.
int tessera_vips_reads(tessera_image_format format);

/// Reads the header of a file of the given format. Returns 0, or -1.
int tessera_image_read_header(const char *path, tessera_image_format format, tessera_image_header *header);

/// Decodes a file into at most `width` × `height` pixels; never enlarges. `crop` fills the box and cuts what sticks
/// out; `animated` keeps all frames. Gives up after `seconds`. Returns NULL on failure.
tessera_image *tessera_image_load(const char *path, int width, int height, int crop, int animated, int seconds);

/// A smaller copy of an image that is not animated, as above. Returns NULL on failure.
tessera_image *tessera_image_shrink(const tessera_image *image, int width, int height);

/// The width, and the height of one frame.
int tessera_image_width(const tessera_image *image);
int tessera_image_height(const tessera_image *image);

/// Whether some pixel lets the background through.
int tessera_image_is_transparent(const tessera_image *image);

/// Encodes into memory that `tessera_image_free_bytes` takes back. Returns NULL on failure.
uint8_t *tessera_image_encode(const tessera_image *image, tessera_image_format format, int quality, size_t *length);

/// The pixels as rows of RGB bytes, on white; `tessera_image_free_bytes` takes them back. NULL on failure.
uint8_t *tessera_image_rgb(const tessera_image *image, size_t *length);

/// Gives memory that large pictures have left behind back to the system.
void tessera_vips_trim(void);

void tessera_image_free_bytes(uint8_t *bytes);
void tessera_image_free(tessera_image *image);

/// Copies what libvips has to say about recent failures, for the log, and forgets it. Other threads' words may be among it.
void tessera_vips_take_error(char *buffer, size_t size);
