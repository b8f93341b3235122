// Batch norm in two passes over memory: sums over slices of the pixels, which the last block adds up in a fixed order; then values, of which
// a thread takes those of the same eight channels, in many pixels.

#include "batch_norm/batch_norm.cuh"
#include "cuda/sums.cuh"

/// Mean and sum of squared distances from it of each channel in each slice: (slice, 2, lanes). Of these the last block of some octets makes
/// mean, biased variance and inverse deviation of the batch: `part` values each.
SYNCING_KERNEL(norm_moments)(int64 pixels, int octets, int channels, int per_block, int per_slice, int part, double eps, const T *x,
                             double *moments, float *saved, unsigned *arrived) {
    SHARED Kept kept;
    const Summer at(pixels, octets, per_block, per_slice);
    const int lanes = octets * OCTET;
    Octet sum = {}, square = {};
    if (at.octet < octets) {
        const T *source = x + at.octet * OCTET;
        // Distances from the first pixel, which lies closer to the mean than zero does: less is lost.
        const Octet origin = load(source + at.begin * lanes);
        const auto from = [&](int64 pixel) { return fetch(source + pixel * lanes); };
        stream<4>(at.begin + at.row, at.end, static_cast<int64>(at.rows), from, [&](int64, const Octet &values) {
            for (int lane = 0; lane < OCTET; lane++) {
                const float distance = values.lane[lane] - origin.lane[lane];
                sum.lane[lane] += distance;
                square.lane[lane] += distance * distance;
            }
        });
    }
    const Two total = sum_of_rows(kept, at, sum, square);
    const int channel = at.first + at.lane;
    if (at.turn == 0) {
        const double count = static_cast<double>(at.end - at.begin);
        double *target = moments + static_cast<int64>(at.slice) * 2 * lanes + channel;
        target[0] = to_float(x[at.begin * lanes + channel]) + total.first / count;
        target[lanes] = total.second - total.first * total.first / count;
    }
    if (!is_last_block(arrived + at.group, at.slices)) return;
    const double *all = moments + channel;
    // Distances of the slices' means from the first one's.
    const double origin = fresh(all);
    const Two sums = sum_by_turns(kept, at, at.slices, [&](int slice) {
        const double *moment = all + static_cast<int64>(slice) * 2 * lanes;
        const double distance = fresh(moment) - origin;
        const int64 left = pixels - static_cast<int64>(slice) * per_slice;
        const double count = static_cast<double>(left < per_slice ? left : per_slice);
        return Two{count * distance, fresh(moment + lanes) + count * distance * distance};
    });
    if (at.turn > 0) return;
    const double count = static_cast<double>(pixels), distance = sums.first / count, variance = sums.second / count - distance * distance;
    saved[channel] = static_cast<float>(origin + distance);
    // Where all is equal rounding may leave less than nothing.
    saved[part + channel] = static_cast<float>(variance < 0 ? 0 : variance);
    saved[2 * part + channel] = channel < channels ? static_cast<float>(1 / sqrt((variance < 0 ? 0 : variance) + eps)) : 0;
}

/// An octet of x and those of other maps in its place.
struct NAME(Pair) {
    Stored<T> x, other;
};
struct NAME(Three) {
    Stored<T> x, dy, y;
};

KERNEL(norm_apply)(int64 total, int channels, const T *x, const T *shortcut, const float *params, const float *mean,
                   const float *statistics, bool invert, float eps, bool with_relu, T *y) {
    if (thread_index() >= total) return;
    const NormOctet norm(first_channel(channels), channels, params, mean, statistics, invert, eps);
    const auto write = [&](int64 i, Octet values) {
        if (with_relu) {
            for (float &value : values.lane) value = relu(value);
        }
        store(y + i * OCTET, values);
    };
    if (!shortcut) {
        const auto from = [&](int64 i) { return fetch(x + i * OCTET); };
        stream<4>(thread_index(), total, all_threads(), from, [&](int64 i, Octet values) {
            for (int lane = 0; lane < OCTET; lane++) values.lane[lane] = values.lane[lane] * norm.scale[lane] + norm.shift[lane];
            write(i, values);
        });
        return;
    }
    const auto both = [&](int64 i) { return NAME(Pair){fetch(x + i * OCTET), fetch(shortcut + i * OCTET)}; };
    stream<2>(thread_index(), total, all_threads(), both, [&](int64 i, const NAME(Pair) &pair) {
        Octet values = pair.x;
        const Octet others = pair.other;
        for (int lane = 0; lane < OCTET; lane++) {
            values.lane[lane] = values.lane[lane] * norm.scale[lane] + norm.shift[lane] + others.lane[lane];
        }
        write(i, values);
    });
}

