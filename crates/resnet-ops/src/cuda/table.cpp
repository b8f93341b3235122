// What Rust calls.

/// Runs a kernel, blocks and threads from the first to the last, or `backwards`: what a GPU may do in any order gives the same. Returns 1
/// if there is none of that name.
extern "C" int resnet_launch_on_host(const char *name, unsigned blocks, unsigned threads, int backwards, void **arguments) {
    for (const Entry &entry : entries) {
        if (std::strcmp(entry.name, name) != 0) continue;
        TAKE_TURNS;
        gridDim = {blocks, 1, 1};
        blockDim = {entry.fibers > 0 && entry.fibers < threads ? entry.fibers : threads, 1, 1};
        launched = &entry;
        launched_arguments = arguments;
        for (unsigned block = 0; block < blocks; block++) {
            blockIdx = {backwards ? blocks - 1 - block : block, 0, 0};
            if (entry.fibers > 0) {
                run_fibers(blockDim.x, backwards);
            } else if (!backwards) {
                entry.call(0, threads, arguments);
            } else {
                for (unsigned thread = threads; thread-- > 0;) entry.call(thread, thread + 1, arguments);
            }
        }
        return 0;
    }
    return 1;
}
