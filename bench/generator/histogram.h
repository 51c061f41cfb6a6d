// Latencies in an HDR histogram: buckets that double in width, each cut into 2,048 steps, so that any value from a
// nanosecond to an hour is kept within 0.1 % in a fixed 340 KB, and adding one costs a few instructions.
//
// Debian has no package of HdrHistogram_c; this is the part of it that is needed here. Histograms of the same shape are
// added up by adding their counts, which is what report.py does with those of several rounds.
#include <stdint.h>
#include <stdio.h>

enum { STEP_BITS = 11, STEPS = 1 << STEP_BITS, DOUBLINGS = 32, SLOTS = (DOUBLINGS + 1) * (STEPS / 2) };

struct histogram {
    uint64_t count, most;
    uint32_t slots[SLOTS];
};

static inline uint32_t histogram_slot(uint64_t value) {
    // Below STEPS each value has a slot; above, the leading STEP_BITS bits choose it.
    if (value < STEPS) return value;
    uint32_t shift = 64 - __builtin_clzll(value) - STEP_BITS;
    uint32_t slot = shift * (STEPS / 2) + (value >> shift);
    return slot < SLOTS ? slot : SLOTS - 1;
}

// The middle of what a slot stands for.
static inline uint64_t histogram_value(uint32_t slot) {
    if (slot < STEPS) return slot;
    uint32_t shift = slot / (STEPS / 2) - 1;
    uint64_t lower = (uint64_t)(slot - shift * (STEPS / 2)) << shift;
    return lower + ((uint64_t)1 << shift) / 2;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->slots[histogram_slot(value)]++;
    histogram->count++;
    if (value > histogram->most) histogram->most = value;
}

static inline uint64_t histogram_at(const struct histogram *histogram, double share) {
    uint64_t wanted = histogram->count * share, seen = 0;
    if (!histogram->count) return 0;
    if (wanted >= histogram->count) return histogram->most;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        seen += histogram->slots[slot];
        if (seen > wanted) return histogram_value(slot);
    }
    return histogram->most;
}

// {"most": NANOSECONDS, "values": [NANOSECONDS, COUNT, …]}, those that are not zero.
static inline void histogram_print(const struct histogram *histogram) {
    printf("{\"most\":%lu,\"values\":[", histogram->most);
    int first = 1;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (!histogram->slots[slot]) continue;
        printf("%s%lu,%u", first ? "" : ",", histogram_value(slot), histogram->slots[slot]);
        first = 0;
    }
    printf("]}");
}
