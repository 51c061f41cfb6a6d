#include "CVips.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

// A tessera_image is a VipsImage; the name keeps glib's headers out of Swift.
static VipsImage *vips(const tessera_image *image) { return (VipsImage *)image; }
static tessera_image *ours(VipsImage *image) { return (tessera_image *)image; }

int tessera_vips_start(int threads) {
    // Warnings about strange files would otherwise go to the standard error output of the process.
    g_setenv("VIPS_WARNING", "0", FALSE);
    if (VIPS_INIT("tessera")) return -1;
    vips_block_untrusted_set(TRUE);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    vips_operation_block_set("VipsForeignLoadJpeg", FALSE);
    vips_operation_block_set("VipsForeignLoadPng", FALSE);
    vips_operation_block_set("VipsForeignLoadWebp", FALSE);
    vips_operation_block_set("VipsForeignLoadNsgif", FALSE);
    vips_operation_block_set("VipsForeignLoadHeif", FALSE);
    vips_cache_set_max(0);
    vips_concurrency_set(threads);
    return 0;
}

static const char *loader(tessera_image_format format) {
    switch (format) {
        case TESSERA_IMAGE_JPEG: return "jpegload";
        case TESSERA_IMAGE_PNG: return "pngload";
        case TESSERA_IMAGE_WEBP: return "webpload";
        case TESSERA_IMAGE_GIF: return "gifload";
        case TESSERA_IMAGE_HEIF: return "heifload";
    }
    return "";
}

int tessera_vips_reads(tessera_image_format format) {
    return vips_type_find("VipsOperation", loader(format)) != 0;
}

int tessera_image_read_header(const char *path, tessera_image_format format, tessera_image_header *header) {
    VipsImage *image = NULL;
    if (vips_call(loader(format), path, &image, "access", VIPS_ACCESS_SEQUENTIAL, NULL)) return -1;
    header->width = vips_image_get_width(image);
    header->height = vips_image_get_height(image);
    header->pages = vips_image_get_n_pages(image);
    g_object_unref(image);
    return 0;
}

static void stop_when_late(VipsImage *image, VipsProgress *progress, void *seconds) {
    if (progress->run > GPOINTER_TO_INT(seconds)) vips_image_set_kill(image, TRUE);
}

// Whether the image carries a profile of an RGB device that its pixels still stand for.
static int has_rgb_profile(VipsImage *image) {
    const void *profile;
    size_t length;
    if (vips_image_get_typeof(image, VIPS_META_ICC_NAME) == 0 || vips_image_get_bands(image) < 3) return 0;
    if (vips_image_get_blob(image, VIPS_META_ICC_NAME, &profile, &length)) return 0;
    // Bytes 16 to 19 of a profile name its colour space; thumbnails of CMYK pictures keep a profile that is used up.
    return length > 20 && memcmp((const char *)profile + 16, "RGB ", 4) == 0;
}

// A new reference to the image in sRGB. libvips' own "export_profile" shifts the colours of pictures without a profile.
static VipsImage *to_srgb(VipsImage *image) {
    VipsImage *converted = NULL, *plain = NULL;
    if (has_rgb_profile(image) && vips_icc_transform(image, &converted, "srgb", "embedded", TRUE, "intent",
                                                     VIPS_INTENT_RELATIVE, NULL)) {
        // A profile that cannot be used is no reason to refuse the picture.
        converted = NULL;
    }
    int status = vips_colourspace(converted ? converted : image, &plain, VIPS_INTERPRETATION_sRGB, NULL);
    g_clear_object(&converted);
    return status ? NULL : plain;
}

static int is_kept(const char *field) {
    static const char *const kept[] = {VIPS_META_PAGE_HEIGHT, VIPS_META_N_PAGES, "delay", "loop", "background"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strcmp(field, kept[i]) == 0) return 1;
    return 0;
}

// Takes away all that is not picture: savers of 8.14 write some of it even where they are told to strip.
static void strip(VipsImage *image) {
    char **fields = vips_image_get_fields(image);
    for (int i = 0; fields && fields[i]; i++)
        if (!is_kept(fields[i])) vips_image_remove(image, fields[i]);
    g_strfreev(fields);
}

