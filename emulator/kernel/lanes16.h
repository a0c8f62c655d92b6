/* Two outputs of sixteen events per vector: the statements of lane.py on int16 lanes of AVX-512. */
#undef K
#undef MIN
#undef MAX
#undef SIGN
#undef WRAP
#undef INSIDE
#define K(c) ((int16x32)_mm512_set1_epi16(c))
#define MIN(a, b) ((int16x32)_mm512_min_epi16((__m512i)(a), (__m512i)(b)))
#define MAX(a, b) ((int16x32)_mm512_max_epi16((__m512i)(a), (__m512i)(b)))
#define SIGN(v) ((v) >> 15)
#define WRAP(v, width) (((v) << (16 - (width))) >> (16 - (width)))
#define INSIDE(v, low, high)                                                                                 \
    ((int16x32)_mm512_maskz_mov_epi16(_mm512_cmple_epi16_mask((__m512i)(low), (__m512i)(v)) &                \
                                          _mm512_cmple_epi16_mask((__m512i)(v), (__m512i)(high)),            \
                                      (__m512i)(v)))
