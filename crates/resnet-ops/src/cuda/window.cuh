// Windows of a pooling.
#pragma once

/// A pooling's sizes, down (0) and across (1).
struct Pooling {
    int input[2], output[2], kernel[2], stride[2], padding[2];

    /// The first pixel of a window, which may lie in the padding.
    INLINE int start(int axis, int output) const { return output * stride[axis] - padding[axis]; }

    /// The first window that may contain a pixel; the last is that which the pixel divided by the stride gives.
    INLINE int first(int axis, int pixel) const {
        const int beyond = pixel + padding[axis] - kernel[axis];
        return beyond < 0 ? 0 : beyond / stride[axis] + 1;
    }

    INLINE int last(int axis, int pixel) const {
        const int window = (pixel + padding[axis]) / stride[axis];
        return window < output[axis] ? window : output[axis] - 1;
    }
};

/// Where an octet lies: its image, pixel and place in the pixel.
struct Place {
    int64 image;
    int row, column, octet;

    INLINE Place(int64 i, const int size[2], int octets) {
        octet = static_cast<int>(i % octets);
        column = static_cast<int>(i / octets % size[1]);
        row = static_cast<int>(i / octets / size[1] % size[0]);
        image = i / octets / size[1] / size[0];
    }
};

/// Eight pixels' numbers in their windows, which a thread moves at once.
struct alignas(OCTET) Numbers {
    unsigned char lane[OCTET];
};

/// The eight maxima of a window and their numbers in it. `value` gives the octet at a place of x.
template <typename F> INLINE Octet maxima(const Pooling &pooling, const Place &at, F value, unsigned char *argmax) {
    Octet best = {};
    Numbers numbers = {};
    bool found = false;
    for (int r = 0; r < pooling.kernel[0]; r++) {
        const int row = pooling.start(0, at.row) + r;
        if (row < 0 || row >= pooling.input[0]) continue;
        for (int s = 0; s < pooling.kernel[1]; s++) {
            const int column = pooling.start(1, at.column) + s;
            if (column < 0 || column >= pooling.input[1]) continue;
            const Octet values = value(row, column);
            for (int lane = 0; lane < OCTET; lane++) {
                const float candidate = values.lane[lane];
                if (!found || candidate > best.lane[lane] || candidate != candidate) {
                    best.lane[lane] = candidate;
                    numbers.lane[lane] = static_cast<unsigned char>(r * pooling.kernel[1] + s);
                }
            }
            found = true;
        }
    }
    *reinterpret_cast<Numbers *>(argmax) = numbers;
    return best;
}
