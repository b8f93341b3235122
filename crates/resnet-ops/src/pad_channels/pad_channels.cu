// Zero channels around those of every s-th pixel, an octet of outputs, or of inputs in the backward pass, to a thread.

#include "cuda/window.cuh"

KERNEL(pad_channels_forward)(int64 total, int octets, int ih, int iw, int oh, int ow, int sh, int sw, int channels, int before,
                             const T *x, T *y) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int output[2] = {oh, ow};
    const Place at(i, output, octets);
    const T *pixel = x + ((at.image * ih + at.row * sh) * iw + at.column * sw) * padded(channels);
    Octet values = {};
    for (int lane = 0; lane < OCTET; lane++) {
        const int channel = at.octet * OCTET + lane - before;
        if (channel >= 0 && channel < channels) values.lane[lane] = to_float(pixel[channel]);
    }
    store(y + i * OCTET, values);
}

KERNEL(pad_channels_backward)(int64 total, int octets, int ih, int iw, int oh, int ow, int sh, int sw, int channels, int before,
                              int out_channels, const T *dy, bool accumulate, T *dx) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int input[2] = {ih, iw};
    const Place at(i, input, octets);
    Octet sum = {};
    if (accumulate) sum = load(dx + i * OCTET);
    if (at.row % sh == 0 && at.column % sw == 0) {
        const T *pixel = dy + ((at.image * oh + at.row / sh) * ow + at.column / sw) * padded(out_channels) + before;
        for (int lane = 0; lane < OCTET; lane++) {
            const int channel = at.octet * OCTET + lane;
            if (channel < channels) sum.lane[lane] += to_float(pixel[channel]);
        }
    }
    store(dx + i * OCTET, sum);
}
