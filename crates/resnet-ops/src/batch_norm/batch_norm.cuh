// What the kernels of batch norm share.
#pragma once

/// 1/√(variance + ε), as every kernel works it out, so that all give the same bits.
INLINE float inverse_deviation(float variance, float eps) { return 1 / sqrtf(variance + eps); }

/// What of a batch norm belongs to eight channels.
struct NormOctet {
    float mean[OCTET], inverse[OCTET], scale[OCTET], shift[OCTET];

    /// `statistics` is the variance if it is to be `eps`-added and inverted, else the inverse deviation.
    INLINE NormOctet(int first, int channels, const float *params, const float *means, const float *statistics, bool invert, float eps) {
        for (int lane = 0; lane < OCTET; lane++) {
            const int channel = first + lane;
            const bool real = channel < channels;
            mean[lane] = real ? means[channel] : 0;
            inverse[lane] = !real ? 0 : invert ? inverse_deviation(statistics[channel], eps) : statistics[channel];
            scale[lane] = real ? params[channel] * inverse[lane] : 0;
            shift[lane] = real ? params[channels + channel] - mean[lane] * scale[lane] : 0;
        }
    }
};
