#ifndef AXO_OPERATIONS_H_
#define AXO_OPERATIONS_H_

// The operations of a fixed-point network that hls4ml has no layer for, with the arithmetic of
// ap_fixed; axo.network.reference states the same in numpy. Plain C++11, for every HLS release.

#include "ap_fixed.h"
#include "ap_int.h"

namespace axo {

template <int N, class X, class Y> void linear(const X x[N], Y y[N]) {
    #pragma HLS INLINE
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        y[i] = x[i];
    }
}

template <int N, class X, class Y> void relu(const X x[N], Y y[N]) {
    #pragma HLS INLINE
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        if (x[i] > 0)
            y[i] = x[i];
        else
            y[i] = 0;
    }
}

// Within the type of x: dropped bits are lost, a negative amount shifts left.
template <int N, class X> void shift(const X x[N], const int amount[N], X y[N]) {
    #pragma HLS INLINE
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] >> amount[i];
    }
}

template <int N, class A, class B, class Y> void subtract(const A a[N], const B b[N], Y y[N]) {
    #pragma HLS INLINE
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        y[i] = a[i] - b[i];
    }
}

// x scale + bias, exact before it is assigned.
template <int N, class X, class S, class B, class Y> void scale(const X x[N], const S factor[N], const B bias[N], Y y[N]) {
    #pragma HLS INLINE
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] * factor[i] + bias[i];
    }
}

// Each product is assigned to PRODUCT before it is added; the sum is assigned to SUM at every step.
template <int N, class PRODUCT, class A, class B, class SUM>
void dot(const A a[N], const B b[N], SUM y[1]) {
    #pragma HLS INLINE
    SUM sum = 0;
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        PRODUCT product = a[i] * b[i];
        sum = sum + product;
    }
    y[0] = sum;
}

// As dot, for sums whose result does not depend on the order (no bit is dropped or saturated while
// adding): pairs, then pairs of pairs, for a shallow adder tree.
template <int N, class PRODUCT, class A, class B, class SUM>
void dot_tree(const A a[N], const B b[N], SUM y[1]) {
    #pragma HLS INLINE
    SUM sums[N];
    #pragma HLS ARRAY_PARTITION variable=sums complete
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        PRODUCT product = a[i] * b[i];
        sums[i] = product;
    }
    for (int step = 1; step < N; step *= 2) {
        #pragma HLS UNROLL
        for (int i = 0; i + step < N; i += 2 * step) {
            #pragma HLS UNROLL
            sums[i] = sums[i] + sums[i + step];
        }
    }
    y[0] = sums[0];
}

// The integer of a value: its bits, sign-extended.
template <int W, int I, ap_q_mode Q, ap_o_mode O> long long word(const ap_fixed<W, I, Q, O> &value) {
    ap_int<W> bits = value.range(W - 1, 0);
    return bits.to_int64();
}

template <int W, int I, ap_q_mode Q, ap_o_mode O> long long word(const ap_ufixed<W, I, Q, O> &value) {
    ap_uint<W> bits = value.range(W - 1, 0);
    return bits.to_uint64();
}

} // namespace axo

#endif
