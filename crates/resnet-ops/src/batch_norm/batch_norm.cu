// Batch norm in two passes over memory: sums of each image's pixels in blocks of their own, which a third kernel adds up in
// order, then values, an octet to a thread.

#include "batch_norm/batch_norm.cuh"

/// Mean and sum of squared distances from it of each channel of each image: (image, 2, lanes).
SYNCING_KERNEL(norm_moments)(int pixels, int octets, int per_block, const T *x, double *moments) {
    SHARED float sums[PIXEL_THREADS * OCTET], squares[PIXEL_THREADS * OCTET];
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
    for (int lane = threadIdx.x; lane < per_block * OCTET; lane += blockDim.x) {
        const int channel = blockIdx.x % ((octets + per_block - 1) / per_block) * per_block * OCTET + lane;
        if (channel >= lanes) continue;
        const double total = sum_of_rows(sums, at, lane);
        double *target = moments + static_cast<int64>(at.image) * 2 * lanes + channel;
        target[0] = to_float(image[channel]) + total / pixels;
        target[lanes] = sum_of_rows(squares, at, lane) - total * total / pixels;
    }
}

/// Eight channels to a block; 32 threads for each take every 32nd image.
constexpr int NAME(IMAGES_AT_A_TIME) = 32;

/// Mean, biased variance and inverse deviation of the batch: `part` values each.
SYNCING_KERNEL(norm_statistics)(int images, int pixels, int channels, int part, double eps, const double *moments, float *saved) {
    constexpr int ROWS = NAME(IMAGES_AT_A_TIME);
    SHARED double kept[ROWS][OCTET];
    const int lanes = padded(channels), lane = threadIdx.x % OCTET, row = threadIdx.x / OCTET;
    const int channel = blockIdx.x * OCTET + lane;
    double sum = 0;
    for (int image = row; image < images; image += ROWS) sum += moments[static_cast<int64>(image) * 2 * lanes + channel];
    kept[row][lane] = sum;
    __syncthreads();
    double mean = 0;
    for (int i = 0; i < ROWS; i++) mean += kept[i][lane];
    mean /= images;
    __syncthreads();
    // Chan, Golub and LeVeque's update, for parts of one size.
    double square = 0;
    for (int image = row; image < images; image += ROWS) {
        const double *moment = moments + static_cast<int64>(image) * 2 * lanes + channel;
        const double distance = moment[0] - mean;
        square += moment[lanes] + pixels * distance * distance;
    }
    kept[row][lane] = square;
    __syncthreads();
    if (row > 0) return;
    double variance = 0;
    for (int i = 0; i < ROWS; i++) variance += kept[i][lane];
    variance /= static_cast<double>(images) * pixels;
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

/// Sums of dy and of dy times the normalised x, of each channel of each image: (image, 2, lanes). With y, the output, what the
/// ReLU stopped is taken out of dy for good; without, its mask is worked out again.
SYNCING_KERNEL(norm_backward_sums)(int pixels, int octets, int channels, int per_block, const T *x, const T *y, T *dy,
                                   const float *params, const float *mean, const float *inverse, bool with_relu,
                                   double *partial) {
    SHARED float sums[PIXEL_THREADS * OCTET], products[PIXEL_THREADS * OCTET];
    const Summer at(octets, per_block);
    const int lanes = octets * OCTET;
    Octet sum = {}, product = {};
    if (at.octet < octets) {
        const NormOctet norm(at.octet * OCTET, channels, params, mean, inverse, false, 0);
        for (int pixel = at.row; pixel < pixels; pixel += at.rows) {
            const int64 place = (static_cast<int64>(at.image) * pixels + pixel) * lanes + at.octet * OCTET;
            const Octet values = load(x + place);
            Octet gradients = load(dy + place);
            if (with_relu && y) {
                const Octet outputs = load(y + place);
                for (int lane = 0; lane < OCTET; lane++) {
                    gradients.lane[lane] = outputs.lane[lane] > 0 ? gradients.lane[lane] : 0;
                }
                store(dy + place, gradients);
            }
            for (int lane = 0; lane < OCTET; lane++) {
                const bool stopped = with_relu && !y && !(values.lane[lane] * norm.scale[lane] + norm.shift[lane] > 0);
                const float gradient = stopped ? 0 : gradients.lane[lane];
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
    for (int lane = threadIdx.x; lane < per_block * OCTET; lane += blockDim.x) {
        const int channel = blockIdx.x % ((octets + per_block - 1) / per_block) * per_block * OCTET + lane;
        if (channel >= lanes) continue;
        double *target = partial + static_cast<int64>(at.image) * 2 * lanes + channel;
        target[0] = sum_of_rows(sums, at, lane);
        target[lanes] = sum_of_rows(products, at, lane);
    }
}

/// The gradients of weight and bias, from the sums of the images.
SYNCING_KERNEL(norm_gradients)(int images, int channels, const double *partial, float *gradients) {
    constexpr int ROWS = NAME(IMAGES_AT_A_TIME);
    SHARED double sums[ROWS][OCTET], products[ROWS][OCTET];
    const int lanes = padded(channels), lane = threadIdx.x % OCTET, row = threadIdx.x / OCTET;
    const int channel = blockIdx.x * OCTET + lane;
    double sum = 0, product = 0;
    for (int image = row; image < images; image += ROWS) {
        const double *source = partial + static_cast<int64>(image) * 2 * lanes + channel;
        sum += source[0];
        product += source[lanes];
    }
    sums[row][lane] = sum;
    products[row][lane] = product;
    __syncthreads();
    if (row > 0 || channel >= channels) return;
    for (int i = 1; i < ROWS; i++) {
        sum += sums[i][lane];
        product += products[i][lane];
    }
    gradients[channel] = static_cast<float>(product);
    gradients[channels + channel] = static_cast<float>(sum);
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

/// Running statistics, mean then variance. What an elided bias would have added to x belongs to the mean.
KERNEL(norm_update)(int channels, int part, double count, float momentum, const float *saved, const float *elided_bias, float *running,
                    float *non_finite) {
    const int channel = static_cast<int>(thread_index());
    if (channel >= channels) return;
    const float mean = saved[channel] + (elided_bias ? elided_bias[channel] : 0);
    const float variance = saved[part + channel] * static_cast<float>(count / (count - 1));
    running[channel] = (1 - momentum) * running[channel] + momentum * mean;
    running[channels + channel] = (1 - momentum) * running[channels + channel] + momentum * variance;
    if (!is_finite(running[channel]) || !is_finite(running[channels + channel])) *non_finite = 1;
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
