// Batch norm in two passes over memory: sums of each image's pixels in blocks of their own, which the last of these adds up, image by
// image in a fixed order; then values, an octet to a thread.

#include "batch_norm/batch_norm.cuh"

/// Mean and sum of squared distances from it of each channel of each image: (image, 2, lanes). Of these the last block of some octets
/// makes mean, biased variance and inverse deviation of the batch: `part` values each.
SYNCING_KERNEL(norm_moments)(int pixels, int octets, int channels, int per_block, int part, double eps, const T *x, double *moments,
                             float *saved, unsigned *arrived) {
    SHARED float sums[PIXEL_THREADS * OCTET], squares[PIXEL_THREADS * OCTET];
    SHARED double kept[PIXEL_THREADS];
    const Summer at(octets, per_block);
    const int lanes = octets * OCTET;
    const T *image = x + static_cast<int64>(at.image) * pixels * lanes;
    Octet sum = {}, square = {};
    if (at.octet < octets) {
        // Distances from the first pixel, which lies closer to the mean than zero does: less is lost.
        const Octet origin = load(image + at.octet * OCTET);
        for (int pixel = at.row; pixel < pixels; pixel += at.rows) {
            const Octet values = load(image + static_cast<int64>(pixel) * lanes + at.octet * OCTET);
            for (int lane = 0; lane < OCTET; lane++) {
                const float distance = values.lane[lane] - origin.lane[lane];
                sum.lane[lane] += distance;
                square.lane[lane] += distance * distance;
            }
        }
    }
    for (int lane = 0; lane < OCTET; lane++) {
        sums[threadIdx.x * OCTET + lane] = sum.lane[lane];
        squares[threadIdx.x * OCTET + lane] = square.lane[lane];
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < at.lanes) {
        const int lane = threadIdx.x, channel = at.first + lane;
        const double total = sum_of_rows(sums, at, lane);
        double *target = moments + static_cast<int64>(at.image) * 2 * lanes + channel;
        target[0] = to_float(image[channel]) + total / pixels;
        target[lanes] = sum_of_rows(squares, at, lane) - total * total / pixels;
    }
    if (!is_last_block(arrived + at.group, at.images)) return;
    const double *all = moments + at.first;
    const double mean = sum_of_images(kept, at, [&](int image) { return fresh(all + image * 2ll * lanes + at.lane); }) / at.images;
    // Chan, Golub and LeVeque's update, for parts of one size.
    const double variance = sum_of_images(kept, at, [&](int image) {
        const double *moment = all + image * 2ll * lanes + at.lane;
        const double distance = fresh(moment) - mean;
        return fresh(moment + lanes) + pixels * distance * distance;
    }) / (static_cast<double>(at.images) * pixels);
    if (at.turn > 0) return;
    const int channel = at.first + at.lane;
    saved[channel] = static_cast<float>(mean);
    saved[part + channel] = static_cast<float>(variance);
    saved[2 * part + channel] = channel < channels ? static_cast<float>(1 / sqrt(variance + eps)) : 0;
}

KERNEL(norm_apply)(int64 total, int channels, const T *x, const T *shortcut, const float *params, const float *mean,
                   const float *statistics, bool invert, float eps, bool with_relu, T *y) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int octets = padded(channels) / OCTET;
    const NormOctet norm(i % octets * OCTET, channels, params, mean, statistics, invert, eps);
    Octet values = load(x + i * OCTET);
    for (int lane = 0; lane < OCTET; lane++) values.lane[lane] = values.lane[lane] * norm.scale[lane] + norm.shift[lane];
    if (shortcut) {
        const Octet others = load(shortcut + i * OCTET);
        for (int lane = 0; lane < OCTET; lane++) values.lane[lane] += others.lane[lane];
    }
    if (with_relu) {
        for (float &value : values.lane) value = relu(value);
    }
    store(y + i * OCTET, values);
}

/// Sums of dy and of dy times the normalised x, of each channel of each image: (image, 2, lanes), and of all images: the gradients of
/// weight and bias, by the last block of some octets. With y, the output, what the ReLU stopped is taken out of dy for good; without,
/// its mask is worked out again.
SYNCING_KERNEL(norm_backward_sums)(int pixels, int octets, int channels, int per_block, const T *x, const T *y, T *dy,
                                   const float *params, const float *mean, const float *inverse, bool with_relu,
                                   double *partial, float *gradients, unsigned *arrived) {
    SHARED float sums[PIXEL_THREADS * OCTET], products[PIXEL_THREADS * OCTET];
    SHARED double kept[PIXEL_THREADS];
    const Summer at(octets, per_block);
    const int lanes = octets * OCTET;
    Octet sum = {}, product = {};
    if (at.octet < octets) {
        const NormOctet norm(at.octet * OCTET, channels, params, mean, inverse, false, 0);
        for (int pixel = at.row; pixel < pixels; pixel += at.rows) {
            const int64 place = (static_cast<int64>(at.image) * pixels + pixel) * lanes + at.octet * OCTET;
            const Octet values = load(x + place);
            Octet slopes = load(dy + place);
            if (with_relu && y) {
                const Octet outputs = load(y + place);
                for (int lane = 0; lane < OCTET; lane++) {
                    slopes.lane[lane] = outputs.lane[lane] > 0 ? slopes.lane[lane] : 0;
                }
                store(dy + place, slopes);
            }
            for (int lane = 0; lane < OCTET; lane++) {
                const bool stopped = with_relu && !y && !(values.lane[lane] * norm.scale[lane] + norm.shift[lane] > 0);
                const float gradient = stopped ? 0 : slopes.lane[lane];
                sum.lane[lane] += gradient;
                product.lane[lane] += gradient * ((values.lane[lane] - norm.mean[lane]) * norm.inverse[lane]);
            }
        }
    }
    for (int lane = 0; lane < OCTET; lane++) {
        sums[threadIdx.x * OCTET + lane] = sum.lane[lane];
        products[threadIdx.x * OCTET + lane] = product.lane[lane];
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < at.lanes) {
        double *target = partial + static_cast<int64>(at.image) * 2 * lanes + at.first + threadIdx.x;
        target[0] = sum_of_rows(sums, at, threadIdx.x);
        target[lanes] = sum_of_rows(products, at, threadIdx.x);
    }
    if (!is_last_block(arrived + at.group, at.images)) return;
    const double *all = partial + at.first + at.lane;
    const double bias = sum_of_images(kept, at, [&](int image) { return fresh(all + image * 2ll * lanes); });
    const double weight = sum_of_images(kept, at, [&](int image) { return fresh(all + image * 2ll * lanes + lanes); });
    const int channel = at.first + at.lane;
    if (at.turn > 0 || channel >= channels) return;
    gradients[channel] = static_cast<float>(weight);
    gradients[channels + channel] = static_cast<float>(bias);
}

