// Sums over pixels, in blocks of their own for slices of them, which the last of these adds up in a fixed order.
#pragma once

/// Where a thread stands in a block that sums over a slice of the pixels: threads side by side take an octet each, and each row of them
/// every `rows`th pixel. Blocks of all slices that take the same octets are a group. As cuda/sums.rs cuts them.
struct Summer {
    int slice, slices, group, columns, row, rows, octet;
    /// The slice's pixels.
    int64 begin, end;
    /// The block's first channel and how many it has.
    int first, lanes;
    /// Where a thread stands when sums are added up: a channel, and the turn at which it takes a sum.
    int lane, turn, turns;

    INLINE Summer(int64 pixels, int octets, int per_block, int per_slice) {
        const int groups = (octets + per_block - 1) / per_block;
        slice = blockIdx.x / groups;
        slices = gridDim.x / groups;
        group = blockIdx.x - slice * groups;
        columns = per_block;
        rows = blockDim.x / per_block;
        row = threadIdx.x / per_block;
        octet = group * per_block + threadIdx.x - row * per_block;
        begin = static_cast<int64>(slice) * per_slice;
        end = begin + per_slice < pixels ? begin + per_slice : pixels;
        first = group * per_block * OCTET;
        const int left = octets - group * per_block;
        lanes = (left < per_block ? left : per_block) * OCTET;
        turns = blockDim.x / lanes;
        turn = threadIdx.x / lanes;
        lane = threadIdx.x - turn * lanes;
    }
};

/// Two sums of a channel.
struct Two {
    double first, second;
};

/// Room for the sums of each thread of a block, and for what is made of them.
struct Kept {
    alignas(16) float of[2][PIXEL_THREADS * OCTET];
    double turns[2][PIXEL_THREADS];
};

/// Sums of so many pairs for each channel of a block, in an order that no block's place in time changes; threads of the first turn have
/// them. All threads of a block come here together.
template <typename F> INLINE Two sum_by_turns(Kept &kept, const Summer &at, int count, F value) {
    Two sum = {0, 0};
    if (at.turn < at.turns) {
        UNROLLED(8)
        for (int i = at.turn; i < count; i += at.turns) {
            const Two more = value(i);
            sum.first += more.first;
            sum.second += more.second;
        }
    }
    kept.turns[0][threadIdx.x] = sum.first;
    kept.turns[1][threadIdx.x] = sum.second;
    __syncthreads();
    Two total = {0, 0};
    if (at.turn > 0) return total;
    for (int turn = 0; turn < at.turns; turn++) {
        total.first += kept.turns[0][turn * at.lanes + at.lane];
        total.second += kept.turns[1][turn * at.lanes + at.lane];
    }
    return total;
}

/// Sums over a slice of what its threads have summed.
INLINE Two sum_of_rows(Kept &kept, const Summer &at, const Octet &first, const Octet &second) {
    store(kept.of[0] + threadIdx.x * OCTET, first);
    store(kept.of[1] + threadIdx.x * OCTET, second);
    __syncthreads();
    return sum_by_turns(kept, at, at.rows, [&](int row) {
        const int place = row * at.columns * OCTET + at.lane;
        return Two{kept.of[0][place], kept.of[1][place]};
    });
}