/// Sums of dy and of dy times the normalised x, of each channel in each slice: (slice, 2, lanes), and in all: the gradients of weight and
/// bias, by the last block of some octets. With y, the output, what the ReLU stopped is taken out of dy for good; without, its mask is
/// worked out again.
SYNCING_KERNEL(norm_backward_sums)(int64 pixels, int octets, int channels, int per_block, int per_slice, const T *x, const T *y, T *dy,
                                   const float *params, const float *mean, const float *inverse, bool with_relu,
                                   double *partial, float *gradients, unsigned *arrived) {
    SHARED Kept kept;
    const Summer at(pixels, octets, per_block, per_slice);
    const int lanes = octets * OCTET;
    Octet sum = {}, product = {};
    if (at.octet < octets) {
        const NormOctet norm(at.octet * OCTET, channels, params, mean, inverse, false, 0);
        const int64 first = at.begin + at.row;
        const auto add = [&](int lane, float value, float gradient) {
            sum.lane[lane] += gradient;
            product.lane[lane] += gradient * (value - norm.mean[lane]);
        };
        const auto place = [&](int64 pixel) { return pixel * lanes + at.octet * OCTET; };
        if (with_relu && y) {
            const auto from = [&](int64 pixel) {
                return NAME(Three){fetch(x + place(pixel)), fetch(dy + place(pixel)), fetch(y + place(pixel))};
            };
            stream<2>(first, at.end, static_cast<int64>(at.rows), from, [&](int64 pixel, const NAME(Three) &three) {
                const Octet values = three.x, outputs = three.y;
                Octet slopes = three.dy;
                for (int lane = 0; lane < OCTET; lane++) {
                    slopes.lane[lane] = outputs.lane[lane] > 0 ? slopes.lane[lane] : 0;
                    add(lane, values.lane[lane], slopes.lane[lane]);
                }
                store(dy + place(pixel), slopes);
            });
        } else {
            const auto from = [&](int64 pixel) { return NAME(Pair){fetch(x + place(pixel)), fetch(dy + place(pixel))}; };
            stream<2>(first, at.end, static_cast<int64>(at.rows), from, [&](int64, const NAME(Pair) &pair) {
                const Octet values = pair.x, slopes = pair.other;
                for (int lane = 0; lane < OCTET; lane++) {
                    const bool stopped = with_relu && !(values.lane[lane] * norm.scale[lane] + norm.shift[lane] > 0);
                    add(lane, values.lane[lane], stopped ? 0 : slopes.lane[lane]);
                }
            });
        }
    }
    const Two total = sum_of_rows(kept, at, sum, product);
    const int channel = at.first + at.lane;
    const bool real = channel < channels;
    if (at.turn == 0) {
        double *target = partial + static_cast<int64>(at.slice) * 2 * lanes + channel;
        target[0] = total.first;
        target[lanes] = real ? total.second * inverse[channel] : 0;
    }
    if (!is_last_block(arrived + at.group, at.slices)) return;
    const Two sums = sum_by_turns(kept, at, at.slices, [&](int slice) {
        const double *part = partial + static_cast<int64>(slice) * 2 * lanes + channel;
        return Two{fresh(part), fresh(part + lanes)};
    });
    if (at.turn > 0 || !real) return;
    gradients[channel] = static_cast<float>(sums.second);
    gradients[channels + channel] = static_cast<float>(sums.first);
}

/// dx, from dy whose ReLU's mask is worked out again if `with_relu`. dx may be dy. With `constant`, mean and deviation do not
/// depend on x.
KERNEL(norm_backward)(int64 total, int channels, float count, const T *x, const T *dy, const float *params, const float *mean,
                      const float *inverse, const float *gradients, bool constant, bool with_relu, T *dx) {
    if (thread_index() >= total) return;
    const int first = first_channel(channels);
    const NormOctet norm(first, channels, params, mean, inverse, false, 0);
    // What dx is less by: a constant, and so much of x's distance from the mean.
    Octet less, slope;
    const float share = 1 / count;
    for (int lane = 0; lane < OCTET; lane++) {
        const int channel = first + lane;
        const bool real = channel < channels;
        less.lane[lane] = real ? norm.scale[lane] * share * gradients[channels + channel] : 0;
        slope.lane[lane] = real ? norm.scale[lane] * share * norm.inverse[lane] * gradients[channel] : 0;
    }
    const auto both = [&](int64 i) { return NAME(Pair){fetch(x + i * OCTET), fetch(dy + i * OCTET)}; };
    stream<2>(thread_index(), total, all_threads(), both, [&](int64 i, const NAME(Pair) &pair) {
        const Octet values = pair.x;
        Octet result = pair.other;
        for (int lane = 0; lane < OCTET; lane++) {
            const float value = values.lane[lane];
            const bool stopped = with_relu && !(value * norm.scale[lane] + norm.shift[lane] > 0);
            const float gradient = stopped ? 0 : result.lane[lane];
            // Not infinite because x is, where x does not count.
            const float moved = constant ? 0 : less.lane[lane] + slope.lane[lane] * (value - norm.mean[lane]);
            result.lane[lane] = norm.scale[lane] * gradient - moved;
        }
        store(dx + i * OCTET, result);
    });
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
