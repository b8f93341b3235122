// The gradient of a bias, of a convolution or of a fully connected layer.

#include "cuda/sums.cuh"

/// Sums of dy of each channel in each slice of the pixels: (slice, lanes), and in all, by the last block of some octets.
SYNCING_KERNEL(bias_gradient)(int64 pixels, int octets, int channels, int per_block, int per_slice, const T *dy, double *partial,
                              float *gradients, unsigned *arrived) {
    SHARED Kept kept;
    const Summer at(pixels, octets, per_block, per_slice);
    const int lanes = octets * OCTET;
    Octet sum = {};
    if (at.octet < octets) {
        const T *source = dy + at.octet * OCTET;
        const auto from = [&](int64 pixel) { return fetch(source + pixel * lanes); };
        stream<4>(at.begin + at.row, at.end, static_cast<int64>(at.rows), from, [&](int64, const Octet &values) {
            for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += values.lane[lane];
        });
    }
    const Two total = sum_of_rows(kept, at, sum, {});
    const int channel = at.first + at.lane;
    if (at.turn == 0) partial[static_cast<int64>(at.slice) * lanes + channel] = total.first;
    if (!is_last_block(arrived + at.group, at.slices)) return;
    const double *all = partial + channel;
    const Two sums = sum_by_turns(kept, at, at.slices, [&](int slice) { return Two{fresh(all + static_cast<int64>(slice) * lanes), 0}; });
    if (at.turn == 0 && channel < channels) gradients[channel] = static_cast<float>(sums.first);
}
