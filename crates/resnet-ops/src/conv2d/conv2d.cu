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
    const int64 pixel = quotient(i, per_pixel), line = quotient(pixel, columns), number = quotient(line, rows);
    const int column = static_cast<int>(pixel - line * columns), row = static_cast<int>(line - number * rows);
    const float *image = source + number * channels * height * width;
    int part = static_cast<int>(i - pixel * per_pixel) * OCTET / channels;
    int channel = static_cast<int>(i - pixel * per_pixel) * OCTET - part * channels;
    Octet values;
    UNROLL
    for (int lane = 0; lane < OCTET; lane++) {
        // Blocks are of one pixel or of 2x2.
        const int y = (row - lead_down) * block + (block == 1 ? 0 : part >> 1), x = (column - lead_across) * block + (block == 1 ? 0 : part & 1);
        const bool real = part < block * block && y >= 0 && y < height && x >= 0 && x < width;
        values.lane[lane] = real ? image[(static_cast<int64>(channel) * height + y) * width + x] : 0;
        if (++channel == channels) {
            channel = 0;
            part++;
        }
    }
    store(target + i * OCTET, values);
}

/// The filters of a convolution: plain, (out, in, height, width) in f32 with the bias behind them, and packed, (out, rows, columns,
/// lanes), where what has no counterpart is zero, the bias behind them in f32. As cuda/filters.rs writes them.
struct NAME(Filters) {
    float *plain;
    T *packed;
    /// The packed bias, or the gradient of a bias that is to be cleared or copied; none if there is neither.
    float *bias;
    /// The first block that works on them.
    int first_block;
    int packed_filters, out_channels, channels, height, width, block;
    short down, across;
    int rows, columns, lanes;
    /// How far behind the plain filters' begin the gradient is that the bias's is, too; 0 if it is to be cleared.
    int same;
};

/// Those of several convolutions, as many as the arguments of a launch have room for.
struct NAME(EveryFilters) {
    NAME(Filters) of[56];
};
static_assert(sizeof(NAME(EveryFilters)) == 56 * 9 * 8, "as many words as cuda/filters.rs sends");

/// Weights that a block brings from one order to the other, through shared memory, so that both sides are whole lines.
constexpr int NAME(TILE) = 2304;

/// A block's part of the filters: several small ones, or some channels of a large one.
struct NAME(Part) {
    /// The first filter and how many there are, in what is packed and in what is plain.
    int out, filters, real;
    int first, end, taps;
    /// Whether the weights have room in shared memory.
    bool fits;
    /// Where the plain weights begin, which lie together, and how many there are.
    int64 weights;
    int len;

    INLINE explicit NAME(Part)(const NAME(Filters) & f) {
        taps = f.height * f.width;
        fits = taps <= NAME(TILE);
        const int room = fits ? NAME(TILE) / taps : 1, most = room < f.channels ? room : f.channels;
        const int parts = (f.channels + most - 1) / most, together = room / most;
        const int part = static_cast<int>(blockIdx.x) - f.first_block;
        out = part / parts * together;
        first = part % parts * most;
        end = first + most < f.channels ? first + most : f.channels;
        filters = f.packed_filters - out < together ? f.packed_filters - out : together;
        real = f.out_channels - out < filters ? f.out_channels - out : filters;
        if (real < 0) real = 0;
        weights = (static_cast<int64>(out) * f.channels + first) * taps;
        len = real * (end - first) * taps;
    }
};

/// A lane of a tap of a filter, and how far it is from one to the next of a thread's.
struct NAME(Place) {
    int filter, tap, lane;

    /// To number `i`: lanes follow each other, then taps, then filters.
    INLINE NAME(Place)(int i, int taps, int lanes) {
        tap = i / lanes;
        lane = i - tap * lanes;
        filter = tap / taps;
        tap -= filter * taps;
    }

    /// Goes on without a division, which would take longer than bringing a weight from one order to the other.
    INLINE void add(const NAME(Place) & step, int taps, int lanes) {
        lane += step.lane;
        tap += step.tap + (lane >= lanes);
        if (lane >= lanes) lane -= lanes;
        filter += step.filter + (tap >= taps);
        if (tap >= taps) tap -= taps;
    }
};

