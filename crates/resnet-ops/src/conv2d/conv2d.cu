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

/// Weights (out, in, kernel height, kernel width) in f32 to (out, rows, columns, lanes), up to eight lanes a thread; what has no
/// counterpart is zero.
KERNEL(conv_pack)(int64 threads, int out_channels, int channels, int height, int width, int block, int down, int across, int rows,
                  int columns, int lanes, const float *weights, T *packed) {
    const int64 i = thread_index();
    if (i >= threads) return;
    const int parts = padded(lanes) / OCTET, first = static_cast<int>(i % parts) * OCTET;
    const int64 tap = i / parts;
    const int column = static_cast<int>(tap % columns), row = static_cast<int>(tap / columns % rows);
    const int out = static_cast<int>(tap / columns / rows);
    for (int lane = first; lane < lanes && lane < first + OCTET; lane++) {
        const int part = block == 1 ? 0 : lane / channels, channel = lane - part * channels;
        const int r = block * row + part / block + down, s = block * column + part % block + across;
        const bool real = out < out_channels && channel < channels && part < block * block && r >= 0 && r < height && s >= 0 && s < width;
        const int64 weight = ((static_cast<int64>(out) * channels + channel) * height + r) * width + s;
        round_to(real ? weights[weight] : 0, &packed[tap * lanes + lane]);
    }
}

/// The gradients of packed weights to (out, in, kernel height, kernel width) in f32, a kernel a thread.
KERNEL(conv_unpack)(int64 kernels, int channels, int height, int width, int block, int down, int across, int rows, int columns, int lanes,
                    const T *packed, float *gradients) {
    const int64 i = thread_index();
    if (i >= kernels) return;
    const int64 out = i / channels;
    const int channel = static_cast<int>(i - out * channels);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            const int r = y - down, s = x - across, lane = (r % block * block + s % block) * channels + channel;
            gradients[(i * height + y) * width + x] = to_float(packed[((out * rows + r / block) * columns + s / block) * lanes + lane]);
        }
    }
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

/// A copy, or zeros where there is nothing to copy.
KERNEL(conv_bias)(int channels, const float *source, float *target) {
    const int64 i = thread_index();
    if (i < channels) target[i] = source ? source[i] : 0;
}
