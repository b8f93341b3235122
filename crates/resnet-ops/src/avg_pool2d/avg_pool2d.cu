// Average pooling, an octet of outputs, or of inputs in the backward pass, to a thread.

#include "cuda/window.cuh"

/// Pixels of a window along an axis that count in the divisor.
INLINE int NAME(counted)(const Pooling &pooling, int axis, int window, bool with_padding) {
    const int start = pooling.start(axis, window), padding = with_padding ? pooling.padding[axis] : 0;
    const int end = start + pooling.kernel[axis], most = pooling.input[axis] + padding;
    return (end < most ? end : most) - (start < -padding ? -padding : start);
}

KERNEL(avg_pool_forward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                         bool with_padding, const T *x, T *y) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    const int64 i = thread_index();
    if (i >= total) return;
    const Place at(i, pooling.output, octets);
    Octet sum = {};
    each_pixel(pooling, at, octets, x, [&](int, int, const Octet &values) {
        for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += values.lane[lane];
    });
    const float divisor = static_cast<float>(NAME(counted)(pooling, 0, at.row, with_padding) *
                                             NAME(counted)(pooling, 1, at.column, with_padding));
    for (float &value : sum.lane) value /= divisor;
    store(y + i * OCTET, sum);
}

KERNEL(avg_pool_backward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                          bool with_padding, const T *dy, bool accumulate, T *dx) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    const int64 i = thread_index();
    if (i >= total) return;
    const Place at(i, pooling.input, octets);
    Octet sum = {};
    if (accumulate) sum = load(dx + i * OCTET);
    for (int p = pooling.first(0, at.row); p <= pooling.last(0, at.row); p++) {
        for (int q = pooling.first(1, at.column); q <= pooling.last(1, at.column); q++) {
            const Octet gradients = load(dy + (((at.image * oh + p) * ow + q) * octets + at.octet) * OCTET);
            const int divisor = NAME(counted)(pooling, 0, p, with_padding) * NAME(counted)(pooling, 1, q, with_padding);
            for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += gradients.lane[lane] / static_cast<float>(divisor);
        }
    }
    store(dx + i * OCTET, sum);
}