/// dx, from dy whose ReLU's mask is worked out again if `with_relu`. dx may be dy. With `constant`, mean and deviation do not
/// depend on x.
KERNEL(norm_backward)(int64 total, int channels, float count, const T *x, const T *dy, const float *params, const float *mean,
                      const float *inverse, const float *gradients, bool constant, bool with_relu, T *dx) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int first = i % (padded(channels) / OCTET) * OCTET;
    const NormOctet norm(first, channels, params, mean, inverse, false, 0);
    const Octet values = load(x + i * OCTET);
    Octet result = load(dy + i * OCTET);
    for (int lane = 0; lane < OCTET; lane++) {
        const int channel = first + lane;
        if (channel >= channels) {
            result.lane[lane] = 0;
            continue;
        }
        const bool stopped = with_relu && !(values.lane[lane] * norm.scale[lane] + norm.shift[lane] > 0);
        const float gradient = stopped ? 0 : result.lane[lane];
        const float normalised = (values.lane[lane] - norm.mean[lane]) * norm.inverse[lane];
        const float mean_part =
            constant ? 0 : gradients[channels + channel] / count + normalised * (gradients[channel] / count);
        result.lane[lane] = norm.scale[lane] * (gradient - mean_part);
    }
    store(dx + i * OCTET, result);
}

/// Running statistics in the place of a batch's: mean, variance and inverse deviation, `part` values each.
KERNEL(norm_save_running)(int channels, int part, float eps, const float *running, float *saved) {
    const int channel = static_cast<int>(thread_index());
    if (channel >= part) return;
    const bool real = channel < channels;
    saved[channel] = real ? running[channel] : 0;
    saved[part + channel] = real ? running[channels + channel] : 0;
    saved[2 * part + channel] = real ? inverse_deviation(running[channels + channel], eps) : 0;
}

/// What of a norm is to be updated: the batch's statistics, what an elided bias would have added to x, which belongs to the mean, and the
/// running statistics, mean then variance. As cuda.rs writes it.
struct NAME(Running) {
    const float *saved, *elided_bias;
    float *running;
    /// Values of a channel.
    double count;
    /// The first block that works on it.
    int first_block;
    int channels, part;
    float momentum;
};

/// Those of several norms, as many as the arguments of a launch have room for.
struct NAME(EveryRunning) {
    NAME(Running) of[80];
};
static_assert(sizeof(NAME(EveryRunning)) == 80 * 6 * 8, "as many words as cuda.rs sends");

/// Has the running statistics of several norms take in the batch's, a channel to a thread.
KERNEL(norm_update)(int count, float *non_finite, BY_VALUE(NAME(EveryRunning)) every) {
    const NAME(Running) &norm = every.of[place_of_block(count, [&](int place) { return every.of[place].first_block; })];
    const int channel = (static_cast<int>(blockIdx.x) - norm.first_block) * blockDim.x + threadIdx.x;
    if (channel >= norm.channels) return;
    const float mean = norm.saved[channel] + (norm.elided_bias ? norm.elided_bias[channel] : 0);
    const float variance = norm.saved[norm.part + channel] * static_cast<float>(norm.count / (norm.count - 1));
    float *means = norm.running, *variances = norm.running + norm.channels;
    means[channel] = (1 - norm.momentum) * means[channel] + norm.momentum * mean;
    variances[channel] = (1 - norm.momentum) * variances[channel] + norm.momentum * variance;
    if (!is_finite(means[channel]) || !is_finite(variances[channel])) *non_finite = 1;
}

/// Weights and bias of a convolution that does the norm's work too, in f64, so that a folded weight is rounded once. A channel a block.
KERNEL(norm_fold)(int channels, int fan_in, double eps, const float *weights, const float *bias, const float *params,
                  const float *running, float *folded) {
    const int channel = blockIdx.x;
    const double scale = params[channel] / sqrt(running[channels + channel] + eps);
    const int64 first = static_cast<int64>(channel) * fan_in;
    for (int i = threadIdx.x; i < fan_in; i += blockDim.x) folded[first + i] = static_cast<float>(scale * weights[first + i]);
    if (threadIdx.x > 0) return;
    const double shift = (bias ? static_cast<double>(bias[channel]) : 0.0) - running[channel];
    folded[static_cast<int64>(channels) * fan_in + channel] = static_cast<float>(scale * shift + params[channels + channel]);
}
