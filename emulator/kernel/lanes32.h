/* Sixteen events per vector: the statements of lane.py on int32 lanes of AVX-512. */
#undef K
#undef MIN
#undef MAX
#undef SIGN
#undef WRAP
#undef INSIDE
#define K(c) ((int32x16)_mm512_set1_epi32(c))
#define MIN(a, b) ((int32x16)_mm512_min_epi32((__m512i)(a), (__m512i)(b)))
#define MAX(a, b) ((int32x16)_mm512_max_epi32((__m512i)(a), (__m512i)(b)))
#define SIGN(v) ((v) >> 31)
#define WRAP(v, width) (((v) << (32 - (width))) >> (32 - (width)))
#define INSIDE(v, low, high)                                                                                 \
    ((int32x16)_mm512_maskz_mov_epi32(_mm512_cmple_epi32_mask((__m512i)(low), (__m512i)(v)) &                \
                                          _mm512_cmple_epi32_mask((__m512i)(v), (__m512i)(high)),            \
                                      (__m512i)(v)))
