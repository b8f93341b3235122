// A product of matrices in tiles.
#pragma once

/// Rows and columns of a tile; a thread for each of its elements.
constexpr int TILE = 16;

/// Where a thread's element lies in a matrix of so many tiles across.
struct Element {
    int row, column;

    INLINE Element(int columns) {
        const int across = (columns + TILE - 1) / TILE;
        row = blockIdx.x / across * TILE + threadIdx.x / TILE;
        column = blockIdx.x % across * TILE + threadIdx.x % TILE;
    }
};

/// The sum over k of a(row, k) times b(k, column). All threads of a block must call it; `a` and `b` are asked only for k below
/// `depth`, and give 0 outside their matrices.
template <typename A, typename B> INLINE float product(const Element &at, int depth, A a, B b) {
    SHARED float left[TILE][TILE + 1], right[TILE][TILE + 1];
    const int down = threadIdx.x / TILE, across = threadIdx.x % TILE;
    float sum = 0;
    for (int start = 0; start < depth; start += TILE) {
        left[down][across] = start + across < depth ? a(at.row, start + across) : 0;
        right[down][across] = start + down < depth ? b(start + down, at.column) : 0;
        __syncthreads();
        for (int k = 0; k < TILE; k++) sum += left[down][k] * right[k][across];
        __syncthreads();
    }
    return sum;
}
