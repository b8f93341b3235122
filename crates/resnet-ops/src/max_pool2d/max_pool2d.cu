// Max-pooling, an octet of outputs, or of inputs in the backward pass, to a thread.

#include "cuda/window.cuh"

KERNEL(max_pool_forward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                         const T *x, T *y, unsigned char *argmax) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    const int64 i = thread_index();
    if (i >= total) return;
    const Place at(i, pooling.output, octets);
    const Octet best = maxima(pooling, at, [&](int row, int column) {
        return load(x + (((at.image * ih + row) * iw + column) * octets + at.octet) * OCTET);
    }, argmax + i * OCTET);
    store(y + i * OCTET, best);
}

/// Each pixel collects the gradients of the windows whose maximum it is, in reading order.
KERNEL(max_pool_backward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                          const T *dy, const unsigned char *argmax, bool accumulate, T *dx) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    const int64 i = thread_index();
    if (i >= total) return;
    const Place at(i, pooling.input, octets);
    Octet sum = {};
    if (accumulate) sum = load(dx + i * OCTET);
    for (int p = pooling.first(0, at.row); p <= pooling.last(0, at.row); p++) {
        for (int q = pooling.first(1, at.column); q <= pooling.last(1, at.column); q++) {
            const int number = (at.row - pooling.start(0, p)) * kw + at.column - pooling.start(1, q);
            const int64 window = (((at.image * oh + p) * ow + q) * octets + at.octet) * OCTET;
            const Octet gradients = load(dy + window);
            const Numbers numbers = *reinterpret_cast<const Numbers *>(argmax + window);
            for (int lane = 0; lane < OCTET; lane++) {
                if (numbers.lane[lane] == number) sum.lane[lane] += gradients.lane[lane];
            }
        }
    }
    store(dx + i * OCTET, sum);
}