/// Calls `at(place, weight)` for a thread's share of a block's part: a place in the packed filters, and which of the part's weights
/// is its counterpart, −1 where there is none.
template <typename F> INLINE void each_place(const NAME(Filters) & f, const NAME(Part) & part, F at) {
    const bool last = part.end == f.channels;
    const int first = f.block == 1 ? part.first : 0, end = f.block == 1 && !last ? part.end : f.lanes, across = end - first;
    const int taps = f.rows * f.columns, channels = part.end - part.first;
    const NAME(Place) step(blockDim.x, taps, across);
    for (NAME(Place) now(threadIdx.x, taps, across); now.filter < part.filters; now.add(step, taps, across)) {
        const int lane = first + now.lane;
        int channel = lane, from = now.tap;
        if (f.block != 1) {
            const int row = now.tap / f.columns, column = now.tap - row * f.columns, cell = lane / f.channels;
            channel = lane - cell * f.channels;
            const bool counts = cell < f.block * f.block;
            // Another block's, but for the lanes behind all channels.
            if (counts ? channel < part.first || channel >= part.end : !last) continue;
            const int r = f.block * row + cell / f.block + f.down, s = f.block * column + cell % f.block + f.across;
            from = counts && r >= 0 && r < f.height && s >= 0 && s < f.width ? r * f.width + s : -1;
        }
        const bool real = now.filter < part.real && channel < f.channels && from >= 0;
        const int64 place = (static_cast<int64>(part.out + now.filter) * taps + now.tap) * f.lanes + lane;
        at(place, real ? (now.filter * channels + channel - part.first) * part.taps + from : -1);
    }
}

/// Packs filters: a weight comes as f32 and goes in the type of the activations.
SHARING_KERNEL(conv_pack)(int count, BY_VALUE(NAME(EveryFilters)) every) {
    SHARED float kept[NAME(TILE)];
    const NAME(Filters) &filters = every.of[place_of_block(count, [&](int place) { return every.of[place].first_block; })];
    const NAME(Part) part(filters);
    const float *weights = filters.plain + part.weights;
    if (part.fits) {
        for (int i = threadIdx.x; i < part.len; i += blockDim.x) kept[i] = weights[i];
    }
    __syncthreads();
    const float *from = part.fits ? kept : weights;
    T *packed = filters.packed;
    each_place(filters, part, [&](int64 place, int weight) { round_to(weight >= 0 ? from[weight] : 0, &packed[place]); });
    if (filters.bias && part.first == 0) {
        const float *bias = filters.plain + static_cast<int64>(filters.out_channels) * filters.channels * part.taps;
        for (int i = threadIdx.x; i < part.real; i += blockDim.x) filters.bias[part.out + i] = bias[part.out + i];
    }
}

/// The gradients of packed filters back in plain order: an element comes and f32 goes. Clears or copies the bias's where it is named.
SHARING_KERNEL(conv_unpack)(int count, BY_VALUE(NAME(EveryFilters)) every) {
    SHARED float kept[NAME(TILE)];
    const NAME(Filters) &filters = every.of[place_of_block(count, [&](int place) { return every.of[place].first_block; })];
    const NAME(Part) part(filters);
    float *gradients = filters.plain + part.weights;
    float *to = part.fits ? kept : gradients;
    const T *packed = filters.packed;
    each_place(filters, part, [&](int64 place, int weight) {
        if (weight >= 0) to[weight] = to_float(packed[place]);
    });
    __syncthreads();
    if (part.fits) {
        for (int i = threadIdx.x; i < part.len; i += blockDim.x) gradients[i] = kept[i];
    }
    if (filters.bias && part.first == 0) {
        const float *same = filters.plain + filters.same + part.out;
        for (int i = threadIdx.x; i < part.real; i += blockDim.x) filters.bias[part.out + i] = filters.same ? same[i] : 0;
    }
}

/// Octets of y and of the shortcut in its place.
struct NAME(Joined) {
    Stored<T> y, shortcut;
};

/// y = act(y + bias + shortcut); lanes beyond the channels become zero.
KERNEL(conv_epilogue)(int64 octets, int channels, const float *bias, const T *shortcut, bool with_relu, T *y) {
    if (thread_index() >= octets) return;
    const int first = first_channel(channels);
    float added[OCTET];
    for (int lane = 0; lane < OCTET; lane++) added[lane] = bias && first + lane < channels ? bias[first + lane] : 0;
    const auto write = [&](int64 i, Octet values) {
        for (int lane = 0; lane < OCTET; lane++) {
            const float value = values.lane[lane];
            values.lane[lane] = first + lane >= channels ? 0 : with_relu ? relu(value) : value;
        }
        store(y + i * OCTET, values);
    };
    if (!shortcut) {
        const auto from = [&](int64 i) { return fetch(y + i * OCTET); };
        stream<4>(thread_index(), octets, all_threads(), from, [&](int64 i, Octet values) {
            for (int lane = 0; lane < OCTET; lane++) values.lane[lane] += added[lane];
            write(i, values);
        });
        return;
    }
    const auto both = [&](int64 i) { return NAME(Joined){fetch(y + i * OCTET), fetch(shortcut + i * OCTET)}; };
    stream<2>(thread_index(), octets, all_threads(), both, [&](int64 i, const NAME(Joined) &joined) {
        Octet values = joined.y;
        const Octet others = joined.shortcut;
        for (int lane = 0; lane < OCTET; lane++) values.lane[lane] += added[lane] + others.lane[lane];
        write(i, values);
    });
}
