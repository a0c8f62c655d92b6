/* Building blocks of the dot-product path (AVX-512 F, BW, DQ, VL and VNNI). */
#include <immintrin.h>

typedef int32_t int32x16 __attribute__((vector_size(64)));
typedef int16_t int16x32 __attribute__((vector_size(64)));

#define LOAD(address) ((int32x16)_mm512_load_si512(address))
#define STORE(address, v) _mm512_store_si512(address, (__m512i)(v))

/* a += four unsigned bytes of x times four signed bytes of the 32-bit word at w, in every lane.
   In assembler because a compiler that sees constant weights keeps them in hundreds of vectors. */
#define DOT_BYTES(a, x, w) __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(a) : "v"(x), "m"(w))

/* a += two signed 16-bit numbers of x times two of w, in every lane. */
#define DOT_PAIRS(a, x, w) __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(a) : "v"(x), "m"(w))

#define K16(c) ((int16x32)_mm512_set1_epi16(c))
#define BROADCAST(a, w) __asm__("vpbroadcastd %1, %0" : "=v"(a) : "m"(w))

/* An address near `base`, which the compiler may not trace back: it would otherwise read from
   `base` with offsets of four bytes instead of one, and the code would outgrow the decoders. */
static inline const int32_t *hidden(const int32_t *base, intptr_t index) {
    uintptr_t address = (uintptr_t)base + 4 * index;
    __asm__("" : "+r"(address));
    return (const int32_t *)address;
}

/* Saturate two vectors of int32 to int16: in each quarter, four events of a, then the same of b. */
static inline int16x32 narrowed(int32x16 a, int32x16 b) {
    return (int16x32)_mm512_packs_epi32((__m512i)a, (__m512i)b);
}

/* From that order to one (a, b) pair per event. */
static inline __m512i paired(int16x32 ab) {
    const __m128i order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    return _mm512_shuffle_epi8((__m512i)ab, _mm512_broadcast_i32x4(order));
}

/* From two vectors in that order, saturated to unsigned bytes, to one (a, b, c, d) per event. */
static inline __m512i quartered(int16x32 ab, int16x32 cd) {
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_packus_epi16((__m512i)ab, (__m512i)cd);
    return _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order));
}

/* Transpose r[event][word] of 16 x 16 int32 in place. */
static inline __attribute__((always_inline)) void transpose(__m512i r[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* r[4a + k] holds, in quarter q, word 4q + k of events 4a to 4a + 3. */
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        t[k] = _mm512_shuffle_i32x4(r[k], r[k + 4], 0x88);
        t[k + 4] = _mm512_shuffle_i32x4(r[k], r[k + 4], 0xdd);
        t[k + 8] = _mm512_shuffle_i32x4(r[k + 8], r[k + 12], 0x88);
        t[k + 12] = _mm512_shuffle_i32x4(r[k + 8], r[k + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        r[k] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88);
        r[k + 8] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd);
        r[k + 4] = _mm512_shuffle_i32x4(t[k + 4], t[k + 12], 0x88);
        r[k + 12] = _mm512_shuffle_i32x4(t[k + 4], t[k + 12], 0xdd);
    }
}
