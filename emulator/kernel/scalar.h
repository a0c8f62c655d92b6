/* One event per lane, in plain C: the statements of lane.py on int32_t and int64_t. */
#undef K
#undef MIN
#undef MAX
#undef SIGN
#undef WRAP
#undef INSIDE
#define K(c) (c)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define SIGN(v) ((v) >> (8 * sizeof(v) - 1))
#define WRAP(v, width) ((__typeof__(v))((v) << (8 * sizeof(v) - (width))) >> (8 * sizeof(v) - (width)))
#define INSIDE(v, low, high) ((v) >= (low) && (v) <= (high) ? (v) : 0)
