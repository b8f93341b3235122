// Resampling along one axis, a value to a thread.
#pragma once

/// Pillow's for 8-bit pixels: fixed point, 22 bits after the point.
struct Fixed {
    typedef int Weight;
    typedef int Sum;
    static INLINE Sum start() { return 1 << 21; }
    static INLINE Sum add(Sum sum, Weight weight, unsigned char pixel) { return sum + weight * pixel; }
    static INLINE void finish(Sum sum, unsigned char *target) {
        const int value = sum >> 22;
        *target = static_cast<unsigned char>(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    static INLINE void finish(Sum sum, float *target) {
        unsigned char byte;
        finish(sum, &byte);
        *target = byte / 255.0f;
    }
};

/// Pillow's for pixels of mode F. Products are rounded before they are added, as the CPU does it.
struct Double {
    typedef double Weight;
    typedef double Sum;
    static INLINE Sum start() { return 0; }
    static INLINE Sum add(Sum sum, Weight weight, float pixel) { return sum + __dmul_rn(weight, pixel); }
    static INLINE void finish(Sum sum, float *target) { *target = static_cast<float>(sum); }
};

/// PyTorch's for f32 tensors.
struct Single {
    typedef float Weight;
    typedef float Sum;
    static INLINE Sum start() { return 0; }
    static INLINE Sum add(Sum sum, Weight weight, float pixel) { return sum + __fmul_rn(weight, pixel); }
    static INLINE Sum add(Sum sum, Weight weight, unsigned char pixel) { return add(sum, weight, pixel / 255.0f); }
    static INLINE void finish(Sum sum, float *target) { *target = sum; }
};

/// Weighs `lines` lines of `line` pixels, of which an image has `per_image` groups, into `outputs` lines. With `chosen`, the
/// groups are those of the images it names; without, all in order. `windows` is where each output's window starts, then where its
/// weights begin.
template <typename A, typename In, typename Out>
INLINE void resample(int64 total, int per_image, int lines, int outputs, int line, const unsigned *windows,
                     const typename A::Weight *weights, const unsigned *chosen, const In *source, Out *target) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int output = static_cast<int>(i / line % outputs);
    int64 group = i / line / outputs;
    if (chosen) group = static_cast<int64>(chosen[group / per_image]) * per_image + group % per_image;
    const In *pixel = source + (group * lines + windows[output]) * line + i % line;
    const unsigned end = windows[outputs + output + 1];
    typename A::Sum sum = A::start();
    for (unsigned tap = windows[outputs + output]; tap < end; tap++, pixel += line) sum = A::add(sum, weights[tap], *pixel);
    A::finish(sum, target + i);
}
