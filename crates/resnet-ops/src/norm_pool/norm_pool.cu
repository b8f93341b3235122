// Batch norm, ReLU and max-pooling in one pass, an octet of outputs at a time to a thread, all of the same channels.

#include "batch_norm/batch_norm.cuh"
#include "cuda/window.cuh"

KERNEL(norm_pool_forward)(int64 total, int octets, int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
                          int channels, const T *x, const float *params, const float *mean, const float *inverse, bool with_relu,
                          T *y, unsigned char *argmax) {
    const Pooling pooling = {{ih, iw}, {oh, ow}, {kh, kw}, {sh, sw}, {ph, pw}};
    if (thread_index() >= total) return;
    const NormOctet norm(first_channel(channels), channels, params, mean, inverse, false, 0);
    const auto made = [&](Octet values) {
        for (int lane = 0; lane < OCTET; lane++) {
            const float value = values.lane[lane] * norm.scale[lane] + norm.shift[lane];
            values.lane[lane] = with_relu ? relu(value) : value;
        }
        return values;
    };
    for (int64 i = thread_index(); i < total; i += all_threads()) {
        const Place at(i, pooling.output, octets);
        store(y + i * OCTET, maxima(pooling, at, octets, x, made, argmax + i * OCTET));
    }
}
