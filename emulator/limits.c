/* What this machine can do at most: loops whose speed is a known property of the processor. */
#include <stdint.h>

#define FOUR(x) x x x x
#define SIXTEEN(x) FOUR(FOUR(x))

/* n x 16 additions of 512-bit vectors, each waiting for the one before: one cycle each. */
void axo_cycles(int64_t n) {
#ifdef __AVX512F__
    for (int64_t i = 0; i < n; i++) __asm__ volatile(SIXTEEN("vpaddd %%zmm0, %%zmm0, %%zmm0\n") ::: "xmm0");
#endif
}

/* n x 12 dot-product instructions that do not wait for each other. */
void axo_dots(int64_t n) {
#ifdef __AVX512VNNI__
#define DOT(k) "vpdpbusd %%zmm15, %%zmm15, %%zmm" #k "\n"
    for (int64_t i = 0; i < n; i++)
        __asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7) DOT(8) DOT(9) DOT(10) DOT(11)::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                               "xmm10", "xmm11", "xmm15");
#endif
}

/* Read n 64-bit words from memory; the sum keeps the compiler from leaving it. */
int64_t axo_read(const int64_t *words, int64_t n) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += words[i];
    return sum;
}
