// Windows of a pooling.
#pragma once

/// n / step for n from 0 on: few steps are long ones.
INLINE int steps(int n, int step) { return step == 1 ? n : step == 2 ? n >> 1 : n / step; }

/// A pooling's sizes, down (0) and across (1).
struct Pooling {
    int input[2], output[2], kernel[2], stride[2], padding[2];

    /// The first pixel of a window, which may lie in the padding.
    INLINE int start(int axis, int output) const { return output * stride[axis] - padding[axis]; }

    /// The first window that may contain a pixel; the last is that which the pixel divided by the stride gives.
    INLINE int first(int axis, int pixel) const {
        const int beyond = pixel + padding[axis] - kernel[axis];
        return beyond < 0 ? 0 : steps(beyond, stride[axis]) + 1;
    }

    INLINE int last(int axis, int pixel) const {
        const int window = steps(pixel + padding[axis], stride[axis]);
        return window < output[axis] ? window : output[axis] - 1;
    }
};

/// Where an octet lies: its image, pixel and place in the pixel.
struct Place {
    int64 image;
    int row, column, octet;

    INLINE Place(int64 i, const int size[2], int octets) {
        const int64 pixel = quotient(i, octets), line = quotient(pixel, size[1]);
        image = quotient(line, size[0]);
        octet = static_cast<int>(i - pixel * octets);
        column = static_cast<int>(pixel - line * size[1]);
        row = static_cast<int>(line - image * size[0]);
    }
};

/// Eight pixels' numbers in their windows, which a thread moves at once.
struct alignas(OCTET) Numbers {
    unsigned char lane[OCTET];
};

/// The pixels of a window along an axis that do not lie in the padding.
struct Span {
    int begin, end;

    INLINE Span(const Pooling &pooling, int axis, int output) {
        const int start = pooling.start(axis, output), stop = start + pooling.kernel[axis];
        begin = start < 0 ? 0 : start;
        end = stop < pooling.input[axis] ? stop : pooling.input[axis];
    }
};

/// Calls `use(row, column, octet)` for each pixel of a window, in reading order. `x` is the input, of so many octets a pixel.
template <typename E, typename U> INLINE void each_pixel(const Pooling &pooling, const Place &at, int octets, const E *x, U use) {
    const Span rows(pooling, 0, at.row), columns(pooling, 1, at.column);
    for (int row = rows.begin; row < rows.end; row++) {
        const E *line = x + ((at.image * pooling.input[0] + row) * pooling.input[1] * octets + at.octet) * OCTET;
        const auto from = [&](int column) { return fetch(line + static_cast<int64>(column) * (octets * OCTET)); };
        stream<3>(columns.begin, columns.end, 1, from, [&](int column, const Octet &values) { use(row, column, values); });
    }
}

/// The eight maxima of a window and, where `argmax` is not null, their numbers in it, of what `made` makes of the octets.
template <typename E, typename M>
INLINE Octet maxima(const Pooling &pooling, const Place &at, int octets, const E *x, M made, unsigned char *argmax) {
    Octet best = {};
    Numbers numbers = {};
    bool found = false;
    each_pixel(pooling, at, octets, x, [&](int row, int column, const Octet &octet) {
        const Octet values = made(octet);
        const int number = (row - pooling.start(0, at.row)) * pooling.kernel[1] + column - pooling.start(1, at.column);
        for (int lane = 0; lane < OCTET; lane++) {
            const float candidate = values.lane[lane];
            if (!found || candidate > best.lane[lane] || candidate != candidate) {
                best.lane[lane] = candidate;
                numbers.lane[lane] = static_cast<unsigned char>(number);
            }
        }
        found = true;
    });
    if (argmax != nullptr) *reinterpret_cast<Numbers *>(argmax) = numbers;
    return best;
}
