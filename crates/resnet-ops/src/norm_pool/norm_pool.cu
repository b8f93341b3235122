// Batch norm, ReLU and max-pooling in one pass, an octet of outputs to a thread.

#include "batch_norm/batch_norm.cuh"
#include "cuda/window.cuh"

KERNEL(norm_pool_forward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                          int channels, const T *x, const float *params, const float *mean, const float *inverse, bool with_relu,
                          T *y, unsigned char *argmax) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    const int64 i = thread_index();
    if (i >= total) return;
    const Place at(i, pooling.output, octets);
    const NormOctet norm(at.octet * OCTET, channels, params, mean, inverse, false, 0);
    const Octet best = maxima(pooling, at, [&](int row, int column) {
        Octet values = load(x + (((at.image * ih + row) * iw + column) * octets + at.octet) * OCTET);
        for (int lane = 0; lane < OCTET; lane++) {
            const float value = values.lane[lane] * norm.scale[lane] + norm.shift[lane];
            values.lane[lane] = with_relu ? relu(value) : value;
        }
        return values;
    }, argmax + i * OCTET);
    store(y + i * OCTET, best);
}
