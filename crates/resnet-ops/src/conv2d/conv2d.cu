// What surrounds a convolution: images and weights brought to the order that cuDNN reads, gradients back from it, and what
// follows the products.
//
// A first convolution of stride 2 reads 2x2 pixels of its few channels as the channels of one: `block` is 2 and a kernel's row
// r meets row 2u + dy + offset, where u counts the rewritten kernel's rows and dy the rows of a block. Otherwise `block` is 1.

/// Images (N, C, H, W) in f32 to blocks of pixels, `lead` rows and columns of them before the image.
KERNEL(conv_import)(int64 octets, int channels, int height, int width, int block, int lead_down, int lead_across, int rows, int columns,
                    const float *source, T *target) {
    const int64 i = thread_index();
    if (i >= octets) return;
    const int per_pixel = padded(block * block * channels) / OCTET;
    const int64 pixel = i / per_pixel;
    const int column = static_cast<int>(pixel % columns), row = static_cast<int>(pixel / columns % rows);
    const float *image = source + pixel / columns / rows * channels * height * width;
    Octet values;
    for (int lane = 0; lane < OCTET; lane++) {
        const int place = static_cast<int>(i % per_pixel) * OCTET + lane, part = place / channels;
        const int y = (row - lead_down) * block + part / block, x = (column - lead_across) * block + part % block;
        const bool real = part < block * block && y >= 0 && y < height && x >= 0 && x < width;
        values.lane[lane] = real ? image[(static_cast<int64>(place % channels) * height + y) * width + x] : 0;
    }
    store(target + i * OCTET, values);
}

/// The filters of a convolution: plain, (out, in, height, width) in f32 with the bias behind them, and packed, (out, rows, columns,
/// lanes), where what has no counterpart is zero, the bias behind them in f32. As cuda/filters.rs writes them.
struct NAME(Filters) {
    float *plain;
    T *packed;
    /// The packed bias, or the gradient of a bias that is to be cleared; none if there is neither.
    float *bias;
    /// The first block that works on them.
    int first_block;
    int out_channels, channels, height, width, block, down, across, rows, columns, lanes, unused;
};

/// Those of several convolutions, as many as the arguments of a launch have room for.
struct NAME(EveryFilters) {
    NAME(Filters) of[56];
};
static_assert(sizeof(NAME(EveryFilters)) == 56 * 9 * 8, "as many words as cuda/filters.rs sends");

/// Weights that a block brings from one order to the other, through shared memory, so that both sides are whole lines.
constexpr int NAME(TILE) = 2304;

/// A block's part of the filters: some channels of one.
struct NAME(Part) {
    int out, first, end, taps;
    /// Whether the weights have room in shared memory.
    bool fits;
    int64 weights;

    INLINE explicit NAME(Part)(const NAME(Filters) & filters) {
        taps = filters.height * filters.width;
        fits = taps <= NAME(TILE);
        const int most = fits ? NAME(TILE) / taps : 1, per_filter = (filters.channels + most - 1) / most;
        const int part = static_cast<int>(blockIdx.x) - filters.first_block;
        out = part / per_filter;
        first = part % per_filter * most;
        end = first + most < filters.channels ? first + most : filters.channels;
        weights = (static_cast<int64>(out) * filters.channels + first) * taps;
    }
};

/// Calls `at(place, weight)` for a thread's share of a block's part: a place in the packed filters, and which of the part's weights
/// is its counterpart, −1 where there is none.
template <typename F> INLINE void each_place(const NAME(Filters) & f, const NAME(Part) & part, F at) {
    const bool last = part.end == f.channels;
    const int first = f.block == 1 ? part.first : 0, end = f.block == 1 && !last ? part.end : f.lanes, across = end - first;
    for (int i = threadIdx.x; i < f.rows * f.columns * across; i += blockDim.x) {
        const int tap = i / across, lane = first + i - tap * across, row = tap / f.columns, column = tap - row * f.columns;
        const int cell = f.block == 1 ? 0 : lane / f.channels, channel = lane - cell * f.channels;
        const bool counts = channel < f.channels && cell < f.block * f.block;
        // Another block's, but for the lanes behind all channels.
        if (counts ? channel < part.first || channel >= part.end : !last) continue;
        const int r = f.block * row + cell / f.block + f.down, s = f.block * column + cell % f.block + f.across;
        const bool real = counts && r >= 0 && r < f.height && s >= 0 && s < f.width;
        const int64 place = (static_cast<int64>(part.out) * f.rows * f.columns + tap) * f.lanes + lane;
        at(place, real ? (channel - part.first) * part.taps + r * f.width + s : -1);
    }
}

/// Packs filters: a weight comes as f32 and goes in the type of the activations.
SYNCING_KERNEL(conv_pack)(int count, BY_VALUE(NAME(EveryFilters)) every) {
    SHARED float kept[NAME(TILE)];
    const NAME(Filters) &filters = every.of[place_of_block(count, [&](int place) { return every.of[place].first_block; })];
    const NAME(Part) part(filters);
    const bool real = part.out < filters.out_channels;
    const float *weights = filters.plain + part.weights;
    if (real && part.fits) {
        for (int i = threadIdx.x; i < (part.end - part.first) * part.taps; i += blockDim.x) kept[i] = weights[i];
    }
    __syncthreads();
    const float *from = part.fits ? kept : weights;
    T *packed = filters.packed;
    each_place(filters, part, [&](int64 place, int weight) { round_to(real && weight >= 0 ? from[weight] : 0, &packed[place]); });
    if (filters.bias && real && part.first == 0 && threadIdx.x == 0) {
        const int64 filter = static_cast<int64>(filters.channels) * part.taps;
        filters.bias[part.out] = filters.plain[filters.out_channels * filter + part.out];
    }
}

/// The gradients of packed filters back in plain order: an element comes and f32 goes. Clears the bias's where it is named.
SYNCING_KERNEL(conv_unpack)(int count, BY_VALUE(NAME(EveryFilters)) every) {
    SHARED float kept[NAME(TILE)];
    const NAME(Filters) &filters = every.of[place_of_block(count, [&](int place) { return every.of[place].first_block; })];
    const NAME(Part) part(filters);
    if (part.out >= filters.out_channels) return;
    float *gradients = filters.plain + part.weights;
    float *to = part.fits ? kept : gradients;
    const T *packed = filters.packed;
    each_place(filters, part, [&](int64 place, int weight) {
        if (weight >= 0) to[weight] = to_float(packed[place]);
    });
    __syncthreads();
    if (part.fits) {
        for (int i = threadIdx.x; i < (part.end - part.first) * part.taps; i += blockDim.x) gradients[i] = kept[i];
    }
    if (filters.bias && part.first == 0 && threadIdx.x == 0) filters.bias[part.out] = 0;
}

/// y = act(y + bias + shortcut); lanes beyond the channels become zero.
KERNEL(conv_epilogue)(int64 octets, int channels, const float *bias, const T *shortcut, bool with_relu, T *y) {
    const int64 i = thread_index();
    if (i >= octets) return;
    const int first = i % (padded(channels) / OCTET) * OCTET;
    Octet values = load(y + i * OCTET);
    Octet others = {};
    if (shortcut) others = load(shortcut + i * OCTET);
    for (int lane = 0; lane < OCTET; lane++) {
        const int channel = first + lane;
        const float sum = values.lane[lane] + (bias && channel < channels ? bias[channel] : 0) + others.lane[lane];
        values.lane[lane] = channel >= channels ? 0 : with_relu ? relu(sum) : sum;
    }
    store(y + i * OCTET, values);
}