// Takes `image` and gives it back in memory, as sRGB of 8 bits, stripped.
static VipsImage *settle(VipsImage *image, int seconds) {
    VipsImage *colour = to_srgb(image), *cast = NULL, *memory = NULL, *settled = NULL;
    if (colour && vips_cast_uchar(colour, &cast, NULL) == 0) {
        vips_image_set_progress(cast, TRUE);
        g_signal_connect(cast, "eval", G_CALLBACK(stop_when_late), GINT_TO_POINTER(seconds));
        memory = vips_image_copy_memory(cast);
    }
    // A copy of the header only: nobody else holds it, so its fields may be changed.
    if (memory && vips_copy(memory, &settled, NULL) == 0) strip(settled);
    g_clear_object(&memory);
    g_clear_object(&cast);
    g_clear_object(&colour);
    g_object_unref(image);
    return settled;
}

tessera_image *tessera_image_load(const char *path, int width, int height, int crop, int animated, int seconds) {
    VipsImage *image = NULL;
    char *name = g_strdup_printf("%s%s", path, animated ? "[n=-1]" : "");
    int status = vips_thumbnail(name, &image, width, "height", height, "size", crop ? VIPS_SIZE_BOTH : VIPS_SIZE_DOWN,
                                "crop", crop ? VIPS_INTERESTING_CENTRE : VIPS_INTERESTING_NONE, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    g_free(name);
    return status ? NULL : ours(settle(image, seconds));
}

tessera_image *tessera_image_shrink(const tessera_image *image, int width, int height) {
    VipsImage *small = NULL;
    if (vips_thumbnail_image(vips(image), &small, width, "height", height, "size", VIPS_SIZE_DOWN, NULL)) return NULL;
    return ours(settle(small, 60));
}

int tessera_image_width(const tessera_image *image) { return vips_image_get_width(vips(image)); }
int tessera_image_height(const tessera_image *image) { return vips_image_get_page_height(vips(image)); }

int tessera_image_is_transparent(const tessera_image *image) {
    VipsImage *alpha = NULL;
    double least = 255;
    if (!vips_image_hasalpha(vips(image))) return 0;
    if (vips_extract_band(vips(image), &alpha, vips_image_get_bands(vips(image)) - 1, NULL)) return 1;
    if (vips_min(alpha, &least, NULL)) least = 0;
    g_object_unref(alpha);
    return least < 255;
}

// A new reference to the image without its alpha channel, on white.
static VipsImage *opaque(const tessera_image *image) {
    VipsImage *flat = NULL;
    if (!vips_image_hasalpha(vips(image))) {
        g_object_ref(vips(image));
        return vips(image);
    }
    VipsArrayDouble *white = vips_array_double_newv(1, 255.0);
    int status = vips_flatten(vips(image), &flat, "background", white, NULL);
    vips_area_unref(VIPS_AREA(white));
    return status ? NULL : flat;
}

uint8_t *tessera_image_encode(const tessera_image *image, tessera_image_format format, int quality, size_t *length) {
    void *bytes = NULL;
    int status = -1;
    switch (format) {
        case TESSERA_IMAGE_JPEG: {
            VipsImage *flat = opaque(image);
            if (flat == NULL) return NULL;
            status = vips_jpegsave_buffer(flat, &bytes, length, "Q", quality, "strip", TRUE, "optimize_coding", TRUE, NULL);
            g_object_unref(flat);
            break;
        }
        case TESSERA_IMAGE_PNG:
            status = vips_pngsave_buffer(vips(image), &bytes, length, "strip", TRUE, NULL);
            break;
        case TESSERA_IMAGE_WEBP:
            status = vips_webpsave_buffer(vips(image), &bytes, length, "Q", quality, "strip", TRUE, NULL);
            break;
        case TESSERA_IMAGE_GIF:
            status = vips_gifsave_buffer(vips(image), &bytes, length, "strip", TRUE, "effort", 3, NULL);
            break;
        case TESSERA_IMAGE_HEIF:
            break;
    }
    return status ? NULL : bytes;
}

uint8_t *tessera_image_rgb(const tessera_image *image, size_t *length) {
    VipsImage *flat = opaque(image);
    if (flat == NULL) return NULL;
    void *bytes = vips_image_get_bands(flat) == 3 ? vips_image_write_to_memory(flat, length) : NULL;
    g_object_unref(flat);
    return bytes;
}

void tessera_vips_trim(void) { malloc_trim(0); }

void tessera_image_free_bytes(uint8_t *bytes) { g_free(bytes); }
void tessera_image_free(tessera_image *image) { g_object_unref(vips(image)); }

void tessera_vips_take_error(char *buffer, size_t size) {
    if (size == 0) return;
    char *error = vips_error_buffer_copy();
    strncpy(buffer, error, size - 1);
    buffer[size - 1] = 0;
    g_free(error);
}
