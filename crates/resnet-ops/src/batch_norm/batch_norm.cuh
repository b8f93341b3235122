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

/// Where a thread stands in a block that sums over the pixels of an image: threads side by side take an octet each, and each
/// row of them every `rows`th pixel. Blocks of all images that take the same octets are a group.
struct Summer {
    int image, images, group, column, columns, row, rows, octet;
    /// The block's first channel and how many it has.
    int first, lanes;
    /// Where a thread stands when a group's last block adds up the images: a channel, and the turn at which it takes one.
    int lane, turn, turns;

    INLINE Summer(int octets, int per_block) {
        const int groups = (octets + per_block - 1) / per_block;
        image = blockIdx.x / groups;
        images = gridDim.x / groups;
        group = blockIdx.x % groups;
        columns = per_block;
        rows = blockDim.x / per_block;
        column = threadIdx.x % per_block;
        row = threadIdx.x / per_block;
        octet = group * per_block + column;
        first = group * per_block * OCTET;
        const int left = octets - group * per_block;
        lanes = (left < per_block ? left : per_block) * OCTET;
        lane = threadIdx.x % lanes;
        turn = threadIdx.x / lanes;
        turns = blockDim.x / lanes;
    }
};

/// The sum over the images of a channel's values, in an order that no block's place in time changes. `kept` has room for each thread. All
/// threads of a block come here together; those of the first turn have the sum.
template <typename F> INLINE double sum_of_images(double *kept, const Summer &at, F value) {
    double sum = 0;
    if (at.turn < at.turns) {
        for (int image = at.turn; image < at.images; image += at.turns) sum += value(image);
    }
    __syncthreads();
    kept[threadIdx.x] = sum;
    __syncthreads();
    double total = 0;
    for (int turn = 0; turn < at.turns; turn++) total += kept[turn * at.lanes + at.lane];
    return total;
}

/// The sum over the rows of threads, in order, of a lane: kept by row, octet and lane.
INLINE double sum_of_rows(const float *kept, const Summer &at, int lane) {
    double sum = 0;
    for (int row = 0; row < at.rows; row++) sum += kept[row * at.columns * OCTET + lane];
    return sum;
}
