// Max-pooling, an octet of outputs, or of inputs in the backward pass, to a thread.

#include "cuda/window.cuh"

KERNEL(max_pool_forward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                         const T *x, T *y, unsigned char *argmax) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    const int64 i = thread_index();
    if (i >= total) return;
    const Place at(i, pooling.output, octets);
    const auto made = [](const Octet &values) { return values; };
    store(y + i * OCTET, maxima(pooling, at, octets, x, made, argmax == nullptr ? nullptr : argmax + i * OCTET));
}

/// The gradients of a window's maxima, and which of its pixels these are.
struct NAME(Chosen) {
    Stored<T> gradients;
    Numbers numbers;
};

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
        const int64 row = ((at.image * oh + p) * ow * octets + at.octet) * OCTET;
        const auto chosen = [&](int q) {
            const int64 window = row + static_cast<int64>(q) * (octets * OCTET);
            return NAME(Chosen){fetch(dy + window), *reinterpret_cast<const Numbers *>(argmax + window)};
        };
        stream<2>(pooling.first(1, at.column), pooling.last(1, at.column) + 1, 1, chosen, [&](int q, const NAME(Chosen) &window) {
            const int number = (at.row - pooling.start(0, p)) * kw + at.column - pooling.start(1, q);
            const Octet gradients = window.gradients;
            for (int lane = 0; lane < OCTET; lane++) {
                if (window.numbers.lane[lane] == number) sum.lane[lane] += gradients.lane[lane];
            }
        });
    }
    store(dx + i * OCTET, sum);
}
